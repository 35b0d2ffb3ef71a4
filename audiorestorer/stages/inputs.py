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

from audiorestorer.errors import AGAIN, AudioRestorerError
from audiorestorer.manifest import Item
from audiorestorer.store import Store, sha256_file

State = tuple[int, int, int]  # size, time, inode


class InputChanged(AudioRestorerError):
    """A recording was removed or replaced while the run was at work on it."""


class InputDamaged(AudioRestorerError):
    """A file of an earlier stage is gone, or is not any more as it was made."""


def files_of(item: Item) -> dict[str, str | None]:
    """The files that a row names for the next stage to read, and the SHA-256 that they had; None: not noted."""
    hashes: dict[str, str | None] = {item.noisy: item.noisy_sha256}
    if item.clean and item.clean_sha256:
        hashes[item.clean] = item.clean_sha256
    if item.estimates:
        for (vocals, accompaniment), sha256 in zip(item.estimates, item.estimates_sha256 or (), strict=True):
            hashes[vocals] = sha256
            if accompaniment:
                hashes[accompaniment] = None
    elif item.path:
        hashes[item.path] = item.sha256
    return hashes


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
    before = {path: state_of(path) for path in files_of(item)}
    for path, sha256 in files_of(item).items():
        state = before[path]
        if sha256 is not None and (state is None or _sha256(path, state) != sha256):
            raise _refused(path, store, "gone" if state is None else "not what it was when it was read first")
    try:
        yield
    finally:
        for path, state in before.items():
            if state_of(path) != state:
                raise _refused(path, store, "removed or replaced while it was read")


def _refused(path: str, store: Path, why: str) -> AudioRestorerError:
    if not Path(path).resolve().is_relative_to(store.resolve()):
        return InputChanged(f"{path}: {why}: put it back, or leave it as it is, and {AGAIN}")
    Store.forget(Path(path))
    return InputDamaged(f"{path}: {why}: it was deleted from the store")
