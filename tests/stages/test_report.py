"""The report stage: all files are made, equal bytes, and errors that name the file."""

import json
from pathlib import Path

import pytest

from audiorestorer.config import SnippetSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.report.listening import REPORT_PAGE_BYTES
from audiorestorer.stages.batch import report, snippets
from tests.stages.test_snippets import make_batch, tree

FILES = {
    "blind.html", "details.html", "figures/distributions.png", "figures/overview.png", "figures/worst.png", "listening-best.html",
    "listening-sample.html", "listening-worst.html", "listening.html", "results.html", "runtime.html", "summary.md",
}  # fmt: skip


def test_report_is_complete_and_deterministic(tmp_path: Path) -> None:
    metrics, manifest = make_batch(tmp_path)
    snippets.run(metrics, [manifest], tmp_path / "s.json", tmp_path / "s", SnippetSettings(seconds=1.0))
    model = tmp_path / "m.json"
    model.write_text(json.dumps({"name": "net", "kind": "mask_network", "licence": "MIT", "weights": "0" * 64}))
    for name in ("a", "b"):
        report.run(metrics, tmp_path / "s.json", '{"fuse": {"n_fft": 2048}}', [model], tmp_path / name)
    made = tree(tmp_path / "a")
    assert set(made) == FILES and made == tree(tmp_path / "b")
    assert all(len(data) < REPORT_PAGE_BYTES for name, data in made.items() if "-" in name)
    assert made["listening.html"].count(b"<audio ") == 6
    assert b"n_fft: 2048" in made["summary.md"] and b"| net |" in made["summary.md"]


def test_missing_inputs_are_named(tmp_path: Path) -> None:
    metrics, manifest = make_batch(tmp_path)
    with pytest.raises(AudioRestorerError, match=r"gone\.json"):
        report.run(metrics, tmp_path / "gone.json", "{}", [], tmp_path / "r")
    snippets.run(metrics, [manifest], tmp_path / "s.json", tmp_path / "s", SnippetSettings(seconds=1.0))
    (tmp_path / "s" / "i0" / "after.mp3").unlink()
    with pytest.raises(AudioRestorerError, match=r"after\.mp3.*run the stage snippets again"):
        report.run(metrics, tmp_path / "s.json", "{}", [], tmp_path / "r")
    with pytest.raises(AudioRestorerError, match="--config"):
        report.run(metrics, tmp_path / "s.json", "{broken", [], tmp_path / "r")
