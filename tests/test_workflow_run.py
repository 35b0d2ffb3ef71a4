"""A run of the workflow: its lock, its progress, and what it finds on the disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, write_manifest
from audiorestorer.workflow_run import Run, kept_lines
from tests.test_workflow import flow


def test_a_published_file_that_is_gone_makes_a_new_round(tmp_path: Path):
    run = Run(flow(artifacts=str(tmp_path)))
    assert run.publishing_round("0") == 0
    (tmp_path / "published/rounds").mkdir(parents=True)
    (tmp_path / "published/rounds/0").write_text("3\n")
    (tmp_path / "out.wav").write_bytes(b"")
    path = tmp_path / "manifests/publish/0.jsonl"
    write_manifest(path, [Item(id="a", noisy="a.wav").updated(published=str(tmp_path / "out.wav"))])
    assert run.publishing_round("0") == 3
    (tmp_path / "out.wav").unlink()
    assert run.publishing_round("0") == 4
    path.write_text("{")
    assert run.publishing_round("0") == 4


def test_archives_that_are_gone_are_counted(tmp_path: Path):
    run = Run(flow(artifacts=str(tmp_path)))
    assert run.absent_archives() == 0
    (tmp_path / "delivery").mkdir()
    (tmp_path / "delivery/a.zip").write_bytes(b"")
    Path(run.flow.delivery).write_text("0 a.zip\n0 b c.zip\n")
    assert run.absent_archives() == 1
    Path(run.flow.delivery).write_text("damaged\n")
    assert run.absent_archives() == -1


def test_one_run_at_a_time_in_a_folder(tmp_path: Path):
    first, second = (Run(flow(artifacts=str(tmp_path))) for _ in range(2))
    first.lock()
    with pytest.raises(AudioRestorerError, match="another run is working"):
        second.lock()
    assert first._lock is not None
    first._lock.close()
    second.lock()


def test_the_progress_counts_jobs_of_stages_alone():
    run = Run(flow(evaluate={"metrics": ["loudness", "music"]}))
    written = [
        ("artifacts/manifests/separate/a/1.jsonl", "1"),
        ("artifacts/manifests/evaluate/0.jsonl", "0"),
        ("artifacts/x", ""),
    ]
    jobs = list(run.stage_jobs(written, {"0": 5, "1": 6}))
    assert [(job.stage, job.items, job.parts) for job in jobs] == [("separate/a", 6, 1), ("evaluate", 5, 3)]


def test_files_that_stayed_are_named_with_their_remedy(tmp_path: Path):
    path = tmp_path / "output.json"
    assert kept_lines(str(path)) == []
    kept = [{"file": f"{number}.wav", "reason": "changed"} for number in range(7)]
    path.write_text(json.dumps({"kept": kept, "stale": []}))
    lines = kept_lines(str(path))
    assert len(lines) == 6 and lines[0] == "0.wav: kept: changed" and lines[5].startswith("7 files were kept")
