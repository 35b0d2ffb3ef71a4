"""Restoration: any rate, channels and format come out as they went in; nothing twice; bad files are rows."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import read_manifest
from audiorestorer.models.mask_config import MaskUNetConfig
from audiorestorer.models.mask_unet import save_checkpoint
from audiorestorer.names import short_hash
from audiorestorer.stages import restore
from audiorestorer.stages.job import Job
from audiorestorer.store import sha256_file
from tests.stages.conftest import RATE, SMALL, with_mask, write_recordings

FILES = {
    "a.wav": (RATE, (9001,), "PCM_16"), "deep/b.flac": (44100, (30011, 2), "PCM_24"), "deep/c.wav": (22050, (20000, 2), "FLOAT"),
    "d.ogg": (16000, (16001,), None), "d.wav": (96000, (50000,), "PCM_24"), "d.flac": (48000, (24001, 2), "PCM_16"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_recordings(tmp_path / "in", FILES, 0.2, RATE)
    return tmp_path


def run(folder: Path, checkpoint: Path, source: str = "in", out: str = "out", **options: object) -> list:
    return restore.run(folder / source, folder / out, checkpoint, Job(folder / "store"), **options)  # type: ignore[arg-type]


def test_rate_channels_length_and_format_are_kept(checkpoint: Path, folder: Path) -> None:
    rows = {item.relative: item for item in run(folder, checkpoint)}
    wanted = {
        "a.wav": ("a.wav", "PCM_16"), "deep/b.flac": ("deep/b.flac", "PCM_24"), "deep/c.wav": ("deep/c.wav", "FLOAT"),
        "d.ogg": (f"d-{short_hash('d.ogg')}.flac", "PCM_16"), "d.wav": ("d.wav", "PCM_24"),
        "d.flac": ("d.flac", "PCM_16"),
    }  # fmt: skip
    for name, (made, subtype) in wanted.items():
        rate, shape, _ = FILES[name]
        info = sf.info(folder / "out" / made)
        assert (info.samplerate, info.channels, info.subtype) == (rate, 1 if len(shape) == 1 else shape[1], subtype), (
            name
        )
        assert info.frames == sf.info(folder / "in" / name).frames
        assert rows[name].ok and rows[name].output == made
    for name, reason in (("bad.wav", "not readable"), ("empty.wav", "no samples"), ("nan.wav", "NaN")):
        assert not rows[name].ok and reason in str(rows[name].reason), rows[name].reason
    assert [item.id for item in read_manifest(folder / "out/restore.jsonl")] == sorted(
        item.id for item in rows.values()
    )


def test_stereo_stays_stereo_and_nothing_moves(folder: Path, tmp_path: Path) -> None:
    """A mask of one is the identity up to 16 bit, in each channel by itself, also above the network's Nyquist frequency."""
    same = tmp_path / "same.safetensors"
    save_checkpoint(same, with_mask(40.0), "denoise", {})
    run(folder, same)
    for name in ("a.wav", "deep/b.flac", "deep/c.wav"):
        given, _ = sf.read(folder / "in" / name)
        made, _ = sf.read(folder / "out" / name)
        assert np.abs(made - given)[400:-400].max() < 2e-3, name  # at its ends a resampled gain is not yet one


def test_wet_and_floor(folder: Path, tmp_path: Path) -> None:
    mute = tmp_path / "mute.safetensors"
    save_checkpoint(mute, with_mask(-40.0), "denoise", {})
    for options, level in (({"wet": 0.0}, 1.0), ({"wet": 0.75}, 0.25), ({"floor_db": -20.0}, 0.1)):
        run(folder, mute, out=f"o{level}", **options)
        given, made = (sf.read(folder / name / "deep/c.wav")[0] for name in ("in", f"o{level}"))
        assert np.std(made) / np.std(given) == pytest.approx(level, rel=0.02)
    with pytest.raises(AudioRestorerError, match="wet"):
        run(folder, mute, wet=1.5)


def test_integers_do_not_clip(folder: Path, tmp_path: Path) -> None:
    """A network that doubles: the whole recording is turned down, and its row says so; float samples may exceed full scale."""
    model = with_mask(0.0, MaskUNetConfig(**{**SMALL.__dict__, "mask_limit": 4.0}))
    save_checkpoint(tmp_path / "loud.safetensors", model, "denoise", {})
    rows = {item.relative: item for item in run(folder, tmp_path / "loud.safetensors")}
    given, made = (sf.read(folder / name / "a.wav")[0] for name in ("in", "out"))
    assert rows["a.wav"].gain_db < -1 and np.abs(made).max() == pytest.approx(1, abs=1e-3)
    assert np.corrcoef(given, made)[0, 1] > 0.9999
    assert rows["deep/c.wav"].gain_db == 0 and np.abs(sf.read(folder / "out/deep/c.wav")[0]).max() > 1


