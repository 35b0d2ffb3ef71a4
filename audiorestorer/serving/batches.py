"""The batches of the web page: one folder each, in a folder that one server owns.

<folder>/.lock              held by the server
<folder>/<id>/job.json      what the batch is and how far it is; written atomically
<folder>/<id>/uploads.jsonl a line per upload: the name shown, the name in input/, bytes
<folder>/<id>/input/        the uploads
<folder>/<id>/output/       what the `run` command is given as OUT
<folder>/<id>/run.log       what it printed
<folder>/<id>/run.lock      held while it runs, also when the server has ended meanwhile
"""

from __future__ import annotations

import logging
import re
import secrets
import shutil
import time
from pathlib import Path, PurePosixPath
from threading import RLock
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict

from audiorestorer import locks
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json, read_rows, write_json
from audiorestorer.launch.plan import WORK
from audiorestorer.names import folded

log = logging.getLogger("audiorestorer")

State = Literal["receiving", "waiting", "running", "done", "failed", "stopped"]
AT_REST = ("receiving", "done", "failed", "stopped")
ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")
REMOVED = ".removed-"
TITLE_CHARS = 120
UPLOADS = "uploads.jsonl"
GOES_ON = "The server was ended; the batch goes on."
PART = ".part"  # an upload on its way


def names_of(stored: str) -> set[str]:
    """The names that a stored file takes, letter case aside: its own, and its folders' with a slash at the end."""
    path = PurePosixPath(stored)
    return {folded(stored), *(folded(str(parent)) + "/" for parent in path.parents if parent.name)}


class Upload(BaseModel):
    """A file that was uploaded: `shown` is its name as the browser gave it, `stored` its relative path in `input/`."""

    model_config = ConfigDict(extra="forbid")

    shown: str
    stored: str
    size: int


class Job(BaseModel):
    """The content of `job.json`. `source` is the folder or zip on this machine that the batch restores; None: its uploads."""

    model_config = ConfigDict(extra="forbid")

    id: str
    title: str
    preset: str
    state: State
    created: float
    source: str | None = None
    message: str = ""
    pid: int | None = None


class Batch:
    """A batch: its job and the places of its files."""

    def __init__(self, folder: Path, job: Job) -> None:
        self.folder = folder
        self.job = job
        self.input = folder / "input"
        self.output = folder / "output"
        self.work = self.output / WORK
        self.log = folder / "run.log"
        self.run_lock = folder / "run.lock"
        self.uploads: list[Upload] = []
        self.bytes = 0
        self.shown: set[str] = set()
        self.names: set[str] = set()  # as `names_of`

    @property
    def id(self) -> str:
        return self.job.id

    @property
    def source(self) -> Path:
        """What the `run` command is given as IN: the place on this machine, the only upload where that is a zip, or `input/`."""
        if self.job.source is not None:
            return Path(self.job.source)
        if len(self.uploads) == 1 and self.uploads[0].stored.lower().endswith(".zip"):
            return self.input / self.uploads[0].stored
        return self.input

    def save(self) -> None:
        write_json(self.folder / "job.json", self.job.model_dump(exclude_none=True))

    def set(self, state: State, message: str = "", pid: int | None = None) -> None:
        """Change the state; where the disk does not take the record (no space, say), for this server alone."""
        self.job = self.job.model_copy(update={"state": state, "message": message, "pid": pid})
        try:
            self.save()
        except OSError as error:
            log.warning("%s: %s is not kept: %s", self.id, state, error.strerror)

    def add(self, upload: Upload) -> None:
        """Note an upload that is whole."""
        with open(self.folder / UPLOADS, "a", encoding="utf-8") as file:
            file.write(upload.model_dump_json() + "\n")
        self.note(upload)

    def note(self, upload: Upload) -> None:
        self.uploads.append(upload)
        self.bytes += upload.size
        self.shown.add(upload.shown)
        self.names |= names_of(upload.stored)

    def record(self, name: str) -> dict[str, Any]:
        """progress.json or result.json of the run (`launch`); empty where there is none or it cannot be read."""
        try:
            return read_json(self.work / name)
        except AudioRestorerError:
            return {}


def _loaded(path: Path) -> Batch | None:
    """A batch of an earlier server; what was running goes on. None where its record cannot be read."""
    try:
        batch = Batch(path, Job.model_validate(read_json(path / "job.json")))
        if (path / UPLOADS).exists():
            for _, upload in read_rows(path / UPLOADS, Upload):
                batch.note(upload)
    except (AudioRestorerError, ValueError) as error:
        log.warning("%s: left out: %s", path, str(error).splitlines()[0])
        return None
    for part in path.glob(f"*{PART}"):
        part.unlink(missing_ok=True)
    if batch.job.state == "running":
        batch.set("waiting", GOES_ON, batch.job.pid)
    return batch


class Shelf:
    """All batches of a folder, the oldest first. One server has the folder at a time."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            AudioRestorerError: the folder cannot be made or written to, or another server has it.
        """
        self.folder = folder
        self.guard = RLock()
        self._lock = self._locked()
        found = []
        for path in folder.iterdir():
            if path.name.startswith(REMOVED):
                shutil.rmtree(path, ignore_errors=True)
            elif ID.fullmatch(path.name) and path.is_dir() and (batch := _loaded(path)):
                found.append(batch)
        self._batches = {batch.id: batch for batch in sorted(found, key=lambda batch: batch.job.created)}

    def _locked(self) -> IO[str]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = open(self.folder / ".lock", "a")  # noqa: SIM115 - as long as this shelf
        except OSError as error:
            raise AudioRestorerError(
                f"--folder {self.folder}: cannot be written to: {error.strerror}: choose another folder"
            ) from error
        try:
            locks.take(file, f"--folder {self.folder}: another server has it: use that one, or choose another folder")
        except AudioRestorerError:
            file.close()
            raise
        return file

    def close(self) -> None:
        self._lock.close()

    def all(self) -> list[Batch]:
        with self.guard:
            return list(self._batches.values())

    def get(self, batch_id: str) -> Batch | None:
        with self.guard:
            return self._batches.get(batch_id)

    def next(self) -> Batch | None:
        """The batch that has waited longest; first one that was running, for its run may still be there."""
        with self.guard:
            waiting = [batch for batch in self._batches.values() if batch.job.state == "waiting"]
            return min(waiting, key=lambda batch: (batch.job.pid is None, batch.job.created), default=None)

    def new(self, title: str, preset: str, source: str | None) -> Batch:
        """A new batch: it receives uploads, or waits for its turn where it has a source."""
        now = time.time()
        batch_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(4)}"
        job = Job(
            id=batch_id, title=title[:TITLE_CHARS], preset=preset, source=source, created=now,
            state="receiving" if source is None else "waiting",
        )  # fmt: skip
        batch = Batch(self.folder / batch_id, job)
        try:
            batch.input.mkdir(parents=True)
            batch.save()
        except OSError:
            shutil.rmtree(batch.folder, ignore_errors=True)
            raise
        with self.guard:
            self._batches[batch_id] = batch
        return batch

    def remove(self, batch: Batch) -> None:
        """Delete a batch that does not run, with its uploads and its output. What it restored from elsewhere stays."""
        with self.guard:
            if batch.job.state not in (*AT_REST, "waiting"):
                raise AudioRestorerError("it is running: stop it first")
            aside = self.folder / f"{REMOVED}{batch.id}"
            batch.folder.rename(aside)
            del self._batches[batch.id]
        shutil.rmtree(aside, ignore_errors=True)
