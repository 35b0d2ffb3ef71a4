"""store stats, verify and prune: list what lies in the item store, check that it is what was written, delete what nobody needs.

The manifests of all runs that use the store say what is in use. None of the three reads audio.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path

from audiorestorer.errors import AudioRestorerError
from audiorestorer.store import Store
from audiorestorer.store_users import User, all_named, contents, locked, named_by, users_of

log = logging.getLogger("audiorestorer")

LOG_EVERY_SEC = 10.0


def stats(root: Path) -> str:
    """A table with one row per stage: entries, bytes, the bytes that a manifest names, and the last use."""
    users = users_of(root)
    found = contents(root)
    used = all_named(users)
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
        used = all_named(users)
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