def test_nothing_twice_and_moved_outputs_come_back(
    checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(folder, checkpoint)
    content = {path: path.read_bytes() for path in (folder / "out").rglob("*.*")}
    (folder / "out/a.wav").unlink()

    def never(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(restore, "restore_item", never)
    (folder / "in/nan.wav").unlink()
    rows = run(folder, checkpoint)
    assert sum(item.ok for item in rows) == 6
    for path, before in content.items():
        assert path.name == "restore.jsonl" or path.read_bytes() == before


def test_a_single_file(checkpoint: Path, folder: Path) -> None:
    run(folder, checkpoint)
    (row,) = run(folder, checkpoint, "in/deep/b.flac", "one/made.flac")
    assert (folder / "one/made.flac").read_bytes() == (folder / "out/deep/b.flac").read_bytes() and row.ok
    assert sorted(path.name for path in (folder / "one").iterdir()) == ["made.flac"]
    run(folder, checkpoint, "in/d.ogg", "two")
    assert (folder / "two/d.flac").exists()
    with pytest.raises(AudioRestorerError, match=r"\.wav or \.flac"):
        run(folder, checkpoint, "in/a.wav", "three.ogg")


def test_an_input_is_never_replaced(checkpoint: Path, folder: Path) -> None:
    before = {path: path.read_bytes() for path in (folder / "in").rglob("*.*")}
    (folder / "link").symlink_to("in")
    for source, out, reason in (
        ("in", "in", "OUT .* is the same as IN"), ("in", "link", "OUT .* is the same as IN"),
        ("in", "in/out", "OUT .* lies in IN"), ("in/deep", "in", "OUT .* holds IN"),
        ("in", "out/../in/deep/../x", "OUT .* lies in IN"),
        ("in/a.wav", "in", "would replace this input"), ("in/a.wav", "link/a.wav", "would replace this input"),
    ):  # fmt: skip
        with pytest.raises(AudioRestorerError, match=reason):
            run(folder, checkpoint, source, out)
    with pytest.raises(AudioRestorerError, match="--store .* lies in IN"):
        restore.run(folder / "in", folder / "out", checkpoint, Job(folder / "in/store"))
    assert before == {path: path.read_bytes() for path in (folder / "in").rglob("*.*")}
    with pytest.raises(AudioRestorerError, match="no recordings"):
        run(folder, checkpoint, "nowhere")


def test_blocks_do_not_show(checkpoint: Path, tmp_path: Path) -> None:
    """25 s at 16 kHz are three blocks: the restored tone has no step where they meet."""
    time = np.arange(25 * 16000 + 7) / 16000
    sf.write(tmp_path / "t.wav", 0.3 * np.sin(2 * np.pi * 500 * time), 16000, subtype="FLOAT")
    restore.run(tmp_path / "t.wav", tmp_path / "o", checkpoint, Job(tmp_path / "store"))
    made, _ = sf.read(tmp_path / "o/t.wav")
    assert len(made) == len(time)
    steps = np.abs(np.diff(made, 2))[400:-400]
    assert steps.max() < 1.5 * np.quantile(steps, 0.99)


def test_an_output_is_a_file_of_its_own_and_an_edit_of_it_is_kept(
    checkpoint: Path, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = {item.relative: item for item in run(folder, checkpoint)}
    target, inner = folder / "out/a.wav", Path(str(rows["a.wav"].path))
    assert not target.samefile(inner) and target.stat().st_nlink == 1
    written = target.stat().st_mtime_ns
    run(folder, checkpoint)
    assert target.stat().st_mtime_ns == written, "what is there as it should be is not written again"
    with open(target, "ab") as file:
        file.write(b"tags")
    (folder / "out/d.wav").write_bytes(b"mine")
    edited = target.read_bytes()
    rows = {item.relative: item for item in run(folder, checkpoint, wet=0.5)}
    assert target.read_bytes() == edited and "out/a.wav: it was changed after it was published: kept" in caplog.text
    assert rows["a.wav"].published_kept and rows["deep/c.wav"].published_kept is None
    assert (folder / "out/d.wav").read_bytes() == b"mine" and sha256_file(folder / "out/d.flac") == rows[
        "d.flac"
    ].sha256
    target.unlink()
    rows = {item.relative: item for item in run(folder, checkpoint, wet=0.5)}
    assert sha256_file(target) == rows["a.wav"].sha256
