"""What a bad disk, a power cut or a stray program does to a file that was whole."""

from __future__ import annotations

import os
import random
from pathlib import Path

BLOCK = 512


def store_files(root: Path) -> list[Path]:
    """The finished files of a store, records included."""
    return sorted(path for path in root.rglob("*") if path.is_file() and not any(p.startswith(".") for p in path.parts))


def harm(path: Path, rng: random.Random, how: str | None = None, *, quiet: bool = False) -> str:
    """Damage a file; returns how.

    Args:
        how: `flip` a byte, `cut` in the middle, `empty`, `zeros` (a block of them), `garbage` (a block), `delete`. None: one of these.
        quiet: as bit rot does it: the time of the file stays.
    """
    how = how or rng.choice(["flip", "cut", "empty", "zeros", "garbage", "delete"])
    info = path.stat()
    if how == "delete":
        path.unlink()
        return how
    content = bytearray(path.read_bytes())
    if how == "cut":
        content = content[: rng.randrange(1, max(2, len(content)))]
    elif how == "empty":
        content = bytearray()
    elif content:
        start = rng.randrange(len(content))
        stop = min(len(content), start + (1 if how == "flip" else BLOCK))
        for place in range(start, stop):
            content[place] = 0 if how == "zeros" else (content[place] ^ 0xFF if how == "flip" else rng.randrange(256))
    with open(path, "r+b") as file:  # in place: links to it see it too
        file.write(content)
        file.truncate(len(content))
    if quiet:
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    return how
