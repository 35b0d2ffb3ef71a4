"""What a killed process left half-written goes when the same folder is written into again; what somebody may be writing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audiorestorer.files import write_text_atomic
from audiorestorer.store import Store
from audiorestorer.temporaries import LEFT_SEC, scratch_folder, temporary_beside

KILLED = """
import os, signal, sys
from pathlib import Path
from audiorestorer.files import replacing
from audiorestorer.store import Store
from audiorestorer.temporaries import temporary_beside
folder = Path(sys.argv[1])
with replacing(folder / "0.jsonl") as temporary, Store(folder, "fuse").scratch() as scratch:
    temporary.write_text("half a line")
    (scratch / "half.wav").write_bytes(bytes(1000))
    print("working", flush=True)
    {end}
"""


def started(folder: Path, end: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED.format(end=end), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"working\n"
    return process


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def test_what_kill_9_left_goes_with_the_next_file_of_the_folder(tmp_path: Path) -> None:
    process = started(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert process.wait() == -signal.SIGKILL
    (half,) = (path for path in tmp_path.glob(".*"))
    (scratch,) = (tmp_path / "fuse").glob(".tmp-*")
    assert half.read_text() == "half a line" and (scratch / "half.wav").is_file() and len(hidden(tmp_path)) == 2
    write_text_atomic(tmp_path / "1.jsonl", "whole\n")
    with Store(tmp_path, "fuse").scratch() as own:
        assert list((tmp_path / "fuse").iterdir()) == [own]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.jsonl", "fuse"] and not hidden(tmp_path)


def test_what_a_running_process_writes_stays(tmp_path: Path) -> None:
    process = started(tmp_path, "sys.stdin.read()")
    names = hidden(tmp_path)
    assert len(names) == 2
    write_text_atomic(tmp_path / "1.jsonl", "whole\n")
    with Store(tmp_path, "fuse").scratch():
        pass
    assert hidden(tmp_path) == names
    process.communicate(b"")
    assert process.returncode == 0 and (tmp_path / "0.jsonl").read_text() == "half a line" and not hidden(tmp_path)


@pytest.mark.parametrize(("age_sec", "stays"), [(LEFT_SEC / 2, True), (2 * LEFT_SEC, False)])
def test_another_machine_s_file_goes_when_nobody_went_on_with_it_for_a_day(
    tmp_path: Path, age_sec: float, stays: bool
) -> None:
    theirs, scratch = tmp_path / ".0123abcd.89abcdef.1.tmp", tmp_path / ".tmp-89abcdef.1-x1_y"
    theirs.write_text("half")
    scratch.mkdir()
    for path in (theirs, scratch):
        os.utime(path, (time.time() - age_sec,) * 2)
    write_text_atomic(tmp_path / "a", "")
    assert theirs.exists() == stays and scratch.exists(), "a folder's time says nothing of the files in it"


def test_only_our_names_go(tmp_path: Path) -> None:
    number = temporary_beside(tmp_path / "x").name.split(".")[2]
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = (".hidden", "a.tmp", f"{number}.{dead.pid}.tmp", f".x.{number}.{dead.pid}.tmp", ".name.tmp", ".tmp-mine")
    for name in names:
        (tmp_path / name).write_text("the user's")
    ours = tmp_path / f".0123abcd.{number}.{dead.pid}.tmp"
    ours.write_text("half")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (tmp_path / f".tmp-{number}.{dead.pid}-abc").symlink_to(outside)
    code = "import sys; from audiorestorer.files import write_text_atomic; write_text_atomic(sys.argv[1] + '/new', '')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "new"])
    assert (outside / "kept").exists(), "a link is not followed"


def test_two_scratch_folders_of_a_process_are_two(tmp_path: Path) -> None:
    first, second = scratch_folder(tmp_path), scratch_folder(tmp_path)
    assert first != second and first.is_dir() and second.is_dir()
