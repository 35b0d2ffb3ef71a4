"""The recordings of the input, a folder, a zip or one file, by name, size and time. No audio is read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from audiorestorer import audio, manifest
from audiorestorer.config import Config, bytes_of
from audiorestorer.errors import AudioRestorerError
from audiorestorer.formats import video, zipped
from audiorestorer.intake import matching, pairs
from audiorestorer.left_out import LeftOut, instead, left_out, of_formats
from audiorestorer.manifest import shard_of, unique_ids
from audiorestorer.names import NOT_TEXT, as_text, is_text, short_hash

FILES_A_SHARD, LEAST_FILES = 64, 8
CORES_A_SHARD = 4  # a network's threads


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


@dataclass
class Scan:
    """The contents of an input: its recordings, and by relative path files of other formats, links to folders, folders that cannot be
    read, and recordings that pattern and exclude leave out."""

    files: list[Found] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def root_of(source: str | Path) -> Path:
    """What the recordings' relative paths begin in: the input, or the folder of the one recording that it is."""
    path = Path(source)
    return path.parent if path.is_file() and not zipped.is_zip(path) else path


def scanned(config: Config) -> Scan:
    """The contents of the input: a folder, a zip or one recording.

    Raises:
        AudioRestorerError: no such input, nothing in it matches, or an archive above the bounds.
    """
    if not zipped.is_zip(config.input):
        if (root := root_of(config.input)) != Path(config.input):
            return _single(root, Path(config.input).name, config)
        return scan(config.input, config.pattern, config.exclude)
    settings = config.ingest
    bounds = zipped.Bounds(settings.max_files, bytes_of(settings.max_unpacked), settings.max_ratio)
    is_asked = _choice(config.pattern, config.exclude)
    held = Scan()
    for member in zipped.members(config.input, bounds):
        if not _hidden(member.name):
            _sort_out(held, member.name, is_asked, partial(Found, member.name, member.size, member.crc, member.problem))
    return _or_none(held, config.input, config.pattern)


def _hidden(relative: str) -> bool:
    """A hidden file or folder, or what macOS adds to a zip."""
    return any(part.startswith(".") and part.strip(".") or part == "__MACOSX" for part in relative.split("/"))


def _choice(pattern: str, exclude: Sequence[str]) -> Callable[[str], bool]:
    """Whether a relative path is part of the run. Composed and decomposed letters are the same letters."""

    def fits(relative: str, glob: str) -> bool:
        same = matching.composed(relative), matching.composed(glob)
        return _matches(*same) or ((relative, glob) != same and _matches(relative, glob))

    return lambda relative: fits(relative, pattern) and not any(fits(relative, glob) for glob in exclude)


def _sort_out(held: Scan, relative: str, is_asked: Callable[[str], bool], entry: Callable[[], Found]) -> None:
    """Note a file in the list that it belongs to."""
    if not relative.lower().endswith(audio.SUFFIXES):
        if is_asked(relative):
            held.others.append(relative)
    elif is_asked(relative):
        held.files.append(entry())
    else:
        held.passed_over.append(relative)


def _or_none(held: Scan, source: str | Path, pattern: str) -> Scan:
    if not held.files and held.passed_over:
        count = len(held.passed_over)
        raise AudioRestorerError(
            f"input: {source}: no recording matches pattern {pattern!r}, or all that do are excluded;"
            f" it holds {count} other{'s' if count > 1 else ''} ({held.passed_over[0]!r})"
        )
    if not held.files:
        raise AudioRestorerError(f"input: {source}: holds no recording{instead(held.others)}")
    held.files.sort(key=lambda file: file.relative)
    for names in (held.others, held.links, held.closed, held.passed_over):
        names.sort()
    return held


def _single(root: Path, name: str, config: Config) -> Scan:
    """One recording. A link is followed wherever it leads, since somebody named it."""
    held = Scan()
    entry = partial(_found, str(root), name, None, False)
    _sort_out(held, name, _choice(config.pattern, config.exclude), entry)
    return _or_none(held, config.input, config.pattern)


def scan(folder: str | Path, pattern: str, exclude: Sequence[str]) -> Scan:
    """The contents of a folder at any depth, sorted. Links are followed to files, but not out of the tree; hidden files are left out.

    Raises:
        AudioRestorerError: no such folder, or nothing in it matches.
    """
    root = Path(folder)
    if not root.is_dir():
        raise AudioRestorerError(f"input: {root}: no such folder")
    real_root = os.path.realpath(root)
    is_asked = _choice(pattern, exclude)
    held = Scan()
    for relative, problem, is_link in _walk(real_root, ""):
        if problem is not None:  # a folder
            if is_asked(relative):
                held.files.append(_found(real_root, relative, problem, False))
            else:
                held.closed.append(relative)
        elif is_link and not relative.lower().endswith(audio.SUFFIXES) and os.path.isdir(f"{real_root}/{relative}"):
            held.links.append(relative)
        else:
            _sort_out(held, relative, is_asked, partial(_found, real_root, relative, None, is_link))
    return _or_none(held, root, pattern)


def _found(root: str, relative: str, problem: str | None, is_link: bool) -> Found:
    """The file of a name, by its directory entries alone: nothing is opened."""
    path = os.path.join(root, relative)
    if problem is None:
        problem = _problem(root, relative, path, is_link)
    try:
        info = os.stat(path)
    except OSError as error:
        return Found(relative, -1, 0, problem or f"cannot be opened: {error.strerror}")
    return Found(relative, info.st_size, info.st_mtime_ns, problem)


