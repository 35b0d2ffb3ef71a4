"""store stats, verify and prune: what lies in the item store, whether it is what was written, and room made by what nobody needs.

The manifests of all runs that use the store say what is in use. None of the three reads audio.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import read_json
from audiorestorer.store import SCRATCH, USERS, Store

log = logging.getLogger("audiorestorer")

LOG_EVERY_SEC = 10.0
FILE_FIELDS = ("path", "noisy", "stems", "estimates")  # of a row: where stages name files


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
    """A store's entries, and what is left of killed jobs (paths relative to the store, with bytes and time)."""

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
    found = [User(Path.cwd(), root.parent, root)] if (root.parent / "manifests").is_dir() else []
    for path in sorted((root / USERS).glob("*.json")):
        values = read_json(path)
        user = User(*(Path(str(values.get(name, ""))) for name in ("folder", "artifacts", "store")))
        if (user.folder / user.artifacts).is_dir():
            found.append(user)
        else:
            log.warning("store: %s is gone: what its manifests named is not kept", user.folder / user.artifacts)
    return found


@contextmanager
def locked(users: list[User]) -> Iterator[None]:
    """Keep runs out for as long as this works, by the lock that a run holds; the kernel drops it when this process ends.

    Raises:
        AudioRestorerError: one is working.
    """
    with ExitStack() as stack:
        for folder in {os.path.realpath(user.folder / user.artifacts) for user in users}:
            file = stack.enter_context(open(os.path.join(folder, ".lock"), "w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise AudioRestorerError(f"store: a run is working in {folder}: wait for it") from error
        yield


def contents(root: Path) -> Contents:
    """What lies in a store, by its file names and sizes."""
    found = Contents()
    for folder, folders, names in os.walk(root):
        place = Path(folder).relative_to(root)
        for scratch in [name for name in folders if name.startswith(SCRATCH)]:
            inside = [path.stat().st_size for path in Path(folder, scratch).rglob("*") if path.is_file()]
            time_of = Path(folder, scratch).stat().st_mtime
            found.leftovers.append((str(place / scratch), sum(inside), time_of))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(place.name) == 2 and len(place.parts) > 1:
            _sort_in(found, root, place, names)
    return found


def _sort_in(found: Contents, root: Path, place: Path, names: list[str]) -> None:
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
            found.entries.append(Kept(str(place.parent), key, files, size, info[f"{key}.json"].st_mtime))
        else:
            found.leftovers += [(str(place / name), info[name].st_size, info[name].st_mtime) for name in own]


def named_by(user: User, manifest: Path) -> set[str]:
    """The store's files that a manifest names, relative to the store.

    Raises:
        AudioRestorerError: no manifest.
    """
    found: set[str] = set()
    try:
        with open(manifest, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip()]
        for row in rows:
            for name in FILE_FIELDS:
                found.update(filter(None, map(user.tail, _strings(row.get(name)))))
    except (OSError, ValueError, AttributeError) as error:
        raise AudioRestorerError(f"{manifest}: damaged: {error}; run `audiorestorer store verify`") from error
    return found


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _all_named(users: list[User]) -> set[str]:
    return {name for user in users for manifest in user.manifests() for name in named_by(user, manifest)}


def stats(root: Path) -> str:
    """A table: entries and bytes of each stage, how many a manifest names, when one was last used."""
    users = users_of(root)
    found = contents(root)
    used = _all_named(users)
    lines = [f"{'stage':24} {'entries':>9} {'MB':>10} {'in use, MB':>11}  last used"]
    for stage in sorted({entry.stage for entry in found.entries}):
        own = [entry for entry in found.entries if entry.stage == stage]
        size, in_use = sum(entry.size for entry in own), sum(entry.size for entry in own if used & {*entry.files})
        last = time.strftime("%Y-%m-%d %H:%M", time.localtime(max(entry.used for entry in own)))
        lines.append(f"{stage:24} {len(own):9} {size / 1e6:10.1f} {in_use / 1e6:11.1f}  {last}")
    left = sum(size for _, size, _ in found.leftovers)
    lines.append(f"{'all':24} {len(found.entries):9} {found.size / 1e6:10.1f}")
    lines.append(f"left by killed jobs: {len(found.leftovers)} files or folders, {left / 1e6:.1f} MB (store prune)")
    lines.append(f"used by: {', '.join(sorted({str(user.folder / user.artifacts) for user in users})) or 'nobody'}")
    return "\n".join(lines)


def verify(root: Path) -> tuple[list[str], list[Path]]:
    """Hash everything again. Damaged entries go, and so do manifests that name a file which is gone: they are made again.

    Returns:
        A line for each damaged entry, and the manifests that were deleted.

    Raises:
        AudioRestorerError: a run is working, or there is no such store.
    """
    users = users_of(root)
    with locked(users):
        damaged, whole = [], set[str]()
        found, last = contents(root).entries, time.monotonic()
        for number, kept in enumerate(found, 1):
            store = Store(root, kept.stage)
            why, entry = store.damaged(kept.key), store.get(kept.key)
            if why or entry is None:
                damaged.append(f"{kept.stage}/{kept.key}: {why}")
                store.remove(kept.key)
            else:
                whole.update(os.path.relpath(path, root) for path in entry.files.values())
            if time.monotonic() - last >= LOG_EVERY_SEC:
                last = time.monotonic()
                log.info("store verify: %d of %d entries", number, len(found))
        gone = [manifest for user in users for manifest in user.manifests() if not _holds(user, manifest, whole)]
        for manifest in gone:
            manifest.unlink()
    return damaged, gone


def _holds(user: User, manifest: Path, whole: set[str]) -> bool:
    """Whether a manifest can be read and all that it names is there."""
    try:
        return named_by(user, manifest) <= whole
    except AudioRestorerError:
        return False


def prune(root: Path, max_bytes: int, keep_hours: float) -> str:
    """Delete what was not used for the longest time until the store is small enough. Never what a manifest names.

    What killed jobs left goes too. Nothing that was used in the last `keep_hours` is touched: a job may be at work on it.

    Returns:
        What was freed and what remains.

    Raises:
        AudioRestorerError: a run is working, or there is no such store.
    """
    users = users_of(root)
    with locked(users):
        found = contents(root)
        before, size, number = found.size, found.size, 0
        used = _all_named(users)
        since = time.time() - 3600 * keep_hours
        for name, bytes_, touched in found.leftovers:
            if touched < since and name not in used:
                path = root / name
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                size -= bytes_
        idle = [entry for entry in found.entries if entry.used < since and not used & {*entry.files}]
        for entry in sorted(idle, key=lambda entry: (not entry.files, entry.used)):
            if size <= max_bytes:
                break
            Store(root, entry.stage).remove(entry.key)
            size -= entry.size
            number += 1
    text = f"store: {number} entries, {(before - size) / 1e6:.1f} MB freed, {size / 1e6:.1f} MB remain"
    if size > max_bytes:
        text += f": manifests name it, or it was used in the last {keep_hours:g} hours (keep_intermediates: false makes less)"
    return text
