"""Batch inference: exact lengths, floors and overlaps, nothing twice, bad files are rows."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_csv
from audiorestorer.models.mask_arrays import speech_and_mask
from audiorestorer.models.mask_unet import load_checkpoint, save_checkpoint
from audiorestorer.separators.runtime.torch_masks import of_model
from audiorestorer.stages.training import infer_batch
from tests.stages.conftest import RATE, with_mask


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is below the working folder unless another is named."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, rate, shape in (
        ("a.wav", RATE, (9001,)),
        ("deep/b.flac", 44100, (30011, 2)),
        ("deep/a.wav", 16000, (20000,)),
    ):
        for kind in ("in", "clean"):
            path = tmp_path / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            tone = 0.2 * np.sin(2 * np.pi * 440 * np.arange(shape[0]) / rate)
            signal = np.broadcast_to(tone.reshape(-1, *[1] * (len(shape) - 1)), shape)
            sf.write(path, signal + (0.05 * rng.standard_normal(shape) if kind == "in" else 0), rate)
    (tmp_path / "in/bad.wav").write_bytes(b"RIFF")
    return tmp_path


def test_mirrors_the_tree_and_measures(checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    infer_batch.run(folder / "in", checkpoint, folder / "out", clean=folder / "clean", metrics_csv=folder / "m.csv")
    for name, rate, frames, channels in (
        ("a.wav", RATE, 9001, 1),
        ("deep/b.wav", 44100, 30011, 2),
        ("deep/a.wav", 16000, 20000, 1),
    ):
        info = sf.info(folder / "out" / name)
        assert (info.samplerate, info.frames, info.channels) == (rate, frames, channels)
    rows = {Path(row["input"]).name + row["id"]: row for row in read_csv(folder / "m.csv")}
    assert len(rows) == 4 and rows["bad.wavbad"]["status"] == "rejected" and "bad.wav" in rows["bad.wavbad"]["reason"]
    assert all(row["composite"] and row["delta_si_db"] for name, row in rows.items() if "bad" not in name)
    assert "3 of 4 done; median delta_si_db" in capsys.readouterr().out


def test_nothing_twice_and_a_killed_run_goes_on(
    checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, computed = folder / "out", []
    real = infer_batch._restored

    def killed(separator: Any, item: Any, scratch: Path) -> Any:
        if computed:
            raise KeyboardInterrupt
        return counted(separator, item, scratch)

    def counted(separator: Any, item: Any, scratch: Path) -> Any:
        computed.append(item.id)
        return real(separator, item, scratch)

    monkeypatch.setattr(infer_batch, "_restored", killed)
    with pytest.raises(KeyboardInterrupt):
        infer_batch.run(folder / "in", checkpoint, out)
    monkeypatch.setattr(infer_batch, "_restored", counted)
    infer_batch.run(folder / "in", checkpoint, out)
    assert len(computed) == len(set(computed)) == 3  # what was finished before the kill is not done again
    content = {path: path.read_bytes() for path in out.rglob("*.wav")}
    stamps = {path: path.stat().st_mtime_ns for path in content}
    infer_batch.run(folder / "in", checkpoint, out)
    assert len(computed) == 3 and stamps == {path: path.stat().st_mtime_ns for path in content}
    (out / "a.wav").unlink()
    infer_batch.run(folder / "in", checkpoint, out)  # a lost copy comes from the store
    assert len(computed) == 3 and content == {path: path.read_bytes() for path in content}
    infer_batch.run(folder / "in", checkpoint, out, floor_db=-0.1)  # another option: all again
    assert len(computed) == 6 and content != {path: path.read_bytes() for path in content}


def test_an_edited_output_is_kept_and_not_measured_as_the_model_s(
    checkpoint: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"clean": folder / "clean", "metrics_csv": folder / "m.csv"}
    before = infer_batch.run(folder / "in", checkpoint, folder / "out", **options)
    sf.write(folder / "out/a.wav", np.zeros(9001), RATE)
    edited = (folder / "out/a.wav").read_bytes()
    assert infer_batch.run(folder / "in", checkpoint, folder / "out", **options) == before
    infer_batch.run(folder / "in", checkpoint, folder / "out", floor_db=-0.1)
    assert (folder / "out/a.wav").read_bytes() == edited
    assert "out/a.wav: it was changed after it was published: kept" in caplog.text


def noise(rows: int, length: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, length)).astype(np.float32)


def test_the_floor_is_the_level_of_what_a_closed_mask_lets_through() -> None:
    model, mixture = with_mask(-40.0), noise(1, 4000)
    config, network = model.config, of_model(model)
    assert np.abs(speech_and_mask(config, network, mixture)[0]).max() < 1e-6
    speech, mask = speech_and_mask(config, network, mixture, floor=0.1)
    np.testing.assert_allclose(speech, 0.1 * mixture, atol=1e-5)
    assert mask.min() == pytest.approx(0.1)


@pytest.mark.parametrize("length", [1, 100, 4000, 4033])
def test_overlap(checkpoint: Path, length: int) -> None:
    model = load_checkpoint(checkpoint)[0]
    config, network, mixture = model.config, of_model(model), noise(1, length)
    plain, trained, more = (speech_and_mask(config, network, mixture, overlap)[0] for overlap in (None, 4, 16))
    assert np.array_equal(plain, trained) and more.shape == plain.shape and np.isfinite(more).all()
    if length > 1000:
        error = np.square(more - plain).sum() / np.square(plain).sum()
        assert 0 < error < 0.05  # smoother, not another thing
    for wrong in (2, 6, 512):
        with pytest.raises(AudioRestorerError, match="overlap"):
            config.hop_of(wrong)


def test_a_mask_of_one_is_the_identity_at_any_overlap() -> None:
    model, mixture = with_mask(40.0), noise(2, 3001)
    speech, _ = speech_and_mask(model.config, of_model(model), mixture, 16)
    np.testing.assert_allclose(speech, mixture, atol=1e-5)


def test_manifest_and_refusals(checkpoint: Path, folder: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "x", "noisy": "in/a.wav", "clean": "clean/a.wav"},
        {"id": "y", "noisy": "in/deep/a.wav"},
    ]
    manifest = folder / "m.jsonl"
    manifest.write_text("".join(json.dumps({"clean": None, **row}) + "\n" for row in rows))
    found = infer_batch.run(manifest, checkpoint, folder / "o", metrics_csv=folder / "c.csv")
    assert (folder / "o/x.wav").exists() and "composite" in found[0] and found[1]["reason"] == "no clean reference"
    manifest.write_text(json.dumps({"id": "../../escape", "noisy": "in/a.wav"}))
    with pytest.raises(AudioRestorerError):
        infer_batch.run(manifest, checkpoint, folder / "o")
    (folder / "e.yaml").write_text("network: {n_fft: 512}\n")
    with pytest.raises(AudioRestorerError, match=r"e\.yaml: network: sample_rate 22050, the checkpoint has 8000"):
        infer_batch.run(folder / "in", checkpoint, folder / "o", config=folder / "e.yaml")
    (folder / "nothing").mkdir()
    with pytest.raises(AudioRestorerError, match="no recordings"):
        infer_batch.run(folder / "nothing", checkpoint, folder / "o")


@pytest.mark.parametrize("relative", [False, True])
def test_an_input_is_never_replaced(
    checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    """Neither by its own folder as the output folder, named either way, nor by a manifest's id."""
    before = {path: path.read_bytes() for path in (folder / "in").rglob("*.*")}
    monkeypatch.chdir(folder)
    out = Path("in") if relative else folder / "in"
    with pytest.raises(AudioRestorerError, match="--out .* is the same as --in"):
        infer_batch.run(folder / "in", checkpoint, out)
    (folder / "m.jsonl").write_text(json.dumps({"id": "a", "noisy": "in/a.wav"}))
    with pytest.raises(AudioRestorerError, match="would replace this input"):
        infer_batch.run(folder / "m.jsonl", checkpoint, out)
    (folder / "c.jsonl").write_text(json.dumps({"id": "a", "noisy": "in/a.wav", "clean": "clean/a.wav"}))
    with pytest.raises(AudioRestorerError, match="would replace this input"):
        infer_batch.run(folder / "c.jsonl", checkpoint, Path("clean") if relative else folder / "clean")
    assert before == {path: path.read_bytes() for path in (folder / "in").rglob("*.*")}


