"""Manifests: one JSON Lines file per (stage, shard), one row per item. No torch import."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import MADE_AGAIN, read_rows, text_line, write_text_atomic
from audiorestorer.names import folded, short_hash

ESCAPED_SURROGATE = "\\ud"
NAME_MAX_BYTES = 255  # of a file name, on all common file systems
# The fields of a row that name files (a path, or lists and mappings of paths), and the field that holds their SHA-256. A stage that
# adds such a field adds it here: its files are then checked before they are read, and `store prune` keeps them.
FILE_FIELDS: Mapping[str, str | None] = {
    "noisy": "noisy_sha256",
    "clean": "clean_sha256",
    "path": "sha256",
    "mixture": "mixture_sha256",
    "stems": None,
    "estimates": "estimates_sha256",
    "metadata": "metadata_sha256",
    "whole": "whole_sha256",
    "measured": "measured_sha256",
    "source": "source_sha256",
}
ID_MAX_CHARS = 120  # a file name of 255 bytes, less suffixes and a hash


class Item(BaseModel):
    """One row. `path` is the file that the last stage made; `noisy` stays the original input.

    `sr`, `channels` and `duration` are the input's and stay so through the whole chain. `relative` is the input's path below the input
    folder, `conditions` holds further cells of its transcript row (voice, music, snr_db). `sha256` is the content of `path`,
    `noisy_sha256` and `clean_sha256` that of the input and of its reference. `output` is the relative path of the cleaned file.
    `status` is `ok` or `rejected`; a rejected row carries `reason` and is passed on by every later stage.
    `notes` tells a user about a row that went through: a sentence per kind (`header`, `reference`, `clipping`, `loudness`, `speech`).

    A stage declares here what it adds to a row; an unknown field is an error. A field that is None is not written.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    split: str = "render"
    clean: str | None = None
    noisy: str
    relative: str | None = None
    conditions: dict[str, str] | None = None
    sr: int | None = None
    duration: float | None = None
    path: str | None = None
    sha256: str | None = None
    channels: int | None = None
    noisy_sha256: str | None = None
    clean_sha256: str | None = None
    output: str | None = None
    transcript: str | None = None
    status: str = "ok"
    reason: str | None = None
    notes: dict[str, str] | None = None

    # ingest; of a coded recording its codec (FFmpeg's name) and bit/s
    codec: str | None = None
    bit_rate: int | None = None
    # of a video the file itself, the number of its sound track and when that begins
    source: str | None = None
    source_sha256: str | None = None
    track: int | None = None
    track_start_sec: float | None = None
    # of more than two channels: the whole recording, which of its channels are restored (`noisy` holds those), and the same channels
    # of the output
    whole: str | None = None
    whole_sha256: str | None = None
    restored_channels: list[int] | None = None
    measured: str | None = None
    measured_sha256: str | None = None
    # what the recording says of itself (`formats.metadata`), where it says something
    metadata: str | None = None
    metadata_sha256: str | None = None
    frames: int | None = None
    peak_dbfs: float | None = None
    rms_dbfs: float | None = None
    # declip, declick: the recording that is not clipped any more, and has no clicks
    mixture: str | None = None
    mixture_sha256: str | None = None
    # separate; `estimates` joins the separators' (vocals, accompaniment or None) for fuse
    stems: dict[str, str] | None = None
    estimates: list[tuple[str, str | None]] | None = None
    estimates_sha256: list[str | None] | None = None
    # denoise
    high_band: str | None = None
    denoiser_nyquist_hz: float | None = None
    # enhance
    enhanced: bool | None = None
    unenhanced: str | None = None
    found: list[str] | None = None
    enhance_wer: float | None = None
    enhance_reason: str | None = None
    # loudness; the gain also of the commands over a folder
    gain_db: float | None = None
    limited: bool | None = None
    target_lufs: float | None = None
    input_lufs: float | None = None
    output_lufs: float | None = None
    true_peak_dbtp: float | None = None
    loudest_in_lufs: float | None = None
    loudest_out_lufs: float | None = None
    taken_db: float | None = None
    # publish: where the file lies, and why one that was there already was kept
    published: str | None = None
    published_kept: str | None = None
    # evaluate; `view` only in memory
    examined: dict[str, Any] | None = None
    reference_delay_ms: float | None = None
    metrics: dict[str, Any] | None = None
    missing: dict[str, Any] | None = None
    heard: dict[str, Any] | None = None
    view: Any = None
    # evaluate-enhancer
    condition: str | None = None
    figures: dict[str, Any] | None = None
    fallback: bool | None = None

    @property
    def given(self) -> str:
        """What the stages take for the mixture: the recording, or what was made of it before the separators."""
        return self.mixture or self.noisy

    @property
    def given_sha256(self) -> str | None:
        return self.mixture_sha256 or self.noisy_sha256

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    def updated(self, **changes: Any) -> Item:
        """A copy with these fields changed; `notes` are added to those that the row has."""
        if self.notes and "notes" in changes:
            changes["notes"] = {**self.notes, **(changes["notes"] or {})}
        return Item.model_validate({**self.model_dump(), **changes})

    def rejected(self, reason: str) -> Item:
        return self.updated(status="rejected", reason=reason)


