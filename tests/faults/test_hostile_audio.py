"""Each hostile file becomes a right output or a rejected row that says why, within bounds of time and memory; the queue goes on.

The short form puts all files through ingest in one folder, a sixth of them each in a process of its own with its bounds, and some
through the whole chain; the long form (slow) all through all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign import CPU_SEC, MEMORY_BYTES, ROOT
from tests.faults.hostile_audio import cases

LEAST_CASES = 150


def campaign(folder: Path, *options: str) -> dict[str, dict[str, Any]]:
    """The rows of the program, by case; it runs in a process of its own, whose memory is small."""
    command = [sys.executable, "-m", "tests.faults.campaign", str(folder), "--json", str(folder / "r.json"), *options]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {row["name"]: row for row in json.loads((folder / "r.json").read_text())}


def check(rows: dict[str, dict[str, Any]]) -> None:
    broken = {name: row["reason"] for name, row in rows.items() if row["outcome"] == "broken"}
    assert broken == {}
    assert max(row["cpu_sec"] for row in rows.values()) < CPU_SEC
    assert max(row["mb"] for row in rows.values()) < MEMORY_BYTES / (1 << 20)


def test_cases_are_many_and_the_same_each_time(tmp_path: Path) -> None:
    found = [case for case in cases() if case.group not in ("no regular file", "ten hours")]
    assert len(cases()) >= LEAST_CASES and len(Counter(case.group for case in found)) >= 12
    for case in found[::7]:
        case.write(tmp_path / "first")
        case.write(tmp_path / "second")
        assert (tmp_path / "first" / case.name).read_bytes() == (tmp_path / "second" / case.name).read_bytes(), (
            case.name
        )


def test_a_sixth_of_the_files_through_ingest_and_some_through_the_whole_chain(tmp_path: Path) -> None:
    rows = campaign(tmp_path, "--every", "6", "--chain-every", "10")
    check(rows)
    assert len(rows) >= 85 and {"ten_hours.flac", "ten_hours.wav"} <= rows.keys()


@pytest.mark.slow
def test_every_file_through_the_whole_chain(tmp_path: Path) -> None:
    rows = campaign(tmp_path)
    check(rows)
    assert {"link_to_itself.wav", "ten_hours.flac", "fifo.wav", "level_nan_FLOAT.wav"} <= rows.keys()
    outcomes = Counter(row["outcome"] for row in rows.values())
    assert outcomes["restored"] >= 100 and outcomes["rejected"] >= 100


def test_all_in_one_folder_the_queue_goes_on(tmp_path: Path) -> None:
    rows = campaign(tmp_path, "--together")
    check(rows)
    wrong = {
        name: (row["outcome"], row["expect"])
        for name, row in rows.items()
        if row["expect"] not in ("either", row["outcome"])
    }
    assert wrong == {} and len(rows) >= LEAST_CASES
