"""Work on files that nobody vouches for, in a process of its own with bounds: what crashes, hangs or eats memory ends that alone."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from audiorestorer.errors import AudioRestorerError, MachineError, of_the_machine
from audiorestorer.forked import end_with

Result = TypeVar("Result")


def apart(function: Callable[[], Result], memory_bytes: int, cpu_sec: int) -> Result:
    """The result of a function that runs in a forked process, which must be picklable. Not on Linux: it runs here.

    Args:
        memory_bytes: beyond what this process has. cpu_sec: of processor time.

    Raises:
        AudioRestorerError: the function's own, or the process died; the reason alone.
        MachineError: the machine refused (no space, for example).
    """
    if sys.platform != "linux":
        return function()
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_work, args=(theirs, function, memory_bytes, cpu_sec, os.getpid()))
    process.start()
    theirs.close()
    try:
        kind, value = ours.recv()
    except EOFError:
        kind, value = "died", None
    process.join()
    if kind == "result":
        return value
    if kind == "machine":
        raise MachineError(value)
    raise AudioRestorerError(value or _death(process.exitcode))


def _death(code: int | None) -> str:
    if code == -signal.SIGXCPU:
        return "its decoding took too long for its size and was stopped"
    name = signal.Signals(-code).name if code and code < 0 else f"exit status {code}"
    return f"the decoder crashed on it ({name})"


def _work(answer: Connection, function: Callable[[], Any], memory_bytes: int, cpu_sec: int, parent: int) -> None:
    end_with(parent)
    with open("/proc/self/statm", encoding="ascii") as file:
        in_use = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_sec, cpu_sec + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer.send(_outcome(function))
    os._exit(0)


def _outcome(function: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "result", function()
    except AudioRestorerError as error:
        return ("machine" if isinstance(error, MachineError) else "error"), str(error)
    except MemoryError:
        return "error", "its decoding needs more memory than is allowed"
    except OSError as error:
        machine = of_the_machine(error)
        return ("machine", str(machine)) if machine else ("error", f"cannot be decoded: {error.strerror or error}")
    except Exception as error:  # of a library, on a file that nobody foresaw: it must not end the batch
        return "error", f"the decoder failed on it ({type(error).__name__}: {error})"
