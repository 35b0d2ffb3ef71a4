"""The files that an item is made from: checked before a stage reads them and after.

An item's key names the content of its inputs, so all that is stored under it must come from that content: a file that was damaged,
replaced or removed since the manifest was written must not be used, and one that changes while it is read must not be believed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from audiorestorer.errors import AGAIN, AudioRestorerError
from audiorestorer.manifest import FILE_FIELDS, Item
from audiorestorer.store import Store, sha256_file

State = tuple[int, int, int]  # size, time, inode


class InputChanged(AudioRestorerError):
    """A recording was removed or replaced while the run was at work on it."""


class InputDamaged(AudioRestorerError):
    """A file of an earlier stage is gone, or is not any more as it was made."""


def files_of(item: Item) -> dict[str, str | None]:
    """The files that a row names for the next stage to read, and the SHA-256 that they had; None: not noted."""
    row = item.model_dump()
    files: dict[str, str | None] = {}
    for name, digest_name in FILE_FIELDS.items():
        for path, sha256 in _with_digests(row.get(name), row.get(digest_name or "")):
            if name != "clean" or sha256:  # a reference that nobody hashed is not read
                files[path] = sha256 or files.get(path)
    return files


def _with_digests(value: Any, digest: Any) -> Iterator[tuple[str, str | None]]:
    """The paths in a row's field with their SHA-256: one digest is that of the first path, a list has one for each entry."""
    if isinstance(value, str):
        yield value, digest
    elif isinstance(value, dict | list | tuple):
        entries = list(value.values()) if isinstance(value, dict) else value
        digests = digest if isinstance(digest, list) else [digest]
        for index, entry in enumerate(entries):
            yield from _with_digests(entry, digests[index] if index < len(digests) else None)


def state_of(path: str) -> State | None:
    """The state by which a replaced file is noticed; None: there is no file."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_size, info.st_mtime_ns, info.st_ino


@lru_cache(maxsize=64)
def _sha256(path: str, state: State) -> str:
    return sha256_file(path)


@contextmanager
def checked(item: Item, store: Path) -> Iterator[None]:
    """Around the reading of an item's files.

    Raises:
        InputChanged: a recording is not the one that ingest saw, or was changed meanwhile. It replaces an error of the reading: a file
            that vanished is no bad recording.
        InputDamaged: the same of a file that a stage made; its entry in the store is deleted, so that the stage makes it again.
    """
    files = files_of(item)
    before = {path: state_of(path) for path in files}
    for path, sha256 in files.items():
        state = before[path]
        if sha256 is not None and (state is None or _sha256(path, state) != sha256):
            raise _refused(path, store, "gone" if state is None else "not what it was when it was read first")
    try:
        yield
    finally:
        for path, sha256 in files.items():
            now = state_of(path)
            if now != before[path] and not _same_entry(path, sha256, now, store):
                raise _refused(path, store, "removed or replaced while it was read")


def _same_entry(path: str, sha256: str | None, state: State | None, store: Path) -> bool:
    """Whether a file of the store that was replaced holds what it should: a second run made the same entry at the same time."""
    return state is not None and sha256 is not None and _in_store(path, store) and _sha256(path, state) == sha256


def _in_store(path: str, store: Path) -> bool:
    return Path(path).resolve().is_relative_to(store.resolve())


def _refused(path: str, store: Path, why: str) -> AudioRestorerError:
    if not _in_store(path, store):
        return InputChanged(f"{path}: {why}: put it back, or leave it as it is, and {AGAIN}")
    Store.forget(Path(path))
    return InputDamaged(f"{path}: {why}: it was deleted from the store")
