"""What runs the batches, one at a time: each is one child process, `audiorestorer run`, which goes on where a killed one was.

The child holds `run.lock` of its batch. A server that begins while the child of a killed one still runs waits for that child.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import audiorestorer
from audiorestorer import locks
from audiorestorer.errors import AudioRestorerError
from audiorestorer.launch.child import PROGRESS
from audiorestorer.names import in_line
from audiorestorer.serving.batches import GOES_ON, Batch, Shelf

log = logging.getLogger("audiorestorer")

HOUSE = Path(audiorestorer.__file__).parents[1]
POLL_SEC = 0.25
GRACE_SEC = 25.0  # above what `run` gives the workflow
TAIL_BYTES = 8000
LINE_CHARS = 2000

Command = Callable[[Batch], list[str]]


def run_command(cores: int) -> Command:
    """The command line of a batch."""

    def command(batch: Batch) -> list[str]:
        places = [os.path.abspath(batch.source), os.path.abspath(batch.output)]
        return [
            sys.executable, "-m", "audiorestorer", "run", "--preset", batch.job.preset, "--cores", str(cores), "--", *places,
        ]  # fmt: skip

    return command


class Runner(Thread):
    """The queue: a thread that runs the batch that has waited longest, then the next."""

    def __init__(self, shelf: Shelf, command: Command) -> None:
        super().__init__(name="queue", daemon=True)
        self.shelf, self.command = shelf, command
        self.ending = Event()
        self.news = Event()

    def run(self) -> None:
        while not self.ending.is_set():
            batch = self.shelf.next()
            if batch is None:
                self.news.wait(POLL_SEC)
                self.news.clear()
                continue
            try:
                self._one(batch)
            except OSError as error:
                self._failed(batch, f"{error.strerror}: {in_line(str(error.filename or batch.folder))}")
            except AudioRestorerError as error:
                self._failed(batch, str(error))
            except Exception as error:  # a fault of this program: the other batches still have their turn
                log.exception("%s: failed", batch.id)
                self._failed(batch, in_line(f"{type(error).__name__}: {error}"))

    def end(self) -> None:
        """Stop the child and the thread; the batch goes on with the next server."""
        self.ending.set()
        self.news.set()
        self.join()

    def _failed(self, batch: Batch, message: str) -> None:
        log.warning("%s: %s", batch.id, message)
        batch.set("failed", message)

    def _one(self, batch: Batch) -> None:
        with open(batch.run_lock, "a") as lock:
            run = self._child if locks.taken(lock.fileno()) else self._wait_for_another
            code = run(batch, lock.fileno())
        self._settle(batch, code)

    def _child(self, batch: Batch, lock: int) -> int | None:
        """Run the command to its end; its exit code, or None where it was stopped."""
        (batch.work / PROGRESS).unlink(missing_ok=True)
        paths = os.pathsep.join(filter(None, [str(HOUSE), os.environ.get("PYTHONPATH", "")]))
        with open(batch.log, "ab") as printed:
            child = subprocess.Popen(
                self.command(batch), cwd=batch.folder, env={**os.environ, "PYTHONPATH": paths}, stdin=subprocess.DEVNULL,
                stdout=printed, stderr=subprocess.STDOUT, start_new_session=True, pass_fds=[lock],
            )  # fmt: skip
        with self.shelf.guard:
            if batch.job.state == "waiting":
                batch.set("running", pid=child.pid)
        log.info("%s: running: %s", batch.id, batch.job.title)
        while child.poll() is None:
            if self.ending.is_set() or batch.job.state != "running":
                _stop(child.pid, lambda: child.poll() is not None)
                child.wait()
                return None
            time.sleep(POLL_SEC)
        return child.returncode

    def _wait_for_another(self, batch: Batch, lock: int) -> int | None:
        """The child of an earlier server still runs: wait for its end; 0 where its progress says that it ended well, else 1."""
        log.info("%s: still running from an earlier server", batch.id)
        pid = batch.job.pid
        batch.set("running", pid=pid)
        while not locks.taken(lock):
            if batch.job.state != "running" and pid is not None:
                _stop(pid, lambda: locks.taken(lock))
                return None
            if self.ending.is_set():
                return None
            time.sleep(POLL_SEC)
        return 0 if batch.record(PROGRESS).get("state") in ("done", "nothing_to_do") else 1

    def _settle(self, batch: Batch, code: int | None) -> None:
        with self.shelf.guard:
            if batch.job.state != "running":  # a user stopped it
                return
            if code is None:
                batch.set("waiting", GOES_ON, batch.job.pid)
            elif code == 0:
                batch.set("done")
                log.info("%s: done", batch.id)
            else:
                self._failed(batch, self._reason(batch, code))

    def _reason(self, batch: Batch, code: int) -> str:
        """One line on why a run failed: the message of its progress, or the last line that it printed."""
        said = batch.record(PROGRESS)
        message = str(said.get("message") or "") if said.get("state") == "failed" else ""
        if not message:
            lines = [line for line in tail(batch.log).splitlines() if line.strip()]
            message = lines[-1] if lines else f"the run ended with code {code}"
        message = message.replace(str(batch.input.absolute()), "the uploads")
        line = in_line(message.strip().removeprefix("audiorestorer: "))
        return line if len(line) <= LINE_CHARS else f"{line[:LINE_CHARS]} …"


def tail(path: Path, size: int = TAIL_BYTES) -> str:
    """The end of a text file; empty where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size).decode("utf-8", "replace")
    except OSError:
        return ""


def _stop(pid: int, ended: Callable[[], bool]) -> None:
    """End a process group: asked first, killed after a grace."""
    for number, wait_sec in ((signal.SIGTERM, GRACE_SEC), (signal.SIGKILL, GRACE_SEC)):
        try:
            os.killpg(pid, number)
        except OSError:
            return
        deadline = time.monotonic() + wait_sec
        while time.monotonic() < deadline:
            if ended():
                return
            time.sleep(POLL_SEC / 5)