def test_folders_that_overlap_are_refused(checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(AudioRestorerError, match="--out .* lies in --in"):
        infer_batch.run(folder / "in", checkpoint, Path("in/out"))
    with pytest.raises(AudioRestorerError, match="--out .* is the same as --clean"):
        infer_batch.run(folder / "in", checkpoint, Path("clean"), clean=folder / "clean")
    with pytest.raises(AudioRestorerError, match="--metrics .* lies in --clean"):
        infer_batch.run(
            folder / "in", checkpoint, Path("o"), clean=folder / "clean", metrics_csv=folder / "clean/a.wav"
        )


def test_rows_are_not_written_through_a_link(checkpoint: Path, folder: Path) -> None:
    """A copy of an output folder that is made of hard links keeps its rows."""
    infer_batch.run(folder / "in", checkpoint, folder / "o")
    (folder / "copy").mkdir()
    os.link(folder / "o/infer.jsonl", folder / "copy/infer.jsonl")
    before = (folder / "o/infer.jsonl").read_bytes()
    infer_batch.run(folder / "in", checkpoint, folder / "copy")
    assert (folder / "o/infer.jsonl").read_bytes() == before


def test_truncated_files(checkpoint: Path, folder: Path) -> None:
    """A truncated input is rejected and leaves nothing; a truncated reference leaves a good output without figures."""
    (folder / "clean/a.wav").unlink()
    sf.write(folder / "clean/a.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 9001), RATE)
    for path in (folder / "in/deep/b.flac", folder / "clean/a.flac"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    rows = {
        Path(row["input"]).relative_to(folder / "in").as_posix(): row
        for row in infer_batch.run(
            folder / "in", checkpoint, folder / "out", clean=folder / "clean", metrics_csv=folder / "m.csv"
        )
    }
    assert rows["deep/b.flac"]["status"] == "rejected" and "b.flac" in rows["deep/b.flac"]["reason"]
    assert not (folder / "out/deep/b.wav").exists() and not list((folder / "out").rglob("*.tmp"))
    assert rows["a.wav"]["status"] == "ok" and rows["a.wav"]["reason"].startswith("not measured: ")
    assert "composite" not in rows["a.wav"] and sf.info(folder / "out/a.wav").frames == 9001
    assert rows["deep/a.wav"]["status"] == "ok" and "composite" in rows["deep/a.wav"]


def test_a_higher_overlap_keeps_length_and_tone(checkpoint: Path, tmp_path: Path) -> None:
    """Through the streaming code: 30 s are three blocks; the tone stays where it is, and the trained overlap changes no bit."""
    time = np.arange(30 * RATE + 17) / RATE
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in/t.wav", 0.3 * np.sin(2 * np.pi * 1000 * time), RATE)
    made = {}
    for overlap in (None, 4, 8):
        infer_batch.run(tmp_path / "in", checkpoint, tmp_path / f"o{overlap}", overlap=overlap)
        made[overlap], _ = sf.read(tmp_path / f"o{overlap}/t.wav")
        assert len(made[overlap]) == len(time)
        spectrum = np.abs(np.fft.rfft(made[overlap] * np.hanning(len(time))))
        assert np.argmax(spectrum) * RATE / len(time) == pytest.approx(1000, abs=0.1)
    assert np.array_equal(made[None], made[4]) and not np.array_equal(made[None], made[8])
    assert np.sum((made[8] - made[None]) ** 2) < 0.01 * np.sum(made[None] ** 2)


def test_the_floor_in_db_is_the_level_left_in_the_file(tmp_path: Path) -> None:
    """A closed mask and a floor of -20 dB leave a tenth of the input, through resampling and blocks."""
    save_checkpoint(tmp_path / "mute.safetensors", with_mask(-40.0), "denoise", {})
    signal = 0.2 * np.random.default_rng(0).standard_normal(3 * RATE)
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in/n.wav", signal, RATE, subtype="FLOAT")
    infer_batch.run(tmp_path / "in", tmp_path / "mute.safetensors", tmp_path / "out", floor_db=-20)
    found, _ = sf.read(tmp_path / "out/n.wav")
    assert 20 * np.log10(np.std(found) / np.std(signal)) == pytest.approx(-20, abs=0.05)
    with pytest.raises(AudioRestorerError, match="at most 0 dB"):
        infer_batch.run(tmp_path / "in", tmp_path / "mute.safetensors", tmp_path / "out", floor_db=20)


def test_a_manifest_that_is_no_text_is_named(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b"\xff\xfa")
    with pytest.raises(AudioRestorerError, match=r"m\.jsonl: cannot read the manifest"):
        infer_batch.run(tmp_path / "m.jsonl", checkpoint, tmp_path / "o")


def test_references_are_found_in_other_letters_and_missing_ones_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "clean/deep").rename(folder / "clean/Deep")
    (folder / "clean/a.wav").rename(folder / "clean/spare.wav")
    (folder / "in/bad.wav").unlink()
    jobs = {
        job.source.relative_to(folder / "in").as_posix(): job.clean
        for job in infer_batch._folder_jobs(folder / "in", folder / "clean")
    }
    clean = folder / "clean/Deep"
    assert jobs == {"a.wav": None, "deep/a.wav": clean / "a.wav", "deep/b.flac": clean / "b.flac"}
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "1 recording has no reference in clean (a.wav)",
        "1 reference in clean belongs to no recording (spare.wav)",
    ]
