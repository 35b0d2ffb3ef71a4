"""Content-addressed store of finished items: what was computed once is never computed again. No torch import.

Layout: `<root>/<stage>/<key[:2]>/<key>.<sha8>.<name>` for the files of an entry and `<key>.json`, written last, that names them with
size and SHA-256. An entry without its JSON does not exist, so a job killed while it writes leaves nothing that counts. The start
of the content's hash is in a file's name, so two jobs that make the same item at the same time never write to the same file, and
there is no lock that a killed job could leave behind. The time of an entry's JSON is when it was last used. The JSON has a check over
itself; a file whose time is not the one that the JSON names is hashed before it counts. What a user gets is never a file of the store
but a copy (`place`), so that nobody can damage the store, and with it other runs' results, by editing an output in place.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiorestorer.errors import AGAIN, AudioRestorerError
from audiorestorer.files import replacing, write_text_atomic
from audiorestorer.temporaries import scratch_folder

HASH_BLOCK = 1 << 20
USERS = ".users"
FICLONE = 0x40049409  # linux/fs.h
USED_WITHIN_SEC = 3600.0  # how exactly the time of the last use is kept: a write for every reading would be too many


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def key_of(**parts: Any) -> str:
    """The key of an item: SHA-256 over a canonical JSON of (input content, settings, code digest, weights digest)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def place(source: Path, target: Path, note: Callable[[os.stat_result], None] | None = None) -> None:
    """Put a copy of a file under its final name at once; it shares the disk's blocks where the file system can do that.

    Args:
        note: called with the copy's state just before it takes its name.
    """
    with replacing(target) as temporary:
        temporary.unlink(missing_ok=True)
        copied(source, temporary)
        if note:
            note(temporary.stat())


def copied(source: Path, target: Path) -> bool:
    """Copy a file's bytes to a new file and have them on the disk; whether the two share their blocks (copy-on-write)."""
    with open(target, "xb") as writing:
        with open(source, "rb") as reading:
            cloned = _cloned(reading.fileno(), writing.fileno())
        if not cloned:
            shutil.copyfile(source, target)
        os.fsync(writing.fileno())
    return cloned


def _cloned(source: int, target: int) -> bool:
    """Whether the file system (Btrfs, XFS, bcachefs, ...) could give one file the blocks of another."""
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError:
        return False
    return True


def _moved_in(path: Path, target: Path, sha256: str) -> os.stat_result:
    """Give a finished file its final name. A file of the same content stays: another job may be reading it."""
    with suppress(OSError):
        if target.stat().st_size == path.stat().st_size and sha256_file(target) == sha256:
            return target.stat()
    os.replace(path, target)
    return target.stat()


def _file(base: Path, sha256: str, name: str) -> str:
    return f"{base}.{sha256[:8]}.{name}"


def join(root: str | Path, artifacts: str | Path) -> None:
    """Note in a store that the runs of an artifacts folder use it: `store prune` and `store verify` look into their manifests."""
    user = {"folder": os.getcwd(), "artifacts": str(artifacts), "store": str(root)}
    name = key_of(**user)[:16]
    path = Path(root) / USERS / f"{name}.json"
    if not path.is_file():
        write_text_atomic(path, json.dumps(user) + "\n")


def _check(record: Mapping[str, Any]) -> str:
    return key_of(**{name: record[name] for name in ("files", "row", "source") if name in record})[:16]


def _as_written(path: Path, meta: Mapping[str, Any]) -> bool:
    """Whether a file is as it was put into the store: by size and time; by content where the time is another (a copy's)."""
    info = path.stat()
    if info.st_size != meta["size"]:
        return False
    if info.st_mtime_ns == meta["mtime_ns"]:
        return True
    if sha256_file(path) != meta["sha256"]:
        return False
    with suppress(OSError):  # so that the next one need not read it
        os.utime(path, ns=(info.st_atime_ns, meta["mtime_ns"]))
    return True


