"""Locks that die with their process."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from audiorestorer import locks
from audiorestorer.errors import AudioRestorerError

HOLD = """
import sys
from audiorestorer import locks
file = open(sys.argv[1], "a")
print(locks.taken(file), flush=True)
sys.stdin.read()
"""
PACKAGE = Path(locks.__file__).parent


def test_another_process_s_lock_is_said_at_once_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "True\n"
    with open(path, "a") as file:
        assert not locks.taken(file) and not locks.taken(file.fileno())
        with pytest.raises(AudioRestorerError, match=r"^somebody works here$"):
            locks.take(file, "somebody works here")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        locks.take(file, "somebody works here")
        assert locks.taken(file), "whose lock is ours stays ours"
        with open(path, "a") as other:
            assert not locks.taken(other)
    with open(path, "a") as file:
        assert locks.taken(file)


def test_a_file_that_cannot_be_locked_is_not_taken_for_another_process_s(tmp_path: Path) -> None:
    """A file that is open for its name alone cannot be locked: the kernel says EBADF."""
    (tmp_path / ".lock").touch()
    descriptor = os.open(tmp_path / ".lock", os.O_PATH)
    try:
        with pytest.raises(OSError) as caught:
            locks.taken(descriptor)
        assert caught.value.errno == errno.EBADF
        with pytest.raises(AudioRestorerError, match=r"cannot be locked: Bad file descriptor"):
            locks.take(descriptor, "another run is working")
    finally:
        os.close(descriptor)


def test_nothing_else_of_the_package_locks_by_itself() -> None:
    found = [
        path.name for path in PACKAGE.rglob("*.py") if re.search(r"fcntl\.(flock|lockf)|LOCK_NB", path.read_text())
    ]
    assert found == ["locks.py"]