def _problem(root: str, relative: str, path: str, is_link: bool) -> str | None:
    if not is_text(relative):
        return NOT_TEXT
    if not is_link:
        return None
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        return f"a link that leads to no file: {error.strerror}"
    if os.path.commonpath([root, target]) != root:
        return "a link out of the input folder"
    return "a link to a folder: these are not followed" if os.path.isdir(target) else None


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, str | None, bool]]:
    """Relative paths of all that is not a folder, and of folders that cannot be read, with the reason; whether each is a link."""
    try:
        with os.scandir(folder) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in entries]
    except OSError as error:
        if not prefix:
            raise AudioRestorerError(f"input: {folder}: {error.strerror}") from error
        yield prefix[:-1], f"a folder that cannot be read: {error.strerror}", False
        return
    for name, is_folder, is_link in names:
        if name.startswith("."):
            continue
        if is_folder:
            yield from _walk(os.path.join(folder, name), f"{prefix}{name}/")
        else:
            yield prefix + name, None, is_link


def _matches(relative: str, pattern: str) -> bool:
    """`**/` matches any number of folders, none included, as users of globs expect."""
    return fnmatch(relative, pattern) or (pattern.startswith("**/") and fnmatch(relative, pattern[3:]))


def output_names(relatives: list[str], keep_format: str, keep_video: bool = True) -> dict[str, str]:
    """The relative path of each file's cleaned version: same tree and name; the suffix follows the format."""
    wanted = {}
    for relative in relatives:
        path = PurePosixPath(relative)
        suffix = path.suffix.lower()
        if keep_format != "keep":
            suffix = "." + keep_format
        elif suffix in video.CONTAINERS:
            suffix = suffix if keep_video else ".opus" if suffix == ".webm" else ".m4a"
        elif suffix not in audio.WRITTEN and suffix not in audio.CODED:
            suffix = ".flac"
        wanted[relative] = str(path.with_suffix(path.suffix if suffix == path.suffix.lower() else suffix))
    return manifest.output_names(wanted)


def state_of(path: Path | None) -> list[Any] | None:
    if path is None:
        return None
    info = path.stat()
    return [str(path), info.st_size, info.st_mtime_ns]


class Listing(NamedTuple):
    """The contents of a shard: a digest of its files' names, sizes, times and partners, and the number of files."""

    digest: str
    files: int


@dataclass(frozen=True)
class Batch:
    """The recordings of a run with their ids and partners, and what is left out of it; `told` is for the log alone."""

    files: list[Found]
    ids: dict[str, str]
    references: dict[str, Path]
    texts: dict[str, dict[str, str]]
    notes: dict[str, dict[str, str]]
    left_out: list[LeftOut]
    told: list[LeftOut]

    @property
    def left_out_digest(self) -> str:
        return short_hash(json.dumps([self.left_out, self.told]))

    def shard_count(self, shards: int | Literal["auto"], cores: int | None) -> int:
        """How many shards: as configured, or about 64 files in each; of a smaller batch as many as keep the cores busy, 8 files at
        least in each."""
        if shards != "auto":
            return shards
        whole, few = -(-len(self.files) // FILES_A_SHARD), len(self.files) // LEAST_FILES
        return max(1, whole, min(few, (cores or 1) // CORES_A_SHARD))

    def words_below(self, sample: int | Literal["all"], seed: int) -> str | None:
        """The highest draw (`manifest.draw`) of a sample of the recordings that have a transcript; None: it is all of them."""
        draws = sorted(
            manifest.draw(self.ids[name], seed) for name, text in self.texts.items() if name in self.ids and text
        )
        return None if sample == "all" or len(draws) <= sample else draws[sample - 1]

    def shards(self, count: int) -> dict[int, Listing]:
        """The listing of each shard; its change makes the ingest job stale. Shards without a file are left out: they need no job."""
        lines: dict[int, list[str]] = {}
        for file in self.files:
            name = file.relative
            partners = [state_of(self.references.get(name)), self.texts.get(name), self.notes.get(name)]
            lines.setdefault(shard_of(self.ids[name], count), []).append(f"{file} {partners}")
        return {shard: Listing(short_hash("\n".join(text)), len(text)) for shard, text in sorted(lines.items())}


def batch(config: Config) -> Batch:
    """The recordings of a run. Reads directories and the transcripts' table, no audio.

    Raises:
        AudioRestorerError: no such input or partners, nothing in it matches, or a table that cannot be read.
    """
    held = scanned(config)
    names = [file.relative for file in held.files]
    sound = [file.relative for file in held.files if not file.problem]
    clean_root, table = pairs.companions(config)
    clean = pairs.references_of(clean_root, sound, held.passed_over)
    texts = pairs.transcripts_of(table, names, config.input, held.passed_over)
    notes: dict[str, dict[str, str]] = {}
    for kind, unclear in (("reference", clean.unclear), ("transcript", texts.unclear)):
        for name, sentence in unclear.items():
            notes.setdefault(name, {})[kind] = sentence
    return Batch(
        held.files,
        unique_ids(names, config.alias_separator),
        clean.of,
        texts.of,
        notes,
        [
            *of_formats(held.others),
            *left_out("link", held.links),
            *left_out("closed", held.closed),
            *pairs.of_references(clean, sound, clean_root),
            *pairs.of_transcripts(texts, sound, table),
        ],
        [
            *left_out("pattern", held.passed_over),
            *left_out("transcript_repeated", [pairs.shown(row) for row in texts.repeated], table or ""),
            *left_out("table_unused", pairs.unused_tables(config), Path(config.input).absolute().parent),
        ],
    )
