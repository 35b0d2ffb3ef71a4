"""Work side by side in forked processes, for what holds Python's lock: a speech recogniser, a picture.

The processes inherit what this one has loaded, so that a model is read once and lies in memory once. They end with this process,
kill -9 included. Where there is no safe fork (not Linux), and for one task, the work is done here.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from audiorestorer.errors import AGAIN, MachineError

Result = TypeVar("Result")
PR_SET_PDEATHSIG = 1  # linux/prctl.h
_function: Callable[[int], Any] | None = None


def unordered(function: Callable[[int], Result], count: int, processes: int) -> Iterator[tuple[int, Result]]:
    """(number, function(number)) of 0 .. count - 1, as they are finished.

    Args:
        function: runs in a forked process; what it changes there is lost, what it returns or raises must be picklable.

    Raises:
        MachineError: a process was ended from outside (the system had no memory left, for example).
    """
    if min(count, processes) < 2 or sys.platform != "linux":
        yield from ((number, function(number)) for number in range(count))
        return
    global _function
    _function = function
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(min(count, processes), fork, end_with, (os.getpid(),)) as pool:
        futures = {pool.submit(_call, number): number for number in range(count)}
        try:
            for future in as_completed(futures):
                yield futures.pop(future), future.result()
        except BrokenProcessPool as error:
            raise MachineError(
                f"a process that worked for this job was ended from outside (out of memory?): {AGAIN}"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _call(number: int) -> Any:
    assert _function is not None
    return _function(number)


def end_with(parent: int) -> None:
    """Let this process end when the one that forked it ends, kill -9 included."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)
