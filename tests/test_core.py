"""From a folder to its report with the networks of the repository and its packages: no torch, on every Python that is supported."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard

from audiorestorer import audio
from tests.workflow.conftest import ROOT, command, environment

PILOT = ROOT / "data/pilot"
NAMES = ("help_line", "broken")  # folders of the pilot
CONFIG = {"input": "input", "references": "clean", "transcripts": "transcripts.tsv", "output": "cleaned", "shards": 1}
CONFIG |= {"registry": str(ROOT / "config/models.yaml"), "snippets": {"count": 1, "seconds": 1.0}}
CONFIG |= {"deliver": {"format": "tar.zst"}}


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        command(folder, CONFIG, *arguments), cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its report and its archive."""
    made = tmp_path_factory.mktemp("core")
    for side in ("input", "clean"):
        for name in NAMES:
            if (PILOT / side / name).exists():
                shutil.copytree(PILOT / side / name, made / side / name)
    shutil.copy2(PILOT / "transcripts.tsv", made / "transcripts.tsv")
    run(made, "all", "deliver")
    run(made, "all", "deliver", "--report", str(made / "report.html"))
    return made


def test_the_recordings_are_restored_and_measured_and_the_bad_ones_have_a_reason(folder: Path) -> None:
    result = json.loads((folder / "artifacts/eval/metrics.json").read_text())
    good = [row for row in result["items"] if row["status"] == "ok"]
    assert {Path(row["input"]).parts[0] for row in good} == {"help_line"}
    assert result["rejected"] and all(
        row["input"].startswith("broken/") and row["reason"] for row in result["rejected"]
    )
    for row in good:
        before, after = (audio.probe(folder / side / row["input"]) for side in ("input", "cleaned"))
        assert (before.sample_rate, before.frames, before.channels) == (after.sample_rate, after.frames, after.channels)
        assert -25 < row["lufs"] < -22.9 and row["si_sdr_improvement_db"] > 5  # the ceiling may hold one back
        assert 0 <= row["wer"] <= 1.5 and 1 <= row["dnsmos_ovrl"] <= 5


def test_the_report_and_the_archive_hold_the_run(folder: Path) -> None:
    assert "results.html" in (folder / "report.html").read_text()
    assert "help_line" in (folder / "artifacts/report/results.html").read_text()
    (archive,) = (folder / "artifacts").rglob("*.tar.zst")
    with zstandard.open(archive, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        names = [member.name for member in tar]
    outputs = [path.relative_to(folder / "cleaned") for path in (folder / "cleaned").rglob("*.*") if path.is_file()]
    assert outputs and all(any(name.endswith(path.as_posix()) for name in names) for path in outputs)


def test_a_second_run_computes_nothing(folder: Path) -> None:
    assert "Nothing to be done" in run(folder, "all")
