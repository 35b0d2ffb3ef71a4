"""Real degraded recordings, without a clean version. They stay in their files; examples are read crop by crop."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audiorestorer import audio
from audiorestorer.datasets.manifest_mixer import segment
from audiorestorer.datasets.splits import split_of
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_objects

Mono = NDArray[np.float32]
LOG = logging.getLogger(__name__)

Split = Literal["train", "valid"]
SPLITS: tuple[Split, Split] = ("train", "valid")
TRIES = 50  # recordings drawn for one crop before all are taken to be bad
SILENCE_RMS = 1e-4  # a crop below it teaches nothing: another is drawn
HEAD_BYTES = 1 << 16  # first bytes of a file that, with its size, identify it


@dataclass(frozen=True)
class _Recording:
    path: Path
    rate: int
    frames: int


class RealRecordings:
    """Crops of recordings, mono at one rate. A recording that cannot be read is named once in the log and left out.

    Args:
        paths: the files by name; the name decides the split.
        sample_rate: rate of the crops.
        hold_out: share of the recordings for `valid`. Where there are too few to share, both splits have all of them.
        min_sec: shorter recordings are left out.

    Raises:
        AudioRestorerError: none can be used.
    """

    def __init__(
        self,
        paths: dict[str, Path],
        sample_rate: int,
        hold_out: float = 0.15,
        min_sec: float = 1.0,
        where: str = "real",
    ) -> None:
        self.sample_rate, self.where = sample_rate, where
        self._bad: set[Path] = set()
        usable = {name: recording for name, path in sorted(paths.items()) if (recording := self._open(path, min_sec))}
        if not usable:
            raise AudioRestorerError(f"{where}: none of its {len(paths)} recordings can be used")
        names = {split: [n for n in usable if split_of(n, (1 - hold_out, hold_out, 0)) == split] for split in SPLITS}
        enough = all(names.values())
        self._splits = {split: [usable[n] for n in (names[split] if enough else usable)] for split in SPLITS}

    @classmethod
    def of(cls, source: Path, sample_rate: int, hold_out: float = 0.15, min_sec: float = 1.0) -> RealRecordings:
        """The recordings of a folder (any depth), or `noisy` of a manifest's rows without `clean`.

        Raises:
            AudioRestorerError: no such folder or manifest, or nothing in it that can be used.
        """
        paths = listed(source) if source.is_file() else audio.below(source)
        if not paths:
            raise audio.none_in(source)
        return cls(paths, sample_rate, hold_out, min_sec, str(source))

    def __len__(self) -> int:
        return len(self._splits["train"])

    @cached_property
    def digest(self) -> str:
        """A hash that changes when a recording is added, removed or replaced; it holds no folder."""
        every = {recording.path: None for split in SPLITS for recording in self._splits[split]}
        lines = [f"{path.name} {path.stat().st_size} {_head(path)}" for path in every]
        return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()

    def sample(self, seed: int, turn: int, count: int, split: Split = "train") -> list[Path]:
        """`count` different recordings (or all) of a split, drawn by (seed, turn) alone."""
        recordings = self._splits[split]
        order = np.random.default_rng((seed, turn, 3)).permutation(len(recordings))
        return [recordings[int(place)].path for place in sorted(order[:count])]

    def crop(self, seed: int, epoch: int, index: int, length: int, split: Split = "train") -> Mono:
        """Samples `[length]` of a recording, drawn by (seed, epoch, index) alone. A short recording is repeated.

        Raises:
            AudioRestorerError: `TRIES` recordings in a row are bad or silent.
        """
        rng = np.random.default_rng((seed, epoch, index, 2))
        recordings = self._splits[split]
        for _ in range(TRIES):
            recording = recordings[int(rng.integers(len(recordings)))]
            available = int(recording.frames * self.sample_rate / recording.rate)
            start = int(rng.integers(0, max(1, available - length + 1)))
            try:
                crop = segment(recording.path, recording.rate, self.sample_rate, start, length)
            except AudioRestorerError as error:
                self._report(recording.path, error)
                continue
            if len(crop) and float(np.sqrt(np.mean(np.square(crop, dtype=np.float64)))) > SILENCE_RMS:
                return np.resize(crop, length)
        raise AudioRestorerError(f"{self.where}: {TRIES} crops in a row cannot be read or are silent")

    def _open(self, path: Path, min_sec: float) -> _Recording | None:
        try:
            info = audio.probe(path)
            if info.duration_sec < min_sec:
                raise AudioRestorerError(f"{path}: {info.duration_sec:.2f} s, shorter than {min_sec:g} s")
        except AudioRestorerError as error:
            self._report(path, error)
            return None
        return _Recording(path, info.sample_rate, info.frames)

    def _report(self, path: Path, error: AudioRestorerError) -> None:
        if path not in self._bad:
            self._bad.add(path)
            LOG.warning("real recordings: left out: %s", error)


def listed(manifest: Path) -> dict[str, Path]:
    """The recordings of a manifest's rows that have no clean side, by id.

    Raises:
        AudioRestorerError: no such manifest, or none of recordings.
    """
    paths = {}
    for number, row in read_objects(manifest):
        if row and not row.get("clean"):
            if "noisy" not in row:
                raise AudioRestorerError(f"{manifest}:{number}: no manifest of recordings (JSON Lines with noisy)")
            paths[str(row.get("id", number))] = manifest.parent / str(row["noisy"])
    return paths


def _head(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()
