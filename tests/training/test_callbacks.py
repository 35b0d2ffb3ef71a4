"""What a run leaves behind: triads, audit with warnings, figures, one gapless loss curve; faults are named before it starts."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.datasets import generated
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_csv, read_json
from audiorestorer.metrics import triads
from audiorestorer.stages.training import learning_from_audio_debug, triad_diagnostics
from audiorestorer.training import runs
from audiorestorer.training.fit import Data
from tests.training.trainings import train

RATE = 8000
CONFIG: dict[str, Any] = {
    "name": "small", "task": "denoise", "seed": 5, "steps": 8, "steps_per_epoch": 2, "batch_size": 2, "precision": "32-true",
    "network": {
        "sample_rate": RATE, "n_fft": 128, "hop_length": 64, "frequency_fold": 2, "channels": [4],
        "time_strides": [2], "rnn_hidden": 8,
    },
    "mixtures": {"segment_sec": 0.5},
    "audio_debug": {"every_epochs": 2, "items": 2, "seconds": 1.5}, "data_audit": {"every_epochs": 2, "items": 6},
    "perceptual_eval": {"every_epochs": 1, "items": 2, "seconds": 1.5},
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    manifest, noise = generated.training_set(tmp_path_factory.mktemp("set"), sample_rate=RATE)
    return Data(manifest=manifest, noise=noise)


@pytest.fixture(scope="module")
def trained(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(CONFIG, data, folder / "m.safetensors", folder / "runs", 1)
    return folder


def test_the_run_folder(trained: Path) -> None:
    record = read_json(trained / "m.json")
    folder = runs.RunFolder(Path(record["run"]))
    assert folder.path.name.endswith("_small") and folder.path.name[:2] == "20"
    assert folder.checkpoint.exists() and record["losses"]["loss"] > 0
    for epoch in (2, 4):
        for item in (0, 1):
            signals = [sf.read(folder.debug / f"ep{epoch:03d}/item{item:02d}_{part}.wav") for part in triads.PARTS]
            assert {len(signal) for signal, _ in signals} == {int(1.5 * RATE)} and {rate for _, rate in signals} == {
                RATE
            }
    assert not (folder.debug / "ep001").exists()
    audit = read_csv(folder.audit / "ep001/audit.csv")
    assert len(audit) == 6 and set(audit[0]) >= {"snr_db", "silence_share", "too_clean"}
    figures = read_csv(folder.logs / "perceptual.csv")
    assert [row["epoch"] for row in figures] == ["1", "2", "3", "4"] and all(
        float(row["composite"]) >= 0 for row in figures
    )
    assert all(float(row["stoi"]) > 0 for row in figures)
    assert list((folder.logs / "tensorboard").glob("events.*"))
    assert len(read_csv(folder.logs / "loss.csv")) == 8


def test_a_finished_run_is_not_trained_again(trained: Path, data: Data) -> None:
    before = sorted((trained / "runs").glob("*_small"))
    stamp = runs.RunFolder(before[0]).checkpoint.stat().st_mtime_ns
    content = (trained / "m.safetensors").read_bytes()
    (trained / "m.safetensors").unlink()  # as Snakemake does with the outputs of a failed job
    train(CONFIG, data, trained / "m.safetensors", trained / "runs", 1)
    assert (trained / "m.safetensors").read_bytes() == content
    assert (
        sorted((trained / "runs").glob("*_small")) == before
        and runs.RunFolder(before[0]).checkpoint.stat().st_mtime_ns == stamp
    )


def test_interrupted_and_resumed_from_manifests(trained: Path, data: Data, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    assert train(CONFIG, data, out, tmp_path / "runs", 1, stop_after=3) is None
    train(CONFIG, data, out, tmp_path / "runs", 1)
    assert out.read_bytes() == (trained / "m.safetensors").read_bytes()
    (folder,) = (tmp_path / "runs").glob("*_small")
    first = runs.RunFolder(Path(read_json(trained / "m.json")["run"]))
    for name in ("loss.csv", "perceptual.csv"):
        assert (folder / "logs" / name).read_bytes() == (first.logs / name).read_bytes()


def test_warnings_of_clean_and_silent_data(data: Data, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = {**CONFIG, "steps": 2, "mixtures": {"segment_sec": 0.5, "pure_speech": 0.5, "no_speech": 0.5}}
    with caplog.at_level(logging.WARNING):
        train(config, data, tmp_path / "m.safetensors", tmp_path / "runs", 1)
    text = caplog.text
    assert "above 25 dB SNR" in text and "95% silent or more" in text


def test_diagnostics_of_a_run(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = triad_diagnostics.run(
        trained / "m.json", out_csv=tmp_path / "t.csv", summary_csv=tmp_path / "s.csv", figure=tmp_path / "f.png"
    )
    assert [row["epoch"] for row in summary] == ["2", "4"] and all(row["n"] == 2 for row in summary)
    rows = read_csv(tmp_path / "t.csv")
    assert len(rows) == 4 and all(row["status"] == "ok" and row["delta_si_db"] for row in rows)
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    found = learning_from_audio_debug.run(trained / "m.json", out_csv=tmp_path / "l.csv", measured=tmp_path / "t.csv")
    again = learning_from_audio_debug.run(trained / "m.json")  # measures for itself
    assert found == again and found["epochs"] == 2 and found["best_epoch"] in (2, 4)
    assert read_csv(tmp_path / "l.csv")[0]["composite_since_first"] == "0.0"
    assert "best epoch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([40, 45, 50, 55, 61], "improving"), ([60, 52, 50, 44, 41], "getting worse"), ([50, 50.2, 49.9, 50.1, 50], "flat"),
        ([40, 60, 41, 62, 45], "unsteady"), ([40, 50], "improving"),
    ],
)  # fmt: skip
def test_verdicts(values: list[float], verdict: str) -> None:
    assert learning_from_audio_debug._verdict(list(range(1, len(values) + 1)), values)["verdict"] == verdict


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clean": "clean/gone.wav"}, r"clean: .*gone\.wav"),
        ({"sr": 44100}, r"sr: 44100 Hz, the network wants 8000"),
        ({"split": "test"}, "no row in 'valid'"),
    ],
)
def test_faults_are_named_before_training(data: Data, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    assert data.manifest is not None
    rows = [json.loads(line) for line in data.manifest.read_text().splitlines()]
    for row in rows:
        row["clean"] = str(data.manifest.parent / row["clean"])
        if row["split"] == "valid":
            row.update(change)
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(AudioRestorerError, match=message):
        train(CONFIG, Data(manifest=tmp_path / "m.jsonl"), tmp_path / "m.safetensors", tmp_path / "runs", 1)
    assert not (tmp_path / "runs").exists()


def test_data_must_be_one_of_two() -> None:
    for wrong in ({}, {"folder": Path("a"), "manifest": Path("b")}, {"folder": Path("a"), "noise": Path("n")}):
        with pytest.raises(AudioRestorerError, match="--manifest"):
            Data(**wrong)  # type: ignore[arg-type]


def test_triads_that_cannot_be_measured_are_rows(tmp_path: Path) -> None:
    signal = np.sin(np.arange(RATE) / 3)
    for name, parts in {
        "good": triads.PARTS,
        "half": ("noisy", "clean"),
        "long": triads.PARTS,
        "broken": triads.PARTS,
    }.items():
        for part in parts:
            sf.write(tmp_path / f"{name}_{part}.wav", signal * (0.5 if part != "noisy" else 0.6), RATE)
    sf.write(tmp_path / "long_yhat.wav", np.concatenate([signal, signal]), RATE)
    (tmp_path / "broken_yhat.wav").write_bytes(b"RIFF")
    triad_diagnostics.run(tmp_path, out_csv=tmp_path / "t.csv")
    rows = {row["id"]: row for row in read_csv(tmp_path / "t.csv")}
    assert rows["good"]["status"] == "ok" and rows["good"]["epoch"] == ""
    for name, reason in (("half", "missing: yhat"), ("long", "rate or length differ"), ("broken", "not readable")):
        assert rows[name]["status"] == "rejected" and reason in rows[name]["reason"]
    with pytest.raises(AudioRestorerError, match="a trend needs two"):
        learning_from_audio_debug.run(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioRestorerError, match="no triads"):
        triad_diagnostics.run(tmp_path / "empty")
