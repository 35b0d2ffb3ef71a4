"""ingest: decode the recordings of one shard, each once, and say which of them can be used."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from audiorestorer import audio
from audiorestorer.config import Config
from audiorestorer.digest import code_digest
from audiorestorer.errors import AudioRestorerError, MachineError
from audiorestorer.files import write_json
from audiorestorer.formats import containers, headers, layouts, metadata, video, zipped
from audiorestorer.intake.listing import Found, batch, output_names, root_of, state_of
from audiorestorer.manifest import Item, shard_of
from audiorestorer.stages.inputs import AGAIN, InputChanged
from audiorestorer.stages.shard import ItemResult, RejectItem, Stage, run_shard
from audiorestorer.store import Entry, sha256_file

log = logging.getLogger("audiorestorer")

MAX_FRAMES = 1 << 40  # a year at 34 kHz; libsndfile gives 2^63 - 1 where a FLAC does not say how long it is
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 384_000
MAX_PEAK_DBFS = 200.0  # above 32-bit integers read as they are (187 dBFS): no audio, and its powers leave float32
MEASURED = {
    "min_duration_sec",
    "silence_dbfs",
    "track",
    "channels",
}  # settings that decide over a file; an archive's bounds do not
CODECS = {"MPEG_LAYER_III": "mp3", "MPEG_LAYER_II": "mp2", "MPEG_LAYER_I": "mp1", "OPUS": "opus", "VORBIS": "vorbis"}
DECODED = "decoded.wav"
SOURCE = "source"  # of an archive's video, with its suffix
METADATA = "metadata.json"
RESTORED = "restored.wav"  # the channels of a surround recording that are restored
REFERENCE = "reference.wav"  # the decoded copy of a reference
CONDITION_COLUMNS = ("voice", "music", "snr_db")


def inspect(path: Path, config: Config) -> dict[str, Any]:
    """Decode a file once, in blocks, and measure what decides whether it can be used.

    Returns:
        Row fields: sr, channels, duration, frames, peak_dbfs, rms_dbfs; a note where the header says other than the file holds.

    Raises:
        RejectItem: unreadable, truncated, empty, too short, silent, not finite, or a layout that no stage takes.
    """
    try:
        info = audio.probe(path)
        if not 1 <= info.channels <= layouts.MOST:
            raise RejectItem(f"{info.channels} channels; one to {layouts.MOST} are supported")
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
        "notes": {"header": info.note} if info.note else None,
        **_coding(path, info),
    }


def _coding(path: Path, info: audio.AudioInfo) -> dict[str, Any]:
    """Codec and bit/s of what libsndfile decodes, where it is coded."""
    codec = CODECS.get(info.subtype)
    return {"codec": codec, "bit_rate": round(8 * path.stat().st_size / info.duration_sec)} if codec else {}


def _chosen(path: Path, channels: list[int], target: Path) -> Path:
    info = audio.probe(path)
    audio.write_blocks(
        target,
        (block[channels] for block in audio.blocks(path)),
        info.sample_rate,
        len(channels),
        expected_frames=info.frames,
    )
    return target


def _said(source: Path, known: containers.Decoded | None, folder: Path) -> tuple[dict[str, Path], str | None]:
    """What a recording says of itself, as a file for the store (none where it says nothing), and what could not be read of it."""
    found, problem = metadata.read(source)
    if not found.texts:
        found.texts = {name: [text] for name, text in known.texts} if known else _plain_texts(source)
    if not found:
        return {}, problem
    path = folder / METADATA
    write_json(path, found.to_json())
    return {METADATA: path}, problem


def _plain_texts(source: Path) -> dict[str, list[str]]:
    return {name: [text] for name, text in audio.texts_of(source).items()}


def _readable(path: Path, copy: Path, track: int | None = None) -> tuple[containers.Decoded | None, Path]:
    """The recording itself, or where libsndfile does not read it a decoded copy and what is known of it.

    Raises:
        RejectItem: it cannot be decoded.
    """
    try:
        kind = audio.coded(path)
        return (containers.decoded(path, copy, kind, track), copy) if kind else (None, path)
    except MachineError:
        raise
    except AudioRestorerError as error:
        raise RejectItem(str(error).removeprefix(f"{path}: ")) from error


def _reference(path: str, scratch: Path) -> Path:
    """A reference as it is, or its decoded copy. What cannot be decoded stays: the evaluation says why it has no figures."""
    try:
        return _readable(Path(path), scratch / REFERENCE)[1]
    except RejectItem:
        return Path(path)


def _reject_misleading(path: Path, info: audio.AudioInfo) -> None:
    """A file that holds more than its decoder reads, without a word. What headers miscount is mended, or refused (`mending`)."""
    if info.format == "OGG" and headers.ogg_is_chained(path):
        raise RejectItem("several Ogg streams one after another, of which one would be read: split it")


def run(out_manifest: Path, config: Config, shard: int, store: Path) -> list[Item]:
    """Write one shard's manifest: a row for every recording of the input whose id falls into the shard.

    The input's folder is only read. Of an archive, the shard's members are unpacked into the store.
    """
    root = root_of(config.input)
    archive = zipped.is_zip(root)
    given = batch(config)
    shards = given.shard_count(config.shards, None)
    outputs = output_names(
        [file.relative for file in given.files], config.loudness.format, config.loudness.video == "keep"
    )
    found: dict[str, Found] = {}
    stats: dict[str, list[Any]] = {}
    items = []
    for file in given.files:
        item_id = given.ids[file.relative]
        if shard_of(item_id, shards) != shard:
            continue
        clean = given.references.get(file.relative)
        text = given.texts.get(file.relative, {})
        found[item_id] = file
        stats[item_id] = [file.shown, file.size, file.stamp, state_of(clean)]
        items.append(
            Item(
                id=item_id,
                noisy=str(root / file.shown.lstrip("/")),  # an archive's member may have an absolute name
                clean=str(clean) if clean else None,
                output=None if file.problem else outputs[file.relative],
                relative=file.shown,
                transcript=text.get("transcript"),
                conditions={key: text[key] for key in CONDITION_COLUMNS if key in text} or None,
                notes=given.notes.get(file.relative),
            )
        )

    def process(opened: zipped.Archive | None, item: Item, scratch: Path) -> ItemResult:
        file, path = found[item.id], Path(item.noisy)
        if file.problem:
            raise RejectItem(f"{file.shown}: {file.problem}")
        if opened:
            path = scratch / f"input{PurePosixPath(file.relative).suffix.lower()}"
            try:
                zipped.extract(opened, file.relative, path)
            except AudioRestorerError as error:
                raise RejectItem(str(error)) from error
        kept, source = {path.name: path} if opened else {}, path
        try:
            known, path = _readable(path, scratch / DECODED, config.ingest.track)
            row = inspect(path, config)
            digest = sha256_file(path)
            said, problem = _said(source, known, scratch)
        finally:  # a file that vanished is no bad recording, and the key names the size and time that were found
            if not opened and _size_and_time(item.noisy) != stats[item.id][1:3]:
                raise InputChanged(f"{item.noisy}: removed or replaced while it was read: {AGAIN}")
        if known:  # the copy takes the recording's place
            is_video = PurePosixPath(item.relative or "").suffix.lower() in video.CONTAINERS
            kept = {DECODED: path, **({SOURCE + source.suffix: source} if opened and is_video else {})}
            if is_video:
                row |= {"source_sha256": sha256_file(source), "track": known.track, "track_start_sec": known.start_sec}
            row |= {"codec": known.codec, "bit_rate": None if known.lossless else known.bit_rate}
        said_of_it = {"header": known.note if known else None, "tags": problem}
        row["notes"] = {**(row["notes"] or {}), **{name: text for name, text in said_of_it.items() if text}} or None
        kept |= said
        if row["channels"] > 2:
            row |= {
                "whole_sha256": digest,
                "restored_channels": layouts.restored(row["channels"], config.ingest.channels),
            }
            kept[RESTORED] = _chosen(path, row["restored_channels"], scratch / RESTORED)
            digest = sha256_file(kept[RESTORED])
        row |= {"sha256": digest, "noisy_sha256": digest}
        if opened and (note := opened.notes.get(file.relative)):
            notes = row["notes"] or {}
            row["notes"] = {**notes, "header": "; ".join(filter(None, (note, notes.get("header"))))}
        if item.clean:
            reference = _reference(item.clean, scratch)
            row["clean_sha256"] = sha256_file(reference)
            kept |= {REFERENCE: reference} if str(reference) != item.clean else {}
        return ItemResult(kept, row)

    stage: Stage[zipped.Archive | None] = Stage(
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
    """The row; a recording of an archive, or one that was decoded, lies in the store from here on."""
    files = {name: str(path) for name, path in entry.files.items()}
    clean, said = files.pop(REFERENCE, item.clean), files.pop(METADATA, None)
    chosen = files.pop(RESTORED, None)
    decoded = files.pop(DECODED, None)
    source = next((files.pop(name) for name in list(files) if name.startswith(f"{SOURCE}.")), item.noisy)
    whole = decoded or next(iter(files.values()), item.noisy)
    path = chosen or whole
    return item.updated(
        whole=whole if chosen else None,
        source=source
        if PurePosixPath(item.output or "").suffix.lower() in video.CONTAINERS and "track" in entry.row
        else None,
        **{
            **entry.row,
            "path": path,
            "noisy": path,
            "clean": clean,
            "metadata": said,
            "metadata_sha256": entry.sha256.get(METADATA),
        },
    )
