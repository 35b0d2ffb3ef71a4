"""The users of an item store and its contents, for `store stats`, `verify`, `prune` and `forget`. No audio is read."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiorestorer import locks
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json, read_objects
from audiorestorer.manifest import FILE_FIELDS
from audiorestorer.store import USERS
from audiorestorer.temporaries import SCRATCH

log = logging.getLogger("audiorestorer")


@dataclass(frozen=True)
class User:
    """A run's folder: paths in its manifests are relative to `folder` and name the store as `store`."""

    folder: Path
    artifacts: Path
    store: Path

    def manifests(self) -> list[Path]:
        return sorted((self.folder / self.artifacts / "manifests").rglob("*.jsonl"))

    def tail(self, value: str) -> str | None:
        """A manifest's path relative to the store; None where it lies elsewhere."""
        path = os.path.normpath(self.folder / value)
        root = os.path.normpath(self.folder / self.store) + os.sep
        return path.removeprefix(root) if path.startswith(root) else None


@dataclass
class Kept:
    """An entry as it lies there: its files (relative to the store), bytes, and when it was last used."""

    stage: str
    key: str
    files: list[str]
    size: int
    used: float


@dataclass
class Contents:
    """A store's entries, and the leftovers of killed jobs (paths relative to the store, with bytes and time)."""

    entries: list[Kept] = field(default_factory=list)
    leftovers: list[tuple[str, int, float]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries) + sum(size for _, size, _ in self.leftovers)


def users_of(root: Path) -> list[User]:
    """The run's folder beside the store, and those that joined it.

    Raises:
        AudioRestorerError: no such store.
    """
    if not root.is_dir():
        raise AudioRestorerError(f"store: {root}: no such folder")
    users = [User(Path.cwd(), root.parent, root)] if (root.parent / "manifests").is_dir() else []
    for path in sorted((root / USERS).glob("*.json")):
        values = read_json(path)
        user = User(*(Path(str(values.get(name, ""))) for name in ("folder", "artifacts", "store")))
        if (user.folder / user.artifacts).is_dir():
            users.append(user)
        else:
            log.warning("store: %s is gone: what its manifests named is not kept", user.folder / user.artifacts)
    return users


@contextmanager
def locked(users: list[User]) -> Iterator[None]:
    """Keep runs out for as long as this works, by the lock that a run holds; the kernel drops it when this process ends.

    Raises:
        AudioRestorerError: one is working.
    """
    with ExitStack() as stack:
        for folder in {os.path.realpath(user.folder / user.artifacts) for user in users}:
            file = stack.enter_context(open(os.path.join(folder, ".lock"), "w"))
            locks.take(file, f"store: a run is working in {folder}: wait for it")
        yield


def contents(root: Path) -> Contents:
    """The contents of a store, by its file names and sizes."""
    held = Contents()
    for folder, folders, names in os.walk(root):
        place = Path(folder).relative_to(root)
        for scratch in [name for name in folders if name.startswith(SCRATCH)]:
            inside = [path.stat().st_size for path in Path(folder, scratch).rglob("*") if path.is_file()]
            time_of = Path(folder, scratch).stat().st_mtime
            held.leftovers.append((str(place / scratch), sum(inside), time_of))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(place.name) == 2 and len(place.parts) > 1:
            _sort_in(held, root, place, names)
    return held


def _sort_in(held: Contents, root: Path, place: Path, names: list[str]) -> None:
    """One folder of a stage: entries, and files of no entry."""
    info = {name: (root / place / name).stat() for name in names}
    by_key: dict[str, list[str]] = {}
    for name in sorted(names):
        key = "" if name.startswith(".") else name.split(".")[0]
        by_key.setdefault(key, []).append(name)
    for key, own in by_key.items():
        if f"{key}.json" in own:
            size = sum(info[name].st_size for name in own)
            files = [str(place / name) for name in own if name != f"{key}.json"]
            held.entries.append(Kept(str(place.parent), key, files, size, info[f"{key}.json"].st_mtime))
        else:
            held.leftovers += [(str(place / name), info[name].st_size, info[name].st_mtime) for name in own]


def named_by(user: User, manifest: Path) -> set[str]:
    """The store's files that a manifest names, relative to the store.

    Raises:
        AudioRestorerError: no manifest.
    """
    return {name for row in rows_of(manifest) for name in files_of(user, row)}


def rows_of(manifest: Path) -> list[dict[str, Any]]:
    """The rows of a manifest as they stand there.

    Raises:
        AudioRestorerError: no manifest.
    """
    try:
        return [row for _, row in read_objects(manifest)]
    except AudioRestorerError as error:
        raise AudioRestorerError(f"damaged: {error}; run `audiorestorer store verify`") from error


def files_of(user: User, row: dict[str, Any]) -> set[str]:
    """The store's files that a row names, relative to the store."""
    return {tail for name in FILE_FIELDS for value in _strings(row.get(name)) if (tail := user.tail(value))}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def all_named(users: list[User]) -> set[str]:
    return {name for user in users for manifest in user.manifests() for name in named_by(user, manifest)}
