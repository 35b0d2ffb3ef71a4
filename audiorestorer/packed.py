"""Deliveries as they lie there: which recordings an archive of ours holds, by the manifest in it. No audio is unpacked."""

from __future__ import annotations

import calendar
import io
import json
import logging
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

log = logging.getLogger("audiorestorer")

MANIFEST = re.compile(r"[^/]+/manifest(\.\d+)?\.jsonl")
ZIP, TAR = ".zip", ".tar.zst"
EPOCH = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # of all files in an archive: the first moment that a zip can hold
EPOCH_SEC = calendar.timegm(EPOCH)


def archives(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*") if path.name.endswith((ZIP, TAR)))


def is_delivery(path: Path) -> bool:
    """Whether an archive was packed by this project: a zip holds a manifest of ours, a tar's files have the time of all our archives
    (its manifest is behind the audio). What cannot be read was not."""
    try:
        if path.name.endswith(ZIP):
            return next(_zip_manifests(path), None) is not None
        with open(path, "rb") as file, _unpacked(file) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            first = archive.next()
            return first is not None and first.mtime == EPOCH_SEC
    except (OSError, ValueError, zipfile.BadZipFile, tarfile.TarError, zstandard.ZstdError):
        return False


def holding(paths: Iterable[Path], asked: Callable[[str], bool]) -> list[Path]:
    """The archives that hold a recording whose relative path is `asked` for; one that cannot be read is named in the log."""
    holders = []
    for path in paths:
        try:
            if any(asked(name) for name in names(path)):
                holders.append(path)
        except (OSError, ValueError, zipfile.BadZipFile, tarfile.TarError, zstandard.ZstdError) as error:
            log.warning("%s: cannot tell what is in it: %s", path, error)
    return holders


def names(path: Path) -> Iterator[str]:
    """The relative paths, in the input, of the recordings in an archive."""
    for text in _zip_manifests(path) if path.name.endswith(ZIP) else _tar_manifests(path):
        for line in text.splitlines():
            row = json.loads(line)
            yield str(row.get("relative") or row.get("path"))


def _zip_manifests(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if MANIFEST.fullmatch(name):
                yield archive.read(name).decode()


def _tar_manifests(path: Path) -> Iterator[str]:
    with open(path, "rb") as file, _unpacked(file) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if MANIFEST.fullmatch(member.name):
                inner = archive.extractfile(member)
                yield inner.read().decode() if inner else ""


def _unpacked(file: BinaryIO) -> io.BufferedReader:
    return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file))
