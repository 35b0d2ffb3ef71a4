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
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path

from audiorestorer import digest, job_server

ROOT = Path(__file__).parents[1]
OURS = ("audiorestorer", "scripts", "tests")
PRELOADED = (
    "torch", "torch.utils.data", "torchaudio", "lightning.pytorch", "numpy", "scipy.signal", "scipy.stats", "pandas", "soundfile",
    "matplotlib.pyplot", "demucs.htdemucs", "demucs.hdemucs", "pystoi", "jinja2", "rich.console", "rich.panel", "encodings.utf_8_sig",
    "typer.rich_utils", "typer._adapters", "typer._click.decorators", "snakemake.cli", "snakemake.api", "snakemake.assets",
    "snakemake.profiles", "snakemake.report.html_reporter", "snakemake.storage", "smart_open", "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin", "PIL.JpegImagePlugin", "PIL.PpmImagePlugin", "audiorestorer.__main__", "audiorestorer.training.fit",
    "audiorestorer.training.enhancer.fit", "audiorestorer.workflow", "audiorestorer.workflow_run",
)  # fmt: skip
PACKAGES = ("commands", "dsp", "formats", "intake", "metrics", "models", "report", "separators", "stages")
# The `python` that the jobs of a run find: rules/client.py for one server. It imports next to nothing: 15 ms.
CLIENT = """#!{python} -IS
import sys
sys.argv[1:1] = [{address!r}]
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
    client = (
        CLIENT.format(python=sys.executable, address=str(folder / "socket")) + (ROOT / "rules/client.py").read_text()
    )
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
            job_server.attend(client, partial(_command, folder), grace_sec=0)
        client.close()


def _modules(*packages: str) -> list[str]:
    root = ROOT / "audiorestorer"
    paths = [path for package in packages for path in sorted((root / package).rglob("*.py"))]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def _command(folder: Path, cwd: str, arguments: list[str], environment: dict[str, str]) -> int:
    """The command line as `python` would run it; its exit code."""
    os.chdir(cwd)
    if arguments[:1] != ["-m"]:
        os.execve(sys.executable, [sys.executable, *arguments], environment)
    os.environ.clear()
    os.environ.update({job_server.SWITCH: "0", **environment})
    paths = list(filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))
    sys.path[:1] = [cwd, *paths]
    if str(ROOT) not in (cwd, *paths[:1]):  # a copy of the repository has its own
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
            del sys.modules[name]
    sys.executable = str(folder / "bin/python3")  # beside it the jobs' `python`
    return job_server.to_its_end(arguments, _without_timers)


def _without_timers() -> None:
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):  # snakemake's, which wake its scheduler a second after each job
            thread.cancel()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
