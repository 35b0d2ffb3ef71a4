"""Work in forked processes: all is done, errors come back, a process ended from outside is told of, none is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audiorestorer.errors import AudioRestorerError, MachineError
from audiorestorer.forked import unordered

ROOT = Path(__file__).parents[1]


def test_every_number_is_done_once_in_processes_of_their_own() -> None:
    loaded = {"model": "read once"}
    out = dict(unordered(lambda number: (number**2, os.getpid(), loaded["model"]), 20, 3))
    assert {number: square for number, (square, _, _) in out.items()} == {number: number**2 for number in range(20)}
    processes = {process for _, process, _ in out.values()}
    assert os.getpid() not in processes and 1 <= len(processes) <= 3


def test_one_task_or_one_process_is_done_here() -> None:
    assert list(unordered(lambda _: os.getpid(), 1, 4)) == [(0, os.getpid())]
    assert {process for _, process in unordered(lambda _: os.getpid(), 3, 1)} == {os.getpid()}
    assert list(unordered(lambda number: number, 0, 4)) == []


def test_an_error_comes_back() -> None:
    def fails(number: int) -> int:
        if number == 2:
            raise AudioRestorerError("a.wav: damaged")
        return number

    with pytest.raises(AudioRestorerError, match=r"a\.wav: damaged"):
        list(unordered(fails, 4, 2))


def test_a_process_that_is_killed_ends_the_job_with_what_to_do() -> None:
    def dies(number: int) -> int:
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(MachineError, match="ended from outside .*run the same command again"):
        list(unordered(dies, 4, 2))


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_the_processes_end_with_their_parent_even_when_it_is_killed(tmp_path: Path) -> None:
    code = """
import os, pathlib, sys, time
from audiorestorer.forked import unordered
def work(number):
    (pathlib.Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(60)
list(unordered(work, 2, 2))
"""
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    deadline = time.monotonic() + 30
    while len(children := list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while any(Path(f"/proc/{child.name}").exists() for child in children):
        assert time.monotonic() < deadline, "a process outlives its parent"
        time.sleep(0.05)
