"""Run folders: `RUNS/<date_time>_<name>/{checkpoints,logs}`; a run is found again by its settings and data, not by its date.

They are no output of a rule: Snakemake deletes the outputs of a failed job, and the checkpoints in here are what the next attempt
goes on from.
"""

from __future__ import annotations

import json
import logging
import os
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from audiorestorer import locks
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json, write_text_atomic

LOG = logging.getLogger(__name__)
RECORD = "run.json"
LAST, BEFORE = "last.ckpt", "before_last.ckpt"
DEBUG = "audio_debug"
FOLLOW_SEC = 60.0  # how long a further process of a training waits for the first one's folder
_locks: set[int] = set()  # descriptors that hold a run


class RunFolder:
    """Paths of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoints" / LAST
        self.checkpoint_before = path / "checkpoints" / BEFORE
        self.logs = path / "logs"
        self.debug = self.logs / DEBUG
        self.audit = self.logs / "data_audit"

    def resume_from(self) -> Path | None:
        """The newest checkpoint that is whole; None: there is none, and the training begins anew. A damaged one is deleted."""
        for path in (self.checkpoint, self.checkpoint_before):
            if _is_whole(path):
                return path
            if path.exists():
                LOG.warning("%s: damaged: the training goes on from an earlier state", path)
                path.unlink(missing_ok=True)
        return None


def _is_whole(checkpoint: Path) -> bool:
    """Whether all parts of a checkpoint have the checksums that torch wrote with them."""
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            return parts.testzip() is None
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error):
        return False


@contextmanager
def opened(runs: Path, name: str, digest: str) -> Iterator[RunFolder]:
    """The newest run of this digest (settings and data), or a new folder; held by a lock that dies with the process.

    Where several processes train (`devices`), the first holds the lock, and the others use the folder that it made.

    Raises:
        AudioRestorerError: another process trains the same.
    """
    if getattr(rank_zero_only, "rank", 0):
        yield _followed(runs, name, digest)
        return
    runs.mkdir(parents=True, exist_ok=True)
    lock = os.open(runs / f".lock_{name}_{digest}", os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        locks.take(lock, f"{runs}: another process is training {name} from the same settings: wait for it, or end it")
        _locks.add(lock)
        folder = RunFolder(_find(runs, name, digest) or _create(runs, name, digest))
        for path in (folder.checkpoint.parent, folder.logs):
            path.mkdir(parents=True, exist_ok=True)
        yield folder
    finally:
        _locks.discard(lock)
        os.close(lock)


def _followed(runs: Path, name: str, digest: str) -> RunFolder:
    """The folder that the training's first process made or is about to make."""
    deadline = time.monotonic() + FOLLOW_SEC
    while (path := _find(runs, name, digest)) is None:
        if time.monotonic() > deadline:
            raise AudioRestorerError(f"{runs}: the first process of the training of {name} made no run folder")
        time.sleep(0.1)
    return RunFolder(path)


def _leave_locks() -> None:
    """In a forked worker: a training that is killed would stay locked for as long as its workers outlive it, some seconds."""
    while _locks:
        os.close(_locks.pop())


os.register_at_fork(after_in_child=_leave_locks)


def _find(runs: Path, name: str, digest: str) -> Path | None:
    for record in sorted(runs.glob(f"*_{name}/{RECORD}"), reverse=True):
        try:
            known = read_json(record).get("digest")
        except AudioRestorerError as error:
            raise AudioRestorerError(f"{error} (with its folder: then that training begins anew)") from error
        if known == digest:
            return record.parent
    return None


def _create(runs: Path, name: str, digest: str) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    path, number = runs / f"{stamp}_{name}", 1
    while path.exists():
        path, number = runs / f"{stamp}-{number}_{name}", number + 1
    path.mkdir()
    write_text_atomic(path / RECORD, json.dumps({"name": name, "digest": digest}) + "\n")
    return path


def debug_folder(source: Path) -> Path:
    """Where the triads are: of a folder itself, of a run folder, or of the record that `train` writes beside its model.

    Raises:
        AudioRestorerError: neither a folder nor such a record.
    """
    if source.is_file():
        run = read_json(source).get("run")
        if not isinstance(run, str):
            raise AudioRestorerError(f"{source}: no record of a training run (field run)")
        source = Path(run)
    if not source.is_dir():
        raise AudioRestorerError(f"{source}: no such folder")
    inside = source / "logs" / DEBUG
    return inside if inside.is_dir() else source
