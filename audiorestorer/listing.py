"""What the input holds: the recordings of a folder or a zip, by name, size and time. No audio is read."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from audiorestorer import audio, zipped
from audiorestorer.config import Config, bytes_of
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import folded, shard_of, short_hash, unique_ids
from audiorestorer.names import NOT_TEXT, as_text, is_text
from audiorestorer.pairs import companions, reference_of

log = logging.getLogger("audiorestorer")

NAME_MAX_BYTES = 255  # of a file name, on all common file systems


@dataclass(frozen=True)
class Found:
    """A file below the input folder, or in the input archive. `relative` uses `/`.

    Size and `stamp` (mtime in ns; in an archive CRC-32) tell whether its content must be read again; `problem` says why it is not
    even opened, where that is so.
    """

    relative: str
    size: int
    stamp: int
    problem: str | None = None

    @property
    def shown(self) -> str:
        """`relative` as text: bytes that are no UTF-8 become `\\xff`."""
        return as_text(self.relative)


def listed(config: Config) -> list[Found]:
    """The recordings of the input, which is a folder or a zip.

    Raises:
        AudioRestorerError: no such input, nothing in it matches, or an archive above the bounds.
    """
    if not zipped.is_zip(config.input):
        return scan(config.input, config.pattern, config.exclude)
    settings = config.ingest
    bounds = zipped.Bounds(settings.max_files, bytes_of(settings.max_unpacked), settings.max_ratio)
    found = [
        Found(member.name, member.size, member.crc, member.problem)
        for member in zipped.members(config.input, bounds)
        if member.name.lower().endswith(audio.SUFFIXES)
        and not _hidden(member.name)
        and _chosen(member.name, config.pattern, config.exclude)
    ]
    return _or_none(found, config.input, config.pattern)


def _hidden(relative: str) -> bool:
    """A hidden file or folder, or what macOS adds to a zip."""
    return any(part.startswith(".") and part.strip(".") or part == "__MACOSX" for part in relative.split("/"))


def _chosen(relative: str, pattern: str, exclude: list[str]) -> bool:
    return _matches(relative, pattern) and not any(_matches(relative, glob) for glob in exclude)


def _or_none(found: list[Found], source: str | Path, pattern: str) -> list[Found]:
    if not found:
        raise AudioRestorerError(f"input: {source}: no WAV, FLAC, OGG or MP3 file matches pattern {pattern!r}")
    return sorted(found, key=lambda file: file.relative)


def scan(folder: str | Path, pattern: str, exclude: list[str]) -> list[Found]:
    """The audio files below a folder, sorted. Links are followed to files, but not out of the tree; hidden files are left out.

    Raises:
        AudioRestorerError: no such folder, or nothing in it matches.
    """
    root = Path(folder)
    if not root.is_dir():
        raise AudioRestorerError(f"input: {root}: no such folder")
    real_root = os.path.realpath(root)
    found = []
    for relative, problem in _walk(real_root, ""):
        if problem is None and not relative.lower().endswith(audio.SUFFIXES):
            if os.path.isdir(os.path.join(real_root, relative)):
                log.warning("%r: a link to a folder: not followed", relative)
        elif _chosen(relative, pattern, exclude):
            found.append(_found(real_root, relative, problem))
    return _or_none(found, root, pattern)


def _found(root: str, relative: str, problem: str | None) -> Found:
    """What is under a name, by its directory entries alone: nothing is opened."""
    path = os.path.join(root, relative)
    if problem is None:
        problem = _problem(root, relative, path)
    try:
        info = os.stat(path)
    except OSError as error:
        return Found(relative, -1, 0, problem or f"cannot be opened: {error.strerror}")
    return Found(relative, info.st_size, info.st_mtime_ns, problem)


def _problem(root: str, relative: str, path: str) -> str | None:
    if not is_text(relative):
        return NOT_TEXT
    if not os.path.islink(path):
        return None
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        return f"a link that leads to no file: {error.strerror}"
    if os.path.commonpath([root, target]) != root:
        return "a link out of the input folder"
    return "a link to a folder: these are not followed" if os.path.isdir(target) else None


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, str | None]]:
    """Relative paths of all that is not a folder, and of folders that cannot be read, with the reason."""
    try:
        with os.scandir(folder) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError as error:
        if not prefix:
            raise AudioRestorerError(f"input: {folder}: {error.strerror}") from error
        yield prefix[:-1], f"a folder that cannot be read: {error.strerror}"
        return
    for name, is_folder in names:
        if name.startswith("."):
            continue
        if is_folder:
            yield from _walk(os.path.join(folder, name), f"{prefix}{name}/")
        else:
            yield prefix + name, None


def _matches(relative: str, pattern: str) -> bool:
    """`**/` matches any number of folders, none included, as users of globs expect."""
    return fnmatch(relative, pattern) or (pattern.startswith("**/") and fnmatch(relative, pattern[3:]))


def output_names(relatives: list[str], keep_format: str) -> dict[str, str]:
    """Where each file's cleaned version goes: same tree and name; the suffix follows the format. Collisions keep both, by a hash.

    A name that its new suffix would make too long for a file system is cut, and gets a hash too.
    """
    names = {}
    for relative in relatives:
        path = PurePosixPath(relative)
        suffix = path.suffix.lower()
        if keep_format != "keep":
            suffix = "." + keep_format
        elif suffix in (".ogg", ".mp3"):
            suffix = ".flac"
        names[relative] = str(path.with_suffix(path.suffix if suffix == path.suffix.lower() else suffix))
    taken = Counter(folded(name) for name in names.values())
    for relative, name in names.items():
        path = PurePosixPath(name)
        if taken[folded(name)] > 1 and name != relative or len(os.fsencode(path.name)) > NAME_MAX_BYTES:
            end = f"-{short_hash(relative)}{path.suffix}"
            stem = os.fsencode(path.stem)[: NAME_MAX_BYTES - len(end)].decode(errors="ignore")
            names[relative] = str(path.with_name(stem + end))
    return names


def state_of(path: Path | None) -> list[Any] | None:
    if path is None:
        return None
    info = path.stat()
    return [str(path), info.st_size, info.st_mtime_ns]


class Listing(NamedTuple):
    """What a shard holds: a digest of its files' names, sizes and times, and their number."""

    digest: str
    files: int


def listing(config: Config) -> dict[int, Listing]:
    """Of each shard, what makes its ingest job stale. Reads no audio.

    Shards without a file are left out: they need no job.
    """
    files = listed(config)
    ids = unique_ids([file.relative for file in files], config.alias_separator)
    clean_root, _ = companions(config)
    lines: dict[int, list[str]] = {}
    for file in files:
        state = state_of(None if file.problem else reference_of(clean_root, file.relative))
        lines.setdefault(shard_of(ids[file.relative], config.shards), []).append(f"{file} {state}")
    return {shard: Listing(short_hash("\n".join(text)), len(text)) for shard, text in sorted(lines.items())}
