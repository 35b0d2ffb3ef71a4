"""The workflow as a child process: Snakemake with the shipped Snakefile in a folder of its own, its words in a log file."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType

from audiorestorer import folders, locks, progress
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_text_atomic
from audiorestorer.forked import end_with
from audiorestorer.launch.plan import Plan
from audiorestorer.names import as_text
from audiorestorer.places import workflow_root

LOCK, CONFIG, PROGRESS, MADE_REPORT = ".lock", "run.json", "progress.json", "report.html"
LOGS_KEPT = 20
POLL_SEC, GRACE_SEC = 0.2, 15.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FAILED_JOB = re.compile(r"^Error in rule ([^\s:]+):$")
JOB_LOG = re.compile(r"^\s+log: (.*?) \(check log file\(s\) for error details\)$")
HEADER = re.compile(r"^(\w*Error|\w*Exception)\b.*$")


class Stopped(Exception):
    """Somebody stopped the run: Ctrl-C, a closed terminal, or `kill`. The argument is the signal."""


@contextmanager
def locked(plan: Plan) -> Iterator[None]:
    """Make OUT and the run's folder, and keep a second run out of both. The kernel drops the locks with the process, kill -9 included.

    Raises:
        AudioRestorerError: another run is working there, or a folder cannot be made.
    """
    folders.make("OUT", plan.output)
    output = os.open(plan.output, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a network file system may lock no folder; the lock in the run's folder is a file
            if not locks.taken(output):
                place = as_text(str(plan.output))
                raise AudioRestorerError(f"another run is working in {place}: wait for it, or choose another OUT")
        folders.make("--work", plan.work)
        with open(plan.work / LOCK, "a") as file:
            place = as_text(str(plan.work))
            locks.take(file, f"another run is working in {place}: wait for it, or choose another --work")
            yield
    finally:
        os.close(output)


def new_log(work: Path) -> Path:
    """The log file of a new run; the oldest ones go."""
    folder = work / "log"
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob("*.log"))[: -LOGS_KEPT + 1]:
        old.unlink(missing_ok=True)
    return folder / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S-%f}.log"


def command(plan: Plan) -> list[str]:
    """Snakemake's command line. `-P`: a file in the caller's folder must not stand in for a module."""
    root = workflow_root()
    return [
        sys.executable, "-P", "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--directory", str(plan.work),
        "--workflow-profile", str(root / "profiles/default"), "--configfile", str(plan.work / CONFIG),
        "--cores", str(plan.cores or "all"), "--report-after-run", "--report", str(plan.work / MADE_REPORT),
    ]  # fmt: skip


def environment(plan: Plan) -> dict[str, str]:
    """The child's environment: where it keeps its progress, and a cache that can be written."""
    values = {**os.environ, progress.STATE_VARIABLE: str(plan.work / PROGRESS)}
    values.pop("SNAKEMAKE_PROFILE", None)  # a profile for a cluster: `run` works on this machine
    values.setdefault("OMP_WAIT_POLICY", "passive")
    if "XDG_CACHE_HOME" not in values and not _can_be_written(Path.home() / ".cache"):
        values["XDG_CACHE_HOME"] = str(plan.work / "cache")
    return values


def _can_be_written(folder: Path) -> bool:
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        return os.access(folder, os.W_OK)
    return False


def run(plan: Plan, log: Path, watch: Callable[[progress.State | None], None]) -> int:
    """Run the workflow to its end; its exit code.

    Args:
        watch: called a few times a second with the state that the workflow wrote.

    Raises:
        Stopped: by a signal; the workflow and its jobs have ended.
    """
    write_text_atomic(plan.work / CONFIG, json.dumps(plan.config, indent=1) + "\n")
    state = plan.work / PROGRESS
    with open(log, "ab") as file, _signals() as stopped:
        process = subprocess.Popen(
            command(plan), stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment(plan), cwd=plan.work,
            start_new_session=True, preexec_fn=partial(_prepare, os.getpid()),
        )  # fmt: skip
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(POLL_SEC)
                if stopped:
                    raise Stopped(stopped[0])
                watch(progress.State.read(state))
        finally:
            _end(process, stopped)


def _prepare(parent: int) -> None:
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a run in the background ignores it, and Python would then, too


@contextmanager
def _signals() -> Iterator[list[signal.Signals]]:
    """The signals that came meanwhile; one that this process ignores (nohup) stays ignored."""
    came: list[signal.Signals] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(signal.Signals(number))

    before = {
        number: signal.signal(number, note) for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen[bytes], stopped: list[signal.Signals]) -> None:
    """End the workflow and its jobs: asked first, then killed; at once where somebody asks twice."""
    asked = 0.0
    while process.poll() is None:
        if not asked or asked > GRACE_SEC or len(stopped) > 1:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL if asked else signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SEC)
        asked += POLL_SEC


def error_in(log: Path) -> str:
    """The message of a workflow that ended before its first job, from its log: the lines after the last error's headline."""
    lines = _lines(log)
    heads = [number for number, line in enumerate(lines) if HEADER.match(line)]
    if not heads:
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    head = lines[heads[-1]]
    rest = [line.strip() for line in lines[heads[-1] + 1 :] if line.strip() and not line.lstrip().startswith("File ")]
    return " ".join(rest[:3]) if rest and head.rstrip().endswith(":") else head


def failed_jobs(plan: Plan, log: Path) -> list[tuple[str, str]]:
    """(rule, reason) of each job that failed: the last line of its own log."""
    jobs: list[tuple[str, str]] = []
    rule = ""
    for line in _lines(log):
        if found := FAILED_JOB.match(line):
            rule = found[1]
            jobs.append((rule, ""))
        elif rule and (found := JOB_LOG.match(line)):
            jobs[-1] = (rule, _reason(plan.work / found[1].split(", ")[0]))
            rule = ""
    return jobs


def _reason(log: Path) -> str:
    lines = [line.strip() for line in _lines(log) if line.strip()]
    ours = [line for line in lines if line.startswith("audiorestorer: ")]
    return (ours or lines or [""])[-1].removeprefix("audiorestorer: ")


def _lines(log: Path) -> list[str]:
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
