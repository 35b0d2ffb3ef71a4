"""Recordings in a zip that somebody else made: what it holds, and one member at a time out of it, bounded. No torch import.

No member's name becomes a path here. Of a member never more is read than its header declares, so bounds on the declared sizes bound
what is unpacked. Names are as their maker meant them: a backslash of Windows separates folders, and names in an old code page are
decoded (`codepages`), all of an archive by one; a name's bytes are decoded before they are split.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from audiorestorer.errors import AudioRestorerError
from audiorestorer.formats.codepages import UTF8, Page, page_of

RATIO_FREE_BYTES = 100_000_000  # silence shrinks a thousandfold: small archives are not judged by their ratio
DIRECTORY_BYTES_EACH = 1024  # of the archive's directory: a recording's name and times take less
COPY_BYTES = 1 << 18
# PKWARE's APPNOTE 6.3.10, 4.3.12 to 4.3.16
ENTRY, END, END64, LOCATOR64 = b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
END_BYTES, LOCATOR64_BYTES, MOST_COMMENT_BYTES = 22, 20, 65_535
ENCRYPTED, UTF8_NAME = 0x1, 0x800
UNICODE_PATH = 0x7075  # Info-ZIP's extra field: the name as UTF-8, and the checksum of the name that it stands for
OF_WINDOWS = (0, 10, 11, 14)  # systems (APPNOTE 4.4.2.2) whose separator is the backslash
MAX_NAME_BYTES = 255
METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}  # the others' memory has no bound in Python


@dataclass(frozen=True)
class Bounds:
    """The most that an archive may hold: files, bytes when unpacked, and times its own size when unpacked."""

    files: int
    unpacked: int
    ratio: float


@dataclass(frozen=True)
class Member:
    """A file in an archive. `problem` says why it cannot be unpacked, None where it can; `note` how its name was read."""

    name: str
    size: int
    crc: int
    problem: str | None
    note: str | None = None


class Archive(zipfile.ZipFile):
    """A zip whose members go by the names that their maker meant: `named`, and `notes` for those whose name was not plain."""

    named: dict[str, zipfile.ZipInfo]
    times: Counter[str]
    notes: dict[str, str]


def is_zip(path: str | Path) -> bool:
    """Whether an input is meant as an archive."""
    return str(path).lower().endswith(".zip") and not Path(path).is_dir()


def members(path: str | Path, bounds: Bounds) -> list[Member]:
    """The files of an archive, sorted by name; folders are left out. Reads its directory only.

    Raises:
        AudioRestorerError: no such file, no zip, or above a bound.
    """
    with opened(path, bounds.files) as archive:
        infos = [info for info in archive.infolist() if not _is_folder(info)]
    size = Path(path).stat().st_size
    unpacked = sum(info.file_size for info in infos)
    if unpacked > bounds.unpacked:
        raise AudioRestorerError(
            f"{path}: {unpacked / 1e9:.1f} GB when unpacked, the limit is {bounds.unpacked / 1e9:g} GB:"
            " if you trust it, raise ingest.max_unpacked"
        )
    if unpacked > max(RATIO_FREE_BYTES, bounds.ratio * size):
        largest = max(infos, key=lambda info: info.file_size)
        raise AudioRestorerError(
            f"{path}: {unpacked / size:.0f} times its size when unpacked ({largest.filename!r} alone"
            f" {largest.file_size / 1e6:.0f} MB), the limit is {bounds.ratio:g}: if you trust it, raise ingest.max_ratio"
        )
    _refuse_overlap(path, infos, size)
    return [
        Member(name, info.file_size, info.CRC, _problem(name, info, archive.times[name]), archive.notes.get(name))
        for name, info in sorted(archive.named.items())
    ]


def opened(path: str | Path, most_files: int) -> Archive:
    """The archive, after a look at the size of its directory, which Python would read whole.

    Raises:
        AudioRestorerError: no such file, no zip, or too many files.
    """
    remedy = f"the limit is {most_files}: if you trust it, raise ingest.max_files"
    try:
        with open(path, "rb") as file:
            size, end = _directory(file)
            if size > most_files * DIRECTORY_BYTES_EACH:
                raise AudioRestorerError(f"{path}: too many files, or names too long, by its directory; {remedy}")
            file.seek(max(0, end - size))
            files = file.read(size).count(ENTRY)
        if files > most_files:
            raise AudioRestorerError(f"{path}: {files} files, {remedy}")
        archive = Archive(path)
        _name(archive)
        return archive
    except OSError as error:
        raise AudioRestorerError(f"{path}: cannot read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise AudioRestorerError(f"{path}: a member's name is marked as UTF-8 and is not: pack it anew") from error
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError) as error:
        raise AudioRestorerError(f"{path}: not a zip that can be read: {error}") from error


def _is_folder(info: zipfile.ZipInfo) -> bool:
    """A folder's entry; where Windows wrote it, its name may end in a backslash."""
    return info.is_dir() or (info.orig_filename.endswith("\\") and not info.file_size)