@dataclass(frozen=True)
class Source:
    """The recording that an entry was made from: its content, and the names that it had then (relative path, id).

    No part of a key. By it `store forget` finds all that was made of a recording, whatever the settings were.
    """

    sha256: str | None = None
    names: tuple[str, ...] = ()


@dataclass
class Entry:
    """A finished item. `files` maps a name (`vocals.wav`) to its path, `row` holds the manifest fields it adds."""

    key: str
    files: dict[str, Path]
    sha256: dict[str, str]
    row: dict[str, Any] = field(default_factory=dict)


class Store:
    """The entries of one stage under `root`. Safe for several jobs at once: all writes are temporary file, then rename."""

    def __init__(self, root: str | Path, stage: str) -> None:
        self.root = Path(root)
        self.folder = self.root / stage

    def _base(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def get(self, key: str) -> Entry | None:
        """The entry of a key, or None where it is absent or damaged: a file is missing or changed, or the JSON is."""
        base = self._base(key)
        try:
            record = json.loads(Path(f"{base}.json").read_text(encoding="utf-8"))
            if record["check"] != _check(record):
                return None
            files = {name: Path(_file(base, meta["sha256"], name)) for name, meta in record["files"].items()}
            if not all(_as_written(files[name], meta) for name, meta in record["files"].items()):
                return None
            return Entry(key, files, {name: meta["sha256"] for name, meta in record["files"].items()}, record["row"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def touch(self, key: str) -> None:
        """Note that an entry was used."""
        path = Path(f"{self._base(key)}.json")
        with suppress(OSError):  # a store that this user may only read
            if time.time() - path.stat().st_mtime > USED_WITHIN_SEC:
                os.utime(path)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary folder on the store's file system, removed afterwards."""
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = scratch_folder(self.folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, key: str, files: Mapping[str, Path], row: Mapping[str, Any], source: Source | None = None) -> Entry:
        """Move finished files in and write the entry's JSON last.

        Raises:
            AudioRestorerError: another program changed the entry as it was written.
        """
        base = self._base(key)
        base.parent.mkdir(parents=True, exist_ok=True)
        record: dict[str, Any] = {"files": {}, "row": dict(row)}
        for name, path in files.items():
            digest = sha256_file(path)
            info = _moved_in(path, Path(_file(base, digest, name)), digest)
            record["files"][name] = {"size": info.st_size, "mtime_ns": info.st_mtime_ns, "sha256": digest}
        if source:
            record["source"] = {"sha256": source.sha256, "names": sorted(source.names)}
        record["check"] = _check(record)
        write_text_atomic(f"{base}.json", json.dumps(record, sort_keys=True))
        entry = self.get(key)
        if entry is None:
            raise AudioRestorerError(f"{base}.json: something else changed this entry as it was written: {AGAIN}")
        return entry

    def source_of(self, key: str) -> Source | None:
        """The recording that an entry was made from; None where it does not say (entries of earlier versions, damaged ones)."""
        try:
            source = json.loads(Path(f"{self._base(key)}.json").read_text(encoding="utf-8"))["source"]
            return Source(source["sha256"], tuple(source["names"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remove(self, key: str) -> None:
        """Delete an entry, its JSON first."""
        base = self._base(key)
        Path(f"{base}.json").unlink(missing_ok=True)
        for path in base.parent.glob(f"{key}.*"):
            path.unlink(missing_ok=True)

    @classmethod
    def forget(cls, path: Path) -> None:
        """Delete the entry that a file of a store belongs to, so that it is made again."""
        cls(path.parents[2], path.parents[1].name).remove(path.name.split(".")[0])

    def keys(self) -> Iterator[str]:
        for path in sorted(self.folder.glob("??/*.json")):
            yield path.stem

    def damaged(self, key: str) -> str | None:
        """Why an entry's files are not what was written (re-hashes them), or None."""
        entry = self.get(key)
        if entry is None:
            return "a file is missing or its content changed"
        for name, path in entry.files.items():
            if sha256_file(path) != entry.sha256[name]:
                return f"{name}: content changed"
        return None
