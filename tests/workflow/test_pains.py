"""Bad files among good ones, silence, equal names: one run by snakemake with `strict`, and what a person finds after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.audio import probe
from audiorestorer.files import read_csv
from audiorestorer.manifest import read_manifests
from tests.workflow.conftest import RATE, Workspace, make_workspace, speechlike

GOOD = {"x one.wav", "a/x.wav", "b/x.wav", "silent.wav", "never closed.wav"}
BAD = {
    "cut.wav": "truncated",
    "deep/text.mp3": "not readable as audio",
    "nan.wav": "holds NaN or infinite samples",
    "nothing.wav": "empty: no samples",
    "zero bytes.wav": "not readable as audio",
}


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} in a JSON file")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A run with `strict` that lets silence through, and what it said."""
    workspace = make_workspace(tmp_path_factory.mktemp("pains"), items=1)
    batch = workspace.folder / "batch/input"
    for seed, name in enumerate(("a/x.wav", "b/x.wav"), 50):
        (batch / name).parent.mkdir()
        sf.write(batch / name, speechlike(seed, 1.0 + 0.1 * (seed - 50)), RATE)
    (batch / "deep").mkdir()
    (batch / "deep/text.mp3").write_text("these are no samples")
    (batch / "zero bytes.wav").write_bytes(b"")
    (batch / "voice note.voc").write_bytes(b"\0\0\0\x20ftypM4A ")
    closed = (batch / "a/x.wav").read_bytes()
    (batch / "never closed.wav").write_bytes(closed[:4] + bytes(4) + closed[8:40] + bytes(4) + closed[44:])
    sf.write(batch / "nothing.wav", np.zeros(0), RATE)
    sf.write(batch / "nan.wav", np.where(np.arange(RATE) == 99, np.nan, 0.1), RATE, subtype="FLOAT")
    workspace.config |= {"strict": True, "ingest": {"silence_dbfs": -300}}
    return workspace, workspace.run(ok=False)


@pytest.fixture(scope="module")
def metrics(ended: tuple[Workspace, str]) -> dict[str, Any]:
    path = ended[0].folder / "artifacts/eval/metrics.json"
    return dict(json.loads(path.read_text(), parse_constant=no_constant))


def test_strict_says_so_after_all_else_is_done(ended: tuple[Workspace, str]) -> None:
    workspace, text = ended
    assert f"strict: {len(BAD)} files were rejected" in text and "Traceback" not in text
    assert all(f"{name}: " in text.partition("strict: ")[2] for name in BAD)
    for name in ("report/summary.md", "report/results.html", "report/listening.html", "eval/metrics.csv"):
        assert (workspace.folder / "artifacts" / name).stat().st_size > 100, f"{name} is missing"
    assert not (workspace.folder / "artifacts/eval/strict.txt").exists()
    again = workspace.run(ok=False)
    assert "rule strict:" in again and "rule separate:" not in again, (
        "the same command does strict alone, and fails again"
    )


def test_the_rest_finishes_and_the_failures_are_tabulated(
    ended: tuple[Workspace, str], metrics: dict[str, Any]
) -> None:
    workspace, _ = ended
    assert set(workspace.outputs()) == GOOD
    assert metrics["counts"] == {"ok": len(GOOD), "rejected": len(BAD)}
    rejected = {row["input"]: row["reason"] for row in metrics["rejected"]}
    assert set(rejected) == set(BAD) and all(reason in rejected[name] for name, reason in BAD.items()), rejected
    table = {row["input"]: row for row in read_csv(workspace.folder / "artifacts/eval/metrics.csv")}
    assert {name: row["status"] for name, row in table.items()} == {
        **dict.fromkeys(GOOD, "ok"), **dict.fromkeys(BAD, "rejected"),
    }  # fmt: skip
    page = (workspace.folder / "artifacts/report/results.html").read_text()
    assert all(name in page for name in BAD)


def test_every_reported_path_decodes(ended: tuple[Workspace, str]) -> None:
    workspace, _ = ended
    rows = read_manifests(sorted((workspace.folder / "artifacts/manifests/publish").glob("*.jsonl")))
    reported = {str(row.relative): Path(str(row.published)) for row in rows if row.ok}
    assert set(reported) == GOOD and not any(row.published for row in rows if not row.ok)
    for name, path in reported.items():
        samples, rate = sf.read(workspace.folder / path)
        assert rate == RATE and len(samples) == probe(workspace.folder / "batch/input" / name).frames
        assert np.isfinite(samples).all()


def test_equal_names_in_two_folders_are_two_outputs(ended: tuple[Workspace, str]) -> None:
    workspace, _ = ended
    for name, other in (("a/x.wav", "b/x.wav"), ("b/x.wav", "a/x.wav")):
        out = sf.read(workspace.folder / "artifacts/output" / name)[0]
        inputs = [sf.read(workspace.folder / "batch/input" / each)[0] for each in (name, other)]
        assert len(out) == len(inputs[0]) != len(inputs[1])
        own, foreign = (abs(np.corrcoef(out[:RATE], each[:RATE])[0, 1]) for each in inputs)
        assert own > 0.5 and own > 2 * foreign


def test_silence_gives_silence_and_finite_figures(ended: tuple[Workspace, str], metrics: dict[str, Any]) -> None:
    workspace, _ = ended
    samples, _ = sf.read(workspace.folder / "artifacts/output/silent.wav")
    assert len(samples) == RATE and not samples.any()
    (row,) = (row for row in metrics["items"] if row["input"] == "silent.wav")
    assert row["status"] == "ok" and "lufs" in row["missing"]
    (levelled,) = (row for row in workspace.rows("loudness").values() if row.relative == "silent.wav")
    assert levelled.gain_db == 0 and "no loudness" in levelled.notes["loudness"]


def test_a_header_that_was_never_closed_and_what_was_left_out_are_told(
    ended: tuple[Workspace, str], metrics: dict[str, Any]
) -> None:
    workspace, _ = ended
    notes = {
        row["input"]: row["notes"] for row in read_csv(workspace.folder / "artifacts/eval/metrics.csv") if row["notes"]
    }
    assert "counts 0 bytes of sound" in notes["never closed.wav"]
    assert workspace.outputs()["never closed.wav"] == workspace.outputs()["a/x.wav"]
    assert [entry["first"] for entry in metrics["left_out"] if entry["kind"] == "format"] == [["voice note.voc"]]
    for name in ("results.html", "summary.md"):
        text = (workspace.folder / "artifacts/report" / name).read_text()
        assert "voice note.voc" in text and "counts 0 bytes of sound" in text
