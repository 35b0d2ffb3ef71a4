"""Uploads: names that somebody else chose made safe, and bytes written to disk as they come, within bounds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from audiorestorer import windows_names
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import inside
from audiorestorer.names import folded, short_hash
from audiorestorer.serving.batches import PART, Batch, Upload, names_of

BLOCK_BYTES = 1 << 20
NAME_BYTES = 180  # of a file's or folder's name: leaves room for what stages add to it
PATH_CHARS = 2000
DEPTH = 32
FREE_BYTES = 1 << 30  # that stay free on the disk
DRAINED_BYTES = 1 << 30
IDLE_SEC = 60.0  # an upload of which nothing comes for so long has ended


class Refused(AudioRestorerError):
    """An upload that is not taken, with the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """The most bytes of a file and of all files of a batch, and the most files."""

    file_bytes: int
    batch_bytes: int
    files: int = 100_000


@dataclass
class Receiving:
    """What of a batch is on its way: how many files, bytes that have come, names that are taken, and the names as shown."""

    files: int = 0
    bytes: int = 0
    names: set[str] = field(default_factory=set)
    shown: set[str] = field(default_factory=set)


def safe_name(shown: str) -> str:
    """The relative path under which an upload is stored: the shown one, less what no file system, tool or reader should meet.

    A leading slash, `.` and `..` lead nowhere; a name that Windows could not hold is changed as for deliveries
    (`windows_names.mapped`); a name that begins with a dot or a dash, or is too long, is changed too.

    Raises:
        Refused: nothing is left of it, or it is too deep or too long as a whole.
    """
    if len(shown) > PATH_CHARS:
        raise Refused(422, f"its name has {len(shown)} characters, the most are {PATH_CHARS}")
    text = shown.encode("utf-8", "replace").decode()
    parts = [part for part in text.replace("\\", "/").split("/") if part.strip() not in ("", ".", "..")]
    if not parts:
        raise Refused(422, "it has no name")
    if len(parts) > DEPTH:
        raise Refused(422, f"it lies {len(parts) - 1} folders deep, the most are {DEPTH - 1}")
    plain = "/".join(_plain(part) for part in parts)
    return windows_names.mapped([plain])[plain]


def _plain(part: str) -> str:
    part = "".join(char if char.isprintable() else "_" for char in part)
    if part[0] in ".-~":
        part = f"_{part[1:]}"
    if len(part.encode()) <= NAME_BYTES:
        return part
    suffix = PurePosixPath(part).suffix
    suffix = suffix if len(suffix.encode()) <= 16 else ""
    mark = f"~{short_hash(part)}{suffix}"
    return part.encode()[: NAME_BYTES - len(mark.encode())].decode(errors="ignore") + mark


def free_name(stored: str, shown: str, taken: set[str]) -> str:
    """The stored name; with a hash in the file's name, or in the outermost folder's, where another upload or its folder has it."""
    path = PurePosixPath(stored)
    top, *below = path.parts
    marked = path.with_name(f"{path.stem}~{short_hash(shown)}{path.suffix}")
    for candidate in (path, marked, PurePosixPath(f"{top}~{short_hash(top)}", *below)):
        own = folded(str(candidate))
        folders = {folded(str(parent)) for parent in candidate.parents if parent.name}
        if not ({own, f"{own}/"} | folders) & taken:
            return str(candidate)
    raise Refused(409, "a file of this name is in the batch already")


async def receive(
    batch: Batch, on_its_way: Receiving, shown: str, chunks: AsyncIterator[bytes], length: int | None, limits: Limits
) -> Upload:
    """Write an upload into the batch's input folder. It has its name there only when it is whole.

    Args:
        length: what the browser says of its size in bytes, where it says it.

    Raises:
        Refused: a bad name, above a limit, or no space; nothing is left of it.
    """
    shown = shown.encode("utf-8", "replace").decode()
    if shown in batch.shown or shown in on_its_way.shown:
        raise Refused(409, "a file of this name is in the batch already")
    stored = safe_name(shown)
    _check_zip(batch, on_its_way, stored)
    if len(batch.uploads) >= limits.files:
        raise Refused(413, f"a batch takes {limits.files} files at most")
    stored = free_name(stored, shown, batch.names | on_its_way.names)
    _check(batch, on_its_way, length or 0, length or 0, limits)
    mine = names_of(stored) - on_its_way.names
    on_its_way.names |= mine
    on_its_way.shown.add(shown)
    part = batch.folder / f"{secrets.token_hex(8)}{PART}"
    came = 0
    try:
        with open(part, "xb") as file:
            async for chunk in _blocks(chunks):
                came += len(chunk)
                on_its_way.bytes += len(chunk)
                _check(batch, on_its_way, came, 0, limits)
                await asyncio.to_thread(file.write, chunk)
        target = inside(batch.input, stored)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, target)
        upload = Upload(shown=shown, stored=stored, size=came)
        try:
            batch.add(upload)
        except OSError:  # what is not noted is not restored
            target.unlink(missing_ok=True)
            raise
        return upload
    except OSError as error:
        raise Refused(507, f"it cannot be written: {error.strerror}") from error
    finally:
        on_its_way.bytes -= came
        on_its_way.names -= mine
        on_its_way.shown.discard(shown)
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _check_zip(batch: Batch, on_its_way: Receiving, stored: str) -> None:
    """A zip is a batch of its own: the workflow takes a folder or a zip."""
    others = batch.names | on_its_way.names
    if others and (folded(stored).endswith(".zip") or any(name.endswith(".zip") for name in others)):
        raise Refused(409, "a zip is a batch of its own: start it without other files")


def _check(batch: Batch, on_its_way: Receiving, came: int, coming: int, limits: Limits) -> None:
    """Raises Refused: a file or the batch is above its limit, or the disk is full."""
    if came > limits.file_bytes:
        raise Refused(413, f"it is larger than {shown_size(limits.file_bytes)}, the most for a file")
    if batch.bytes + on_its_way.bytes + coming > limits.batch_bytes:
        raise Refused(413, f"the batch is larger than {shown_size(limits.batch_bytes)}, the most for a batch")
    free = shutil.disk_usage(batch.folder).free
    if free - coming < FREE_BYTES:
        raise Refused(
            507, f"the disk has {shown_size(free)} left, of which {shown_size(FREE_BYTES)} stay free: free some space"
        )


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The stream in blocks of about a megabyte.

    Raises:
        Refused: nothing came for a while.
    """
    gathered = bytearray()
    source = aiter(chunks)
    while True:
        try:
            async with asyncio.timeout(IDLE_SEC):
                chunk = await anext(source)
        except StopAsyncIteration:
            break
        except TimeoutError as error:
            raise Refused(408, f"nothing came for {IDLE_SEC:.0f} s") from error
        gathered += chunk
        if len(gathered) >= BLOCK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


async def drained(chunks: AsyncIterator[bytes]) -> None:
    """Let the rest of a refused upload pass, within a bound."""
    passed = 0
    with contextlib.suppress(Refused):
        async for chunk in _blocks(chunks):
            passed += len(chunk)
            if passed > DRAINED_BYTES:
                break


def shown_size(size: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB".replace(".0 ", " ")
