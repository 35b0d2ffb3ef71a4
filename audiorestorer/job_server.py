"""Jobs of a run on this machine start at once: they are forked from a process that has imported what they need.

A job of a small shard works for a tenth of a second, and importing NumPy and its friends takes ten times as long. A run of the
workflow starts this server (`start`). A job's `python -m audiorestorer ...` (`rules/python.sh`) is then a client: it sends its command
line, folder, environment and open files, and ends as the fork ends. A fork whose client is gone is interrupted, then killed. Without
the server, or where it cannot be reached, a job is an interpreter of its own, as it is on a cluster. `AUDIORESTORER_SERVER=0` switches
it off.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import marshal
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module

from audiorestorer.places import PACKAGE, in_clone

SWITCH, ADDRESS = "AUDIORESTORER_SERVER", "AUDIORESTORER_SOCKET"
# in the order in which a run needs them; what is not asked for at once is imported while no job asks
FIRST = ("numpy", "audiorestorer.__main__", "audiorestorer.stages.shard")
LATER = (
    "audiorestorer.stages.ingest", "audiorestorer.separators.mask_network", "audiorestorer.stages.separate",
    "audiorestorer.stages.fuse", "audiorestorer.stages.denoise", "audiorestorer.stages.postmask", "audiorestorer.stages.loudness",
    "audiorestorer.stages.publish", "audiorestorer.stages.evaluate", "audiorestorer.metrics.intelligibility",
    "audiorestorer.stages.batch.collect", "audiorestorer.stages.batch.tidy", "audiorestorer.stages.batch.report",
    "audiorestorer.stages.batch.snippets",
)  # fmt: skip
LONGEST_ADDRESS = 107  # bytes of a socket's path
JOB = "job "  # what the name of a job's process begins with (`ps -o comm`), before that of its command
PR_SET_NAME = 15  # linux/prctl.h
GRACE_SEC = 5.0  # between the interruption of a fork and its end


def start(python: str) -> Callable[[], None]:
    """Start the server and tell the jobs of it by the environment; returns what ends it. It ends with this process at the latest.

    Args:
        python: the interpreter of the jobs.
    """
    if os.environ.get(SWITCH) == "0" or ADDRESS in os.environ or not hasattr(os, "pidfd_open"):
        return lambda: None
    folder = tempfile.mkdtemp(prefix="audiorestorer-")
    address = os.path.join(folder, "jobs")
    if len(os.fsencode(address)) > LONGEST_ADDRESS:
        os.rmdir(folder)
        return lambda: None
    environment = dict(os.environ)
    if in_clone():
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    environment.setdefault("OMP_WAIT_POLICY", "passive")
    process = subprocess.Popen(
        [python, "-m", "audiorestorer.job_server", address], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        env=environment, start_new_session=True,
    )  # fmt: skip
    os.environ[ADDRESS] = address

    def stop() -> None:
        os.environ.pop(ADDRESS, None)
        assert process.stdin is not None
        process.stdin.close()
        process.kill()  # it may be in the middle of an import
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    return stop


def serve(address: str, first: Sequence[str], later: Sequence[str]) -> None:
    """Fork for each client until standard input ends. Clients wait until `first` is imported."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(1024)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    for name in first:
        import_module(name)
    todo = list(later)
    while True:
        readable = select.select([listener.fileno(), 0], [], [], 0 if todo else None)[0]
        if 0 in readable:
            _remove(address)
            os._exit(0)
        if listener.fileno() not in readable:
            _try_import(todo.pop(0))
            gc.freeze()  # what is here now is no garbage: a child that looks through it copies its pages
            continue
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            attend(client, command)
        client.close()


def _remove(address: str) -> None:
    """The socket, and the folder that `start` made for it."""
    with suppress(OSError):
        os.unlink(address)
    with suppress(OSError):  # somebody's files are in it
        os.rmdir(os.path.dirname(address))


def _try_import(name: str) -> None:
    try:
        import_module(name)
    except ImportError:  # the job that needs it will say so
        return


def attend(
    client: socket.socket, run: Callable[[str, list[str], dict[str, str]], int], grace_sec: float = GRACE_SEC
) -> None:
    """One client: its command in a child of this process; its exit code goes back. A client that is gone takes its command with it.

    Args:
        run: (folder, arguments, environment) -> exit code.
        grace_sec: between the interruption of a command without a client and its end.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, files, _, _ = socket.recv_fds(client, 8, 3)
    size, request = int.from_bytes(head, "big"), b""
    while len(request) < size and (part := client.recv(1 << 20)):
        request += part
    if not head or len(request) < size:  # the client was killed as it asked
        os._exit(0)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background (nohup) ignores it
        client.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        _run_and_exit(run, *marshal.loads(request))
    for file in files:
        os.close(file)
    ended = os.pidfd_open(child)
    if ended not in select.select([ended, client.fileno()], [], [])[0]:
        if grace_sec:
            _kill(child, signal.SIGINT)
            _ready(ended, grace_sec)
        _kill(child, signal.SIGKILL)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    client.sendall(code.to_bytes(8, "big", signed=True))
    os._exit(0)


def _run_and_exit(run: Callable[..., int], *request: object) -> None:
    """End this fork by its command's exit code, whatever happens. The interpreter must not end by itself: libraries would wait at
    their exit for threads that only the server has."""
    code = 1
    try:
        code = run(*request)
    except BaseException:
        with suppress(OSError):  # its log is on a full disk
            traceback.print_exc()
    finally:
        os._exit(code)


def _ready(file: int, seconds: float) -> bool:
    return bool(select.select([file], [], [], seconds)[0])


def _kill(child: int, number: signal.Signals) -> None:
    try:
        os.killpg(child, number)
    except ProcessLookupError:
        return


def command(folder: str, arguments: list[str], environment: dict[str, str]) -> int:
    """`python ARGUMENTS` in a folder; the exit code."""
    os.chdir(folder)
    if arguments[:1] != ["-m"] or not arguments[1].startswith("audiorestorer"):
        os.execve(sys.executable, [sys.executable, *arguments], environment)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = folder  # as `python -m` has it
    ctypes.CDLL(None).prctl(PR_SET_NAME, f"{JOB}{arguments[2] if len(arguments) > 2 else ''}".encode()[:15])
    sys.modules.pop(f"{arguments[1]}.__main__", None)  # it is run, not imported; what it imports stays
    return to_its_end(arguments)


def to_its_end(arguments: list[str], finish: Callable[[], None] = lambda: None) -> int:
    """Run `-m MODULE ...` in this process, as the interpreter would, to its end; the exit code. `finish` is called before threads are
    waited for."""
    sys.argv = arguments[1:]
    code: object = 0
    try:
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    finish()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)


if __name__ == "__main__":
    serve(sys.argv[1], FIRST, LATER)
