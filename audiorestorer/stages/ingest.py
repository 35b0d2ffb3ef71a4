"""ingest: find the recordings of one shard, decode each once, and say which of them can be used."""

from __future__ import annotations

import logging
import math
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from audiorestorer import audio, headers, zipped
from audiorestorer.config import Config, bytes_of
from audiorestorer.digest import code_digest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, folded, read_transcripts, shard_of, short_hash, unique_ids
from audiorestorer.names import NOT_TEXT, as_text, is_text
from audiorestorer.stages.inputs import AGAIN, InputChanged
from audiorestorer.stages.shard import Made, RejectItem, Stage, run_shard
from audiorestorer.store import Entry, sha256_file

log = logging.getLogger("audiorestorer")

MAX_CHANNELS = 2
MAX_FRAMES = 1 << 40  # a year at 34 kHz; libsndfile gives 2^63 - 1 where a FLAC does not say how long it is
MP3_PADDING_FRAMES = 4  # encoder delay and padding, which an MP3's header leaves out
NAME_MAX_BYTES = 255  # of a file name, on all common file systems
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 384_000
MAX_PEAK_DBFS = 200.0  # above 32-bit integers read as they are (187 dBFS): no audio, and its powers leave float32
REFERENCE_SUFFIXES = (".flac", ".wav", ".ogg", ".mp3")
MEASURED = {"min_duration_sec", "silence_dbfs"}  # settings that decide over a file; an archive's bounds do not
CONDITION_COLUMNS = ("voice", "music", "snr_db")


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


def companions(config: Config) -> tuple[Path | None, Path | None]:
    """The folder of references and the transcripts file that the config means, with `auto` resolved; None where there is none."""
    beside = Path(config.input).parent
    references = beside / "clean" if config.references == "auto" else config.references
    transcripts = beside / "transcripts.tsv" if config.transcripts == "auto" else config.transcripts
    clean = Path(references) if references else None
    text = Path(transcripts) if transcripts else None
    if config.references != "auto" and clean is not None and not clean.is_dir():
        raise AudioRestorerError(f"references: {clean}: no such folder")
    if config.transcripts != "auto" and text is not None and not text.is_file():
        raise AudioRestorerError(f"transcripts: {text}: no such file")
    return (clean if clean and clean.is_dir() else None), (text if text and text.is_file() else None)


def reference_of(folder: Path | None, relative: str) -> Path | None:
    """The clean reference of a file: the same relative path, of any audio suffix."""
    if folder is None:
        return None
    base = folder / relative
    for candidate in (base, *(base.with_suffix(suffix) for suffix in REFERENCE_SUFFIXES)):
        if os.path.isfile(candidate):  # Path.is_file() raises where the other suffix makes the name too long
            return candidate
    return None


def inspect(path: Path, config: Config) -> dict[str, Any]:
    """Decode a file once, in blocks, and measure what decides whether it can be used.

    Returns:
        Row fields: sr, channels, duration, frames, peak_dbfs, rms_dbfs.

    Raises:
        RejectItem: unreadable, truncated, empty, too short, silent, not finite, or a layout that no stage takes.
    """
    try:
        info = audio.probe(path)
        if not 1 <= info.channels <= MAX_CHANNELS:
            raise RejectItem(f"{info.channels} channels; mono and stereo are supported")
        if not MIN_RATE_HZ <= info.sample_rate <= MAX_RATE_HZ:
            raise RejectItem(f"sample rate {info.sample_rate} Hz is outside {MIN_RATE_HZ}..{MAX_RATE_HZ} Hz")
        if info.frames == 0:
            raise RejectItem("empty: no samples")
        if info.frames > MAX_FRAMES:
            raise RejectItem("its header does not say how long it is (written to a pipe?): write it anew")
        frames, peak, energy = 0, 0.0, 0.0
        for block in audio.blocks(path):
            if not np.isfinite(block).all():
                raise RejectItem("holds NaN or infinite samples")
            frames += block.shape[1]
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            energy += float(np.square(block, dtype=np.float64).sum()) / block.shape[0]
    except RejectItem:
        raise
    except AudioRestorerError as error:
        raise RejectItem(str(error).removeprefix(f"{path}: ")) from error
    _reject_misleading(path, info)
    duration = frames / info.sample_rate
    if duration < config.ingest.min_duration_sec:
        raise RejectItem(f"too short: {duration:.3f} s, at least {config.ingest.min_duration_sec} s are needed")
    peak_dbfs = 20 * math.log10(max(peak, 1e-12))
    if peak_dbfs > MAX_PEAK_DBFS:
        raise RejectItem(f"no audio: highest sample {peak_dbfs:.0f} dBFS, limit {MAX_PEAK_DBFS:g} dBFS")
    if peak_dbfs < config.ingest.silence_dbfs:
        raise RejectItem(f"silent: highest sample {peak_dbfs:.0f} dBFS, limit {config.ingest.silence_dbfs:g} dBFS")
    return {
        "sr": info.sample_rate,
        "channels": info.channels,
        "duration": round(duration, 6),
        "frames": frames,
        "peak_dbfs": round(peak_dbfs, 3),
        "rms_dbfs": round(10 * math.log10(max(energy / frames, 1e-24)), 3),
    }