def _name(archive: Archive) -> None:
    """Give all members of an archive the names that they are meant to have, no two alike unless the archive has them alike."""
    infos = [info for info in archive.infolist() if not _is_folder(info)]
    page = page_of([raw for info in infos if (raw := _raw(info)) is not None and _own_name(info) is None])
    archive.named, archive.notes = {}, {}
    archive.times = Counter()
    originals: dict[str, str] = {}
    for info in infos:
        name, note = _read_name(info, page)
        if (
            originals.setdefault(name, info.orig_filename) != info.orig_filename
        ):  # two names that end as one: both are kept
            path = PurePosixPath(name)
            name = str(path.with_name(f"{path.stem}-{zlib.crc32(info.orig_filename.encode()):08x}{path.suffix}"))
            originals[name] = info.orig_filename
            note = f"another member of the archive has the same name, so it is called {path.name} with a number"
        archive.named[name] = info
        archive.times[name] += 1
        if note:
            archive.notes[name] = note


def _read_name(info: zipfile.ZipInfo, page: Page) -> tuple[str, str | None]:
    """A member's name with `/` between folders, and how it was read where that was a guess."""
    raw, own = _raw(info), _own_name(info)
    name = info.orig_filename if own is None else own
    note = None
    if raw is not None and own is None:
        name = raw.decode(page.codec)
        note = (
            f"its name in the archive does not say its code page: it was read as {page.name}"
            if page is not UTF8 and name != info.orig_filename
            else None
        )
    plain = name.replace("\\", "/")
    if plain != name and ("/" not in name or info.create_system in OF_WINDOWS) and not _leads_out(plain):
        return plain, note
    return name, note


def _raw(info: zipfile.ZipInfo) -> bytes | None:
    """The bytes of a name that does not say that it is UTF-8."""
    return None if info.flag_bits & UTF8_NAME else info.orig_filename.encode("cp437")


def _own_name(info: zipfile.ZipInfo) -> str | None:
    """The name in a Unicode extra field that belongs to this name, or None."""
    raw, extra = _raw(info), info.extra
    while raw is not None and len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        body, extra = extra[4 : 4 + size], extra[4 + size :]
        if (
            kind == UNICODE_PATH
            and len(body) > 5
            and body[0] == 1
            and int.from_bytes(body[1:5], "little") == zlib.crc32(raw)
        ):
            try:
                return body[5:].decode("utf-8")
            except UnicodeDecodeError:
                return None
    return None


def _directory(file: BinaryIO) -> tuple[int, int]:
    """Bytes of the archive's directory, and where it ends.

    Raises:
        zipfile.BadZipFile: there is none.
    """
    length = file.seek(0, 2)
    start = max(0, length - END_BYTES - MOST_COMMENT_BYTES)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(END)
    if at < 0:
        raise zipfile.BadZipFile("no directory at its end: cut short, or another format")
    size: int = struct.unpack_from("<I", tail, at + 12)[0]
    end = start + at
    file.seek(max(0, end - LOCATOR64_BYTES))
    locator = file.read(LOCATOR64_BYTES)
    if locator.startswith(LOCATOR64):
        file.seek(struct.unpack_from("<Q", locator, 8)[0])
        record = file.read(56)
        if record.startswith(END64):
            size = struct.unpack_from("<Q", record, 40)[0]
            end -= LOCATOR64_BYTES + len(record)
    return size, end


def _refuse_overlap(path: str | Path, infos: list[zipfile.ZipInfo], size: int) -> None:
    """A zip whose members share their bytes is a bomb: the same compressed bytes count many times."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise AudioRestorerError(f"{path}: {info.filename!r} overlaps another member: a zip bomb, or damaged")
        end = info.header_offset + info.compress_size
    if end > size:
        raise AudioRestorerError(f"{path}: its directory names more bytes than it has: cut short, or damaged")


def _leads_out(name: str) -> bool:
    """Whether a name, taken as a path, is no plain one below a folder: on this system or on Windows."""
    return name.startswith("/") or bool(re.match("[A-Za-z]:", name)) or bool({"..", ".", ""} & set(name.split("/")))


def _problem(name: str, info: zipfile.ZipInfo, times: int) -> str | None:
    """Why a member cannot be a recording in a folder, or None."""
    parts = name.split("/")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if times > 1:
        return f"stands {times} times in the archive"
    if _leads_out(name) or _leads_out(name.replace("\\", "/")):
        return "its path leads out of the archive's folder, or is not a plain one"
    if "\0" in name:
        return "a name with a zero byte in it"
    if any(len(part.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES for part in parts):
        return f"a name of more than {MAX_NAME_BYTES} bytes"
    if kind not in (0, stat.S_IFREG):
        return "a link or a device, not a file"
    if info.flag_bits & ENCRYPTED:
        return "encrypted"
    if info.compress_type not in METHODS:
        return f"compression method {info.compress_type}; {' and '.join(METHODS.values())} members can be read"
    return None


def extract(archive: Archive, name: str, target: Path) -> None:
    """Unpack one member, that `members` found no problem with, to a path of ours.

    Raises:
        AudioRestorerError: damaged (names the member and what is wrong).
    """
    info = archive.named[name]
    done = 0
    try:
        with archive.open(info) as source, open(target, "wb") as out:
            while block := source.read(COPY_BYTES):
                done += len(block)
                out.write(block)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise AudioRestorerError(f"{name}: damaged in the archive: {error or 'it ends early'}") from error
    if done != info.file_size:
        raise AudioRestorerError(f"{name}: damaged in the archive: {done} of {info.file_size} bytes")
