"""Learning from audio debug: changes, the best epoch and the verdict of runs whose figures are known."""

import os
from pathlib import Path

import pytest

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_csv, write_csv
from audiorestorer.metrics import triads
from audiorestorer.stages.training import learning_from_audio_debug as learning
from audiorestorer.stages.training import triad_diagnostics
from tests.stages.test_triad_diagnostics import write


def run_of(folder: Path, gains: list[float]) -> Path:
    for epoch, gain in enumerate(gains, 1):
        for item in range(2):
            write(folder / f"ep{epoch:03d}", f"item{item}", gain + item)
    return folder


@pytest.mark.parametrize(
    ("gains", "verdict", "best"),
    [
        ([0.0, 3.0, 6.0, 9.0, 12.0], "improving", 5),
        ([12.0, 9.0, 6.0, 3.0, 0.0], "getting worse", 1),
        ([5.0, 5.05, 4.98, 5.02, 5.01], "flat", 2),
        ([0.0, 8.0], "improving", 2),
    ],
)
def test_verdict_and_best_epoch(tmp_path: Path, gains: list[float], verdict: str, best: int) -> None:
    found = learning.run(run_of(tmp_path, gains), out_csv=tmp_path / "l.csv", figure=tmp_path / "f.png")
    assert (found["verdict"], found["best_epoch"], found["epochs"]) == (verdict, best, len(gains))
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    rows = read_csv(tmp_path / "l.csv")
    assert [int(row["epoch"]) for row in rows if row["best"] == "1"] == [best]
    for number, row in enumerate(rows):  # the noise was lowered by so much: that is the change in dB
        assert float(row["delta_si_db_since_first"]) == pytest.approx(gains[number] - gains[0], abs=0.02)
        before = gains[max(0, number - 1)]
        assert float(row["delta_si_db_since_previous"]) == pytest.approx(gains[number] - before, abs=0.02)


def test_one_epoch_is_no_trend(tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match="1 epochs with measured triads; a trend needs two"):
        learning.run(run_of(tmp_path, [3.0]))


def table_of(folder: Path) -> Path:
    triad_diagnostics.run(folder, out_csv=folder / triad_diagnostics.ITEMS)
    return folder / triad_diagnostics.ITEMS


def test_what_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_of(tmp_path, [0.0, 6.0])
    fresh = learning.run(folder)
    table = table_of(folder)
    measured: list[str] = []
    real = triads.row_of
    monkeypatch.setattr(triads, "row_of", lambda triad: (measured.append(triad.id), real(triad))[1])
    assert learning.run(folder) == fresh and not measured
    # a file newer than the table, or a triad that it lacks: all is measured
    newer = table.stat().st_mtime_ns + 10**9
    os.utime(folder / "ep002/item0_yhat.wav", ns=(newer, newer))
    assert learning.run(folder) == fresh and len(measured) == 4
    os.utime(table, ns=(newer + 10**9, newer + 10**9))
    learning.run(folder)
    assert len(measured) == 4
    write_csv(table, triads.FIELDS, read_csv(table)[1:])
    os.utime(table, ns=(newer + 10**9, newer + 10**9))
    assert learning.run(folder) == fresh and len(measured) == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", r"t\.csv:2: no column epoch, id"),
        (",".join(triads.FIELDS) + "\n1,x" + ",good" * len(triads.FIGURES) + ",ok,\n", r"t\.csv:2: not a number.*good"),
    ],
)
def test_a_table_of_something_else_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(AudioRestorerError, match=message):
        learning.run(run_of(tmp_path / "run", [0.0, 1.0]), measured=tmp_path / "t.csv")