def shard_of(item_id: str, shards: int) -> int:
    """The shard of an item: a stable hash modulo `shards`, so that adding a file touches one shard only."""
    return int(hashlib.sha1(item_id.encode()).hexdigest(), 16) % shards


def draw(item_id: str, seed: int) -> str:
    """A random number of an item: the items with the lowest ones are a sample, which other items do not change."""
    return hashlib.sha256(f"{seed} {item_id}".encode()).hexdigest()[:16]


def item_id(relative: str, separator: str = "_") -> str:
    """A readable id of a relative path: `a/b/c.wav -> a_b_c`. Only letters, digits, `_`, `-` and `.` remain.

    Not unique by itself: `unique_ids` resolves collisions.
    """
    stem = unicodedata.normalize("NFC", os.path.splitext(relative)[0])
    name = separator.join(part for part in stem.split("/") if part)
    name = re.sub(r"[^\w.-]", "_", name).lstrip(".-") or "item"
    if len(name.encode()) > ID_MAX_CHARS:
        name = name.encode()[: ID_MAX_CHARS - 9].decode(errors="ignore") + "_" + short_hash(relative)
    return name


def unique_ids(relatives: Sequence[str], separator: str = "_") -> dict[str, str]:
    """Ids of relative paths; those whose plain ids are equal (case folded too) all get a short hash of their path."""
    plain = {relative: item_id(relative, separator) for relative in relatives}
    count = Counter(folded(name) for name in plain.values())
    return {
        relative: name if count[folded(name)] == 1 else f"{name}-{short_hash(relative)}"
        for relative, name in plain.items()
    }


def output_names(wanted: Mapping[str, str]) -> dict[str, str]:
    """Outputs by their input's relative path, no two alike (case folded too).

    Args:
        wanted: the output of each input by itself. Where several inputs want one name, the input that has it already keeps it, and
            the others get a short hash of their path (`a.ogg -> a-1b2c3d4e.flac`). A name that its suffix makes too long for a file
            system is cut, and gets a hash too.
    """
    names = dict(wanted)
    taken = Counter(folded(name) for name in names.values())
    for relative, name in wanted.items():
        path = PurePosixPath(name)
        if taken[folded(name)] > 1 and name != relative or len(os.fsencode(path.name)) > NAME_MAX_BYTES:
            end = f"-{short_hash(relative)}{path.suffix}"
            stem = os.fsencode(path.stem)[: NAME_MAX_BYTES - len(end)].decode(errors="ignore")
            names[relative] = str(path.with_name(stem + end))
    return names


def write_manifest(path: str | Path, items: Iterable[Item]) -> None:
    """Write rows, sorted by id, atomically. An empty shard is a file with one comment-free blank line (never zero bytes).

    Raises:
        AudioRestorerError: a text that is not UTF-8; the file is left as it was.
    """
    rows = [item.model_dump(exclude_none=True) for item in sorted(items, key=lambda item: item.id)]
    lines = [json.dumps(row, ensure_ascii=True, sort_keys=True) for row in rows]
    for row, line in zip(rows, lines, strict=True):
        if ESCAPED_SURROGATE in line:  # of a character beyond the first 65,536, or of a byte that is no UTF-8
            text_line(path, json.dumps(row, ensure_ascii=False))
    write_text_atomic(path, "\n".join(lines) + "\n")


def read_manifest(path: str | Path) -> list[Item]:
    """Read rows.

    Raises:
        AudioRestorerError: the file is missing, or a line is no valid row (names file, line and reason), or an id stands twice.
    """
    items: dict[str, Item] = {}
    try:
        for number, item in read_rows(path, Item):
            if item.id in items:
                raise AudioRestorerError(f"{path}:{number}: id {item.id!r} stands twice")
            items[item.id] = item
        if not os.path.getsize(path):
            raise AudioRestorerError(f"{path}: an empty file is no manifest")
    except AudioRestorerError as error:
        raise AudioRestorerError(f"{error}; {MADE_AGAIN}") from error
    return list(items.values())


def shard_range(numbers: Iterable[int]) -> str:
    """Shard numbers as one short text, `[0-3,7]`: a command line cannot hold a path for each of many thousands."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return "[" + ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts) + "]"


def in_range(paths: Iterable[Path]) -> list[Path]:
    """Paths, of which those whose name is a `shard_range` and a suffix stand for each of its shards."""
    out: list[Path] = []
    for path in paths:
        shards = re.fullmatch(r"\[(\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)\](\.\w+)", path.name)
        if not shards:
            out.append(path)
            continue
        for part in shards[1].split(","):
            first, _, last = part.partition("-")
            out += [path.with_name(f"{number}{shards[2]}") for number in range(int(first), int(last or first) + 1)]
    return out


def read_manifests(paths: Iterable[str | Path]) -> list[Item]:
    """The rows of several shards, sorted by id."""
    return sorted((item for path in paths for item in read_manifest(path)), key=lambda item: item.id)
