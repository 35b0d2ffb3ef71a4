"""Diagnostics of triads whose figures are known: one row an item, medians an epoch, faults as rows."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_csv
from audiorestorer.metrics import triads
from audiorestorer.stages.training import triad_diagnostics

RATE = 8000


def write(folder: Path, name: str, left_db: float, seconds: float = 1.0) -> None:
    """A triad at 0 dB SNR whose output has the noise lowered by `left_db`."""
    rng = np.random.default_rng(len(name))
    clean, noise = 0.1 * rng.standard_normal((2, int(seconds * RATE)))
    noise -= (noise @ clean) / (clean @ clean) * clean
    noise *= np.sqrt((clean @ clean) / (noise @ noise))
    folder.mkdir(parents=True, exist_ok=True)
    signals = (clean + noise, clean + noise * 10 ** (-left_db / 20), clean)
    for part, samples in zip(triads.PARTS, signals, strict=True):
        sf.write(folder / f"{name}_{part}.wav", samples, RATE, subtype="FLOAT")


def test_a_run_of_three_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for epoch, gains in ((1, (0, 2, 4)), (2, (4, 6, 8)), (10, (9, 10, 20))):
        for number, gain in enumerate(gains):
            write(tmp_path / f"ep{epoch:03d}", f"item_{number}", gain)
    items, summary, figure = tmp_path / "t.csv", tmp_path / "s.csv", tmp_path / "f.png"
    found = triad_diagnostics.run(tmp_path, out_csv=items, summary_csv=summary, figure=figure)
    rows = read_csv(items)
    assert tuple(rows[0]) == triads.FIELDS and len(rows) == 9 and rows[0]["id"] == "item_0"
    gains = [float(row["delta_si_db"]) for row in rows]
    assert gains == pytest.approx([0, 2, 4, 4, 6, 8, 9, 10, 20], abs=0.01)
    residual = [float(row["residual_percent"]) for row in rows]
    assert residual == pytest.approx([100 * 10 ** (-gain / 10) for gain in gains], rel=0.01)
    table = read_csv(summary)
    assert [row["epoch"] for row in table] == ["1", "2", "10"] and [row["n"] for row in table] == ["3"] * 3
    assert [float(row["delta_si_db"]) for row in table] == pytest.approx([2, 6, 10], abs=0.01)
    last = [float(table[2][f"delta_si_db_q{quarter}"]) for quarter in (25, 75)]
    assert last == pytest.approx([9.5, 15], abs=0.01)
    assert [str(row["epoch"]) for row in found] == ["1", "2", "10"] and figure.read_bytes().startswith(b"\x89PNG")
    assert "9 triads, 3 epochs; epoch 10: delta_si_db 10.00" in capsys.readouterr().out


def test_faults_are_rows_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "ep001"
    for name in ("good", "half", "short", "rate", "cut", "mute"):
        write(folder, name, 10)
    (folder / "half_clean.wav").unlink()
    signal, _ = sf.read(folder / "short_yhat.wav")
    sf.write(folder / "short_yhat.wav", signal[:-1], RATE)
    sf.write(folder / "rate_clean.wav", signal, 16000)
    sf.write(folder / "mute_yhat.wav", 0 * signal, RATE)
    sf.write(folder / "cut_noisy.flac", signal, RATE)
    (folder / "cut_noisy.wav").write_bytes((folder / "cut_noisy.flac").read_bytes()[:3000])
    (folder / "cut_noisy.flac").unlink()
    triad_diagnostics.run(tmp_path, out_csv=tmp_path / "t.csv")
    rows = {row["id"]: row for row in read_csv(tmp_path / "t.csv")}
    assert rows["good"]["status"] == "ok" and rows["good"]["reason"] == ""
    for name, reason in (
        ("half", "missing: clean"),
        ("short", "rate or length differ: noisy 8000 at 8000 Hz, yhat 7999"),
        ("rate", "clean 8000 at 16000 Hz"),
        ("cut", "cut_noisy.wav"),
    ):
        assert rows[name]["status"] == "rejected" and reason in rows[name]["reason"] and rows[name]["composite"] == ""
    assert rows["mute"]["si_noisy_db"] and rows["mute"]["composite"] == "" and "silent" in rows["mute"]["reason"]


def test_nothing_measurable_is_an_error_with_the_first_reason(tmp_path: Path) -> None:
    write(tmp_path, "a", 3)
    (tmp_path / "a_yhat.wav").unlink()
    with pytest.raises(AudioRestorerError, match=r"none of 1 triads could be measured; the first: missing: yhat"):
        triad_diagnostics.run(tmp_path, out_csv=tmp_path / "t.csv")
    assert read_csv(tmp_path / "t.csv")[0]["reason"] == "missing: yhat"  # the table is there to be read
