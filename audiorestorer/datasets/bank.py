"""All decoded training audio as one memory-mapped int16 array: no decoding per item, no copy per worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiorestorer import audio
from audiorestorer.datasets.mixtures import Bank, Mono
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_objects
from audiorestorer.store import Store, key_of


@dataclass(frozen=True)
class Clip:
    """The place of one recording in the array."""

    start: int
    length: int
    label: str


class AudioBank(Bank[Clip]):
    """Recordings of a folder with an `index.jsonl` (path, kind `speech` | `music`, label, split), mono at one rate.

    Args:
        data: the folder.
        cache: folder for the decoded array (made once, keyed by the index's content and the rate); None: into memory.
        split: only this split's recordings.

    Raises:
        AudioRestorerError: no index, or a row without the fields.
    """

    def __init__(self, data: Path, cache: Path | None, sample_rate: int, split: str | None = None) -> None:
        super().__init__(sample_rate)
        index = Path(data) / "index.jsonl"
        try:
            text = index.read_text(encoding="utf-8")
        except OSError as error:
            raise AudioRestorerError(
                f"{index}: {error.strerror}: make it with scripts/audio/make_training_audio.py"
            ) from error
        rows = _rows(index, split)
        if cache is None:
            parts = _decode(Path(data), rows, sample_rate)
            self._samples, lengths = np.concatenate(parts), [len(part) for part in parts]
        else:
            key = key_of(sample_rate=sample_rate, split=split, index=text)
            self._samples, lengths = _cached(Store(cache, "bank"), key, Path(data), rows, sample_rate)
        start = 0
        for row, length in zip(rows, lengths, strict=True):
            self._clips.setdefault((row["kind"], row["split"]), []).append(Clip(start, length, row["label"]))
            start += length

    def read(self, clip: Clip, start: int = 0, length: int | None = None) -> Mono:
        """Samples of a recording as float32 `[n]`."""
        stop = clip.length if length is None else min(clip.length, start + length)
        return self._samples[clip.start + start : clip.start + stop].astype(np.float32) / np.float32(32768)


def _rows(index: Path, split: str | None) -> list[dict[str, str]]:
    """The index's rows of a split; raises AudioRestorerError where one is no JSON or lacks a field."""
    rows = []
    for number, row in read_objects(index):
        missing = {"path", "kind", "label", "split"} - set(row)
        if missing:
            raise AudioRestorerError(f"{index}:{number}: lacks {', '.join(sorted(missing))}")
        if split in (None, row["split"]):
            rows.append(row)
    if not rows:
        raise AudioRestorerError(f"{index}: no recordings" + (f" in split {split!r}" if split else ""))
    return rows


def _decode(data: Path, rows: list[dict[str, str]], sample_rate: int) -> list[NDArray[np.int16]]:
    parts = []
    for row in rows:
        mono = audio.read_mono(data / row["path"], sample_rate)
        parts.append((np.clip(mono, -1, 32767 / 32768) * 32768).round().astype(np.int16))
    return parts


def _cached(
    store: Store, key: str, data: Path, rows: list[dict[str, str]], sample_rate: int
) -> tuple[NDArray[np.int16], list[int]]:
    """The memory-mapped samples of all rows and the length of each; made at the first call, and again where it is damaged."""
    entry = store.get(key)
    if entry is None:
        parts = _decode(data, rows, sample_rate)
        with store.scratch() as scratch:
            samples = scratch / "samples.npy"
            np.save(samples, np.concatenate(parts))
            entry = store.put(key, {samples.name: samples}, {"lengths": [len(part) for part in parts]})
    return np.load(entry.files["samples.npy"], mmap_mode="r"), entry.row["lengths"]