def _reject_misleading(path: Path, info: audio.AudioInfo) -> None:
    """A file whose header says less or more than it holds, where libsndfile reads a part of it without a word."""
    if info.format in ("WAV", "WAVEX", "RF64"):
        sound = headers.wav_sound_bytes(path)
        if sound is not None and sound[0] > sound[1]:
            raise RejectItem(f"truncated: the header counts {sound[0]} bytes of sound, the file holds {sound[1]}")
    elif info.format in ("MP3", "MPEG"):
        samples, frame = headers.mp3_samples(path)
        if samples - info.frames > MP3_PADDING_FRAMES * frame:
            raise RejectItem(
                f"its header counts {info.frames} samples, it holds about {samples}: the rest would be lost; write it anew"
            )
    elif info.format == "OGG" and headers.ogg_is_chained(path):
        raise RejectItem("several Ogg streams one after another, of which one would be read: split it")


def run(out_manifest: Path, config: Config, shard: int, store: Path) -> list[Item]:
    """Write one shard's manifest: a row for every recording of the input whose id falls into the shard.

    The input's folder is only read. Of an archive, the shard's members are unpacked into the store.
    """
    root = Path(config.input)
    archive = zipped.is_zip(root)
    files = listed(config)
    ids = unique_ids([file.relative for file in files], config.alias_separator)
    outputs = output_names([file.relative for file in files], config.loudness.format)
    clean_root, transcripts_file = companions(config)
    texts = read_transcripts(transcripts_file)
    found: dict[str, Found] = {}
    stats: dict[str, list[Any]] = {}
    items = []
    for file in files:
        item_id = ids[file.relative]
        if shard_of(item_id, config.shards) != shard:
            continue
        clean = None if file.problem else reference_of(clean_root, file.relative)
        text = texts.get(file.relative, {})
        found[item_id] = file
        stats[item_id] = [file.shown, file.size, file.stamp, _state(clean)]
        items.append(
            Item(
                id=item_id,
                noisy=str(root / file.shown),
                clean=str(clean) if clean else None,
                output=None if file.problem else outputs[file.relative],
                relative=file.shown,
                transcript=text.get("transcript"),
                conditions={key: text[key] for key in CONDITION_COLUMNS if key in text} or None,
            )
        )

    def process(opened: zipfile.ZipFile | None, item: Item, scratch: Path) -> Made:
        file, path = found[item.id], Path(item.noisy)
        if file.problem:
            raise RejectItem(f"{file.shown}: {file.problem}")
        if opened:
            path = scratch / f"input{PurePosixPath(file.relative).suffix.lower()}"
            try:
                zipped.extract(opened, file.relative, path)
            except AudioRestorerError as error:
                raise RejectItem(str(error)) from error
        try:
            row = inspect(path, config)
            digest = sha256_file(path)
        finally:  # a file that vanished is no bad recording, and the key names the size and time that were found
            if not opened and _size_and_time(item.noisy) != stats[item.id][1:3]:
                raise InputChanged(f"{item.noisy}: removed or replaced while it was read: {AGAIN}")
        row |= {"sha256": digest, "noisy_sha256": digest}
        if item.clean:
            row["clean_sha256"] = sha256_file(item.clean)
        return Made({path.name: path} if opened else {}, row)

    stage: Stage[zipfile.ZipFile | None] = Stage(
        name="ingest",
        settings=[config.ingest.model_dump(include=MEASURED), str(root.resolve())],
        code=code_digest("stages.ingest"),
        load=lambda: zipped.opened(root, config.ingest.max_files) if archive else None,
        process=process,
        describe=_described,
        inputs=lambda item: stats[item.id],
    )
    return run_shard(stage, items, out_manifest, store)


def _size_and_time(path: str) -> list[int]:
    """As `scan` notes them."""
    try:
        info = os.stat(path)
    except OSError:
        return [-1, 0]
    return [info.st_size, info.st_mtime_ns]


def _described(entry: Entry, item: Item) -> Item:
    """The row; an archive's recording lies in the store from here on."""
    path = str(next(iter(entry.files.values()), item.noisy))
    return item.updated(**{**entry.row, "path": path, "noisy": path})


def _state(path: Path | None) -> list[Any] | None:
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
        state = _state(None if file.problem else reference_of(clean_root, file.relative))
        lines.setdefault(shard_of(ids[file.relative], config.shards), []).append(f"{file} {state}")
    return {shard: Listing(short_hash("\n".join(text)), len(text)) for shard, text in sorted(lines.items())}
