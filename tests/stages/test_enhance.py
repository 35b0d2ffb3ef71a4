"""The enhancer as a command over a folder and as a stage: every rate and format, nothing twice, bad files are rows, the word gate."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import Tensor

from audiorestorer import config
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.metrics.context import Context
from audiorestorer.models.enhancer.checkpoint import load_checkpoint
from audiorestorer.models.enhancer.enhancer import Enhanced
from audiorestorer.separators.enhancer import SpeechEnhancer
from audiorestorer.separators.word_gate import WordGate
from audiorestorer.stages import enhance
from audiorestorer.stages.job import Job
from audiorestorer.store import sha256_file
from tests.metrics.test_recognisers import clean
from tests.stages.conftest import write_recordings
from tests.test_commands import run as command
from tests.tiny_models import write_model_json, write_tiny_enhancer

RATE = 16_000
QUICK = config.EnhanceSettings(regenerate_all=True, nfe=2, solver="euler", max_wer=None)
FILES = {
    "a.wav": (8000, (9001,), "PCM_16"), "deep/b.flac": (44100, (30011, 2), "PCM_24"), "deep/c.wav": (22050, (20000, 2), "FLOAT"),
    "d.ogg": (16000, (16001,), None),
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "enhancer.safetensors"
    write_tiny_enhancer(path, RATE)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_recordings(tmp_path / "in", FILES, 0.1, RATE)
    return tmp_path


def run(folder: Path, checkpoint: Path, source: str = "in", out: str = "out", **changes: object) -> dict[str, Item]:
    settings = QUICK.model_copy(update=changes)
    rows = enhance.run_folder(folder / source, folder / out, checkpoint, settings, Job(folder / "store", "cpu"))
    return {str(item.relative): item for item in rows}


def test_a_folder_is_mirrored_at_full_band(checkpoint: Path, folder: Path) -> None:
    rows = run(folder, checkpoint)
    for name, (rate, shape, subtype) in FILES.items():
        info = sf.info(folder / "out" / str(rows[name].output))
        assert rows[name].ok and rows[name].enhanced is True
        assert info.samplerate == max(rate, RATE) and info.channels == (1 if len(shape) == 1 else shape[1])
        assert info.frames == round(shape[0] * info.samplerate / rate)
        assert info.subtype == (subtype or "PCM_16")
    for name, reason in (("bad.wav", "not readable"), ("empty.wav", "no samples"), ("nan.wav", "NaN")):
        assert not rows[name].ok and reason in str(rows[name].reason), rows[name].reason
    assert {item.id for item in read_manifest(folder / "out/enhance.jsonl")} == {item.id for item in rows.values()}


def test_nothing_twice_and_the_same_bytes_in_any_company(
    checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(folder, checkpoint)
    alone = enhance.run_folder(
        folder / "in/deep/c.wav", folder / "alone.wav", checkpoint, QUICK, Job(folder / "other", "cpu")
    )
    assert alone[0].ok and (folder / "alone.wav").read_bytes() == (folder / "out/deep/c.wav").read_bytes()
    run(folder, checkpoint, out="seeded", seed=1)
    assert (folder / "seeded/deep/c.wav").read_bytes() != (folder / "out/deep/c.wav").read_bytes()

    def never(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(enhance, "enhance_item", never)
    (folder / "in/nan.wav").unlink()
    before = (folder / "out/a.wav").read_bytes()
    (folder / "out/a.wav").unlink()
    assert sum(item.ok for item in run(folder, checkpoint).values()) == len(FILES)
    assert (folder / "out/a.wav").read_bytes() == before


def test_killed_after_two_items_it_goes_on(checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = enhance.enhance_item, []

    def dies(*arguments: object) -> object:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(1)
        return real(*arguments)  # type: ignore[arg-type]

    (folder / "in/nan.wav").unlink()
    monkeypatch.setattr(enhance, "enhance_item", dies)
    with pytest.raises(KeyboardInterrupt):
        run(folder, checkpoint)
    made.clear()
    monkeypatch.setattr(enhance, "enhance_item", lambda *arguments: made.append(1) or real(*arguments))
    assert sum(item.ok for item in run(folder, checkpoint).values()) == len(FILES) and len(made) == len(FILES) - 2


def test_an_input_is_never_replaced(checkpoint: Path, folder: Path) -> None:
    before = {path: path.read_bytes() for path in (folder / "in").rglob("*.*")}
    for out, how in (("in", "is the same as"), ("in/out", "lies in")):
        with pytest.raises(AudioRestorerError, match=f"OUT .* {how} IN"):
            run(folder, checkpoint, "in", out)
    with pytest.raises(AudioRestorerError, match="would replace this input"):
        run(folder, checkpoint, "in/a.wav", "in")
    assert before == {path: path.read_bytes() for path in (folder / "in").rglob("*.*")}


class Echo(torch.nn.Module):
    """An enhancer that keeps every word: it gives back what it hears, a little softer."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        model, _ = load_checkpoint(path)
        self.settings, self.sample_rate, self.denoiser = model.settings, model.sample_rate, model.denoiser

    def forward(self, audio: Tensor, **_: object) -> Enhanced:
        return Enhanced(audio, 0.8 * audio)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Three seconds of a clear voice, and what is said in them, or so."""
    path, text = clean("festival:cmu_us_slt_arctic_hts")
    samples, rate = sf.read(path)
    out = tmp_path_factory.mktemp("spoken") / "x.flac"
    sf.write(out, samples[: 3 * rate], rate)
    return str(out), " ".join(text.split()[:8])


def test_the_gate_falls_back_where_words_are_lost_and_only_there(
    checkpoint: Path, tmp_path: Path, spoken: tuple[str, str]
) -> None:
    path, text = spoken
    gate = WordGate.load(Context(), 0.3)
    settings = QUICK.model_copy(update={"max_wer": 0.3})
    untrained = SpeechEnhancer.load(checkpoint, settings, "cpu")
    kept = SpeechEnhancer(Echo(checkpoint), settings)  # type: ignore[arg-type]
    item = Item(id="x", noisy=path, sha256="0" * 64)
    for known in (item, item.updated(transcript=text)):
        chosen = enhance.enhance_item(enhance.Worker(untrained, gate), known, 0, tmp_path)
        assert (
            chosen.row["enhanced"] is False
            and chosen.row["enhance_wer"] > 0.3
            and "word" in chosen.row["enhance_reason"]
        )
        assert chosen.path.name == "denoised.wav"
        chosen = enhance.enhance_item(enhance.Worker(kept, gate), known, 0, tmp_path)
        assert (
            chosen.row == {"enhanced": True, "enhance_wer": chosen.row["enhance_wer"]}
            and chosen.row["enhance_wer"] <= 0.1
        )
        assert chosen.path.name == "enhanced.wav"
    ungated = enhance.enhance_item(enhance.Worker(untrained, None), item, 0, tmp_path)
    assert ungated.row == {"enhanced": True} and ungated.path.name == "enhanced.wav"


def test_the_command_s_gate_delivers_the_denoised_recording(
    checkpoint: Path, tmp_path: Path, spoken: tuple[str, str]
) -> None:
    path, _ = spoken
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.flac").write_bytes(Path(path).read_bytes())
    (row,) = run(tmp_path, checkpoint, max_wer=0.3).values()
    assert row.enhanced is False and row.enhance_wer > 0.3
    fallen, rate = sf.read(tmp_path / "out/x.flac")
    run(tmp_path, checkpoint, out="denoised", sample_rate="keep", denoise_only=True)
    denoised, own = sf.read(tmp_path / "denoised/x.flac")
    assert own == rate and np.abs(fallen - denoised).max() < 1e-4


def test_a_shard_keeps_its_rows_and_passes_rejected_ones_on(
    checkpoint: Path, tmp_path: Path, spoken: tuple[str, str]
) -> None:
    path, text = spoken
    whole = Item(
        id="a",
        noisy=path,
        path=path,
        sha256=sha256_file(path),
        transcript=text,
        sr=sf.info(path).samplerate,
        output="a.flac",
    )
    write_manifest(
        tmp_path / "in.jsonl", [whole, Item(id="b", noisy="b.wav", status="rejected", reason="ingest: silent")]
    )
    record = write_model_json(tmp_path / "m.json", "m", "enhancer", [checkpoint])
    enhance.run(tmp_path / "in.jsonl", tmp_path / "out.jsonl", QUICK, Job(tmp_path / "store", "cpu"), record)
    first, second = read_manifest(tmp_path / "out.jsonl")
    assert first.enhanced is True and first.sr == whole.sr and first.transcript == text
    assert sf.info(str(first.path)).subtype == "FLOAT" and first.sha256 == sha256_file(str(first.path))
    assert second.reason == "ingest: silent"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nfe", "0"], "nfe"), (["--solver", "heun"], "solver"), (["--lambd", "1.5"], "lambd"), (["--tau", "-1"], "tau"),
        (["--window", "0.1"], "window_sec"), (["--sr", "0"], "sample_rate"), (["--nfe", "2", "--solver", "rk4"], "rk4 needs nfe 4"),
        (["--checkpoint", "/nowhere.safetensors"], "/nowhere.safetensors: cannot read"),
        (["--checkpoint", "README.md"], "README.md: not a readable safetensors file"),
        (["--model", "nothing"], "no model 'nothing'"),
    ],
)  # fmt: skip
def test_mistakes_end_with_two_and_a_message(tmp_path: Path, arguments: list[str], message: str) -> None:
    given = ["--checkpoint", "README.md"] if "--checkpoint" not in arguments and "--model" not in arguments else []
    code, text = command(
        "enhance-folder", "data/pilot/clean/podcast", str(tmp_path), "--store", str(tmp_path / "s"), *given, *arguments
    )
    assert code == 2 and message in text and "Traceback" not in text
