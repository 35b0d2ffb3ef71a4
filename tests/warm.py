"""Python processes that start at once: forked from a server that has imported what they need.

A run of the workflow on tiny models is some thirty jobs of a few hundredths of a second, each of which would first import torch for
three seconds. Here `run` (and the `python` that a run's jobs find, see `executable`) sends its command line, folder, environment and
open files to the server, which forks: the child is a process as any other, with an exit code and an environment of its own. Only
`python -m` is run so. A command of a copy of the repository (its folder, or the first of PYTHONPATH, is not this clone) imports the
copy's modules. Whoever tests the start itself, or kills a process group, starts a real interpreter: a job is not in the group of its
client, though it ends with it.
"""

from __future__ import annotations

import atexit
import fcntl
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
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from audiorestorer import digest

ROOT = Path(__file__).parents[1]
OURS = ("audiorestorer", "scripts", "tests")
PRELOADED = (
    "torch", "torch.utils.data", "torchaudio", "lightning.pytorch", "numpy", "scipy.signal", "scipy.stats", "pandas", "soundfile",
    "matplotlib.pyplot", "demucs.htdemucs", "demucs.hdemucs", "pystoi", "jinja2", "rich.console", "rich.panel", "encodings.utf_8_sig",
    "typer.rich_utils", "typer._adapters", "typer._click.decorators", "snakemake.cli", "snakemake.api", "snakemake.assets",
    "snakemake.profiles", "snakemake.report.html_reporter", "snakemake.storage", "smart_open", "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin", "PIL.JpegImagePlugin", "PIL.PpmImagePlugin", "audiorestorer.__main__", "audiorestorer.training.fit",
    "audiorestorer.training.enhancer.fit", "audiorestorer.workflow",
)  # fmt: skip
PACKAGES = ("commands", "dsp", "formats", "intake", "metrics", "models", "report", "separators", "stages")
# The `python` that the jobs of a run find. It imports next to nothing: 15 ms.
CLIENT = """#!{python} -IS
import _socket, marshal, os, sys
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect({address!r})
request = marshal.dumps((os.getcwd(), sys.argv[1:], dict(os.environ)))
files = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
server.sendmsg([len(request).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
while request:
    request = request[server.send(request):]
answer = server.recv(8)
code = int.from_bytes(answer, "big", signed=True) if answer else 1
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def run(
    *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` to its end, as `subprocess.run(..., capture_output=True, text=True)`."""
    return subprocess.run([str(executable()), *arguments], cwd=cwd or ROOT, env=env, capture_output=True, text=True)


def wait_for_end(lock: Path) -> None:
    """Wait until a killed client's command has let go of its lock: a fork of the server's ends a moment after its client."""
    with open(lock, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


@cache
def executable() -> Path:
    """The client, in a folder like a virtual environment's, beside a `snakemake`. The server begins now and ends with this process."""
    from tests.workflow.stand_ins import stand_in_python, tool

    folder = Path(tempfile.mkdtemp(prefix="warm-", dir="/tmp"))  # a socket's path has 107 bytes at most
    client = CLIENT.format(python=sys.executable, address=str(folder / "socket"))
    stand_in_python(folder, client)
    tool(folder, "snakemake", f'#!/bin/sh\nexec "{folder}/bin/python" -m snakemake "$@"\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm", str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    )  # fmt: skip
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == b"ready\n", "the server did not start"
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(process.stdin.close)
    return folder / "bin/python"


def serve(folder: Path) -> None:
    """Fork for each client until standard input ends."""
    for name in [*PRELOADED, *_modules(*PACKAGES)]:
        try:
            import_module(name)
        except ImportError:  # an optional package
            continue
    digest.modules_of(*_modules("."))  # what the Snakefile asks of each at its start
    gc.freeze()  # what is here now is no garbage: a child that looks through it copies its pages
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen(64)
    print("ready", flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    while True:
        readable, _, _ = select.select([listener, 0], [], [])
        if 0 in readable:
            os._exit(0)
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _attend(client, folder)
        client.close()


def _modules(*packages: str) -> list[str]:
    root = ROOT / "audiorestorer"
    paths = [path for package in packages for path in sorted((root / package).rglob("*.py"))]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def _attend(client: socket.socket, folder: Path) -> None:
    """One client: its command in a child of this process; its exit code goes back. A client that is gone takes its command with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, files, _, _ = socket.recv_fds(client, 8, 3)
    request = b""
    while len(request) < int.from_bytes(head, "big"):
        request += client.recv(1 << 20)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        client.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os._exit(_command(folder, *marshal.loads(request)))
    for file in files:
        os.close(file)
    ended = os.pidfd_open(child)
    if ended not in select.select([ended, client], [], [])[0]:
        os.killpg(child, signal.SIGKILL)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    client.sendall(code.to_bytes(8, "big", signed=True))
    os._exit(0)


def _command(folder: Path, cwd: str, arguments: list[str], environment: dict[str, str]) -> int:
    """The command line as `python` would run it; its exit code."""
    os.chdir(cwd)
    if arguments[:1] != ["-m"]:
        os.execve(sys.executable, [sys.executable, *arguments], environment)
    os.environ.clear()
    os.environ.update(environment)
    paths = list(filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))
    sys.path[:1] = [cwd, *paths]
    if str(ROOT) not in (cwd, *paths[:1]):  # a copy of the repository has its own
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
            del sys.modules[name]
    sys.executable = str(folder / "bin/python3")  # beside it the jobs' `python`
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
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):  # snakemake's, which wake its scheduler a second after each job
            thread.cancel()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
