"""The sets of the ablation: clean recordings dealt to four roles, stand-ins for real recordings, and test items of two conditions.

Three generators that never meet: training draws pairs from `degradations`; the stand-ins, heard without their clean side, come from
`stand_ins`; the condition `unseen` comes from `degradations_held_out`. `like_real` is the stand-ins' generator on other voices.
A recording depends on (seed, role, number) alone, and no voice or track has two roles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.datasets import generated
from audiorestorer.datasets.degradation import held_out as degradations_held_out
from audiorestorer.datasets.degradation import stand_ins
from audiorestorer.datasets.degradation.degradations import Degraded
from audiorestorer.datasets.splits import split_of
from audiorestorer.datasets.training_manifest import check_manifest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.tables import read_table

ROLES = ("train", "valid", "real", "test")
VOICES = {
    "flite:awb": "test", "espeak:en-gb-x-rp+Alicia": "test", "espeak:en-us-nyc+victor": "real", "espeak:en-gb-x-rp+linda": "real",
}  # fmt: skip
# Roles of the generated tracks, in turns
TRACK_ROLES = ("train", "train", "test", "train", "real", "train", "test", "valid")
TRACK_SEC = 6.0
STAND_IN_SEC = 12.0
REAL_SHARE = 0.25  # share of a user's training recordings that stand-ins are made of
LEAST_SEC = 1.0
SILENCE_RMS = 1e-3
TRIES = 20
PEAK = 0.7
UNSEEN, LIKE_REAL = "unseen", "like_real"


@dataclass(frozen=True)
class Source:
    """A clean recording: `audio` `[1, T]`, or its file."""

    id: str
    role: str
    path: Path | None = None
    audio: Audio | None = None

    def read(self, sample_rate: int) -> Audio:
        """`[1, T]` at a rate.

        Raises:
            AudioRestorerError: unreadable, or not finite.
        """
        if self.audio is not None:
            return self.audio
        assert self.path is not None
        mono = audio.read_mono(self.path, sample_rate)
        if not np.isfinite(mono).all():
            raise AudioRestorerError(f"{self.path}: holds NaN or infinite samples")
        return mono[None]


def pilot(folder: Path, tracks: int, sample_rate: int, seed: int) -> list[Source]:
    """The speech of `FOLDER/clean`, by the voices in `FOLDER/transcripts.tsv`, and generated tracks.

    Raises:
        AudioRestorerError: no such table, or a recording that it names is missing.
    """
    sources = []
    for number, (name, voice) in enumerate(_voices(folder / "transcripts.tsv")):
        recording = Source(
            f"speech{number:02d}", VOICES.get(voice, "train"), (folder / "clean" / name).with_suffix(".flac")
        )
        sources.append(replace(recording, path=None, audio=recording.read(sample_rate)))
    for number in range(tracks):
        stems = generated.stems_of(np.random.default_rng((seed, 4, number)), TRACK_SEC, sample_rate)
        role = TRACK_ROLES[number % len(TRACK_ROLES)]
        sources.append(Source(f"track{number:03d}", role, audio=generated.mixed(stems)[None]))
    return sources


def of_manifest(manifest: Path, *, keep_some: bool, seed: int) -> list[Source]:
    """A training manifest's recordings by their splits; with `keep_some`, stand-ins are made of a quarter of the training groups.

    Raises:
        AudioRestorerError: the manifest cannot be used, or a role has no recording.
    """
    rows = check_manifest(manifest, splits=("train", "valid", "test"), min_sec=LEAST_SEC)
    sources = []
    for row in rows:
        group = row.speaker or row.track or row.id
        hold = keep_some and row.split == "train" and split_of(group, (1 - REAL_SHARE, REAL_SHARE, 0), seed) == "valid"
        sources.append(Source(row.id, "real" if hold else row.split, row.clean_path(manifest.parent)))
    wanted = [role for role in ROLES if role != "real" or keep_some]
    empty = [role for role in wanted if not any(source.role == role for source in sources)]
    if empty:
        raise AudioRestorerError(f"{manifest}: no recording is left for {', '.join(empty)}: too few speakers or tracks")
    return sources


def of_role(sources: Sequence[Source], role: str) -> list[Source]:
    return [source for source in sources if source.role == role]


def stand_in(sources: Sequence[Source], number: int, sample_rate: int, seed: int) -> Degraded:
    """Recording `number` of the shelf, at most 12 s."""
    clean = sources[number % len(sources)].read(sample_rate)
    rng = np.random.default_rng((seed, 1, number))
    part = _part(rng, clean, int(STAND_IN_SEC * sample_rate))
    return _scaled(stand_ins.degrade(part, sample_rate, rng))


def item_of(
    sources: Sequence[Source], condition: str, number: int, seconds: float, sample_rate: int, seed: int
) -> tuple[Source, Degraded]:
    """Item `number` of a condition, and the clean recording that it was made of."""
    source = sources[number % len(sources)]
    rng = np.random.default_rng((seed, 2 if condition == UNSEEN else 3, number))
    part = _part(rng, source.read(sample_rate), int(seconds * sample_rate))
    if condition == UNSEEN:
        degraded = degradations_held_out.degrade(part, sample_rate, degradations_held_out.HeldOutSettings(), rng)
    else:
        degraded = stand_ins.degrade(part, sample_rate, rng)
    return source, _scaled(degraded)


def _voices(table: Path) -> list[tuple[str, str]]:
    rows = read_table(table, {"path": ("path",), "voice": ("voice",)}).rows
    return [(row.cells.get("path", ""), row.cells.get("voice", "")) for row in rows]


def _part(rng: np.random.Generator, clean: Audio, length: int) -> Audio:
    """A stretch that is not silent, if one of `TRIES` draws finds one; the whole of a shorter recording."""
    part = clean[:, :length]
    for _ in range(TRIES):
        start = int(rng.integers(0, max(1, clean.shape[1] - length + 1)))
        part = clean[:, start : start + length]
        if float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))) > SILENCE_RMS:
            break
    return part


def _scaled(degraded: Degraded) -> Degraded:
    """The example scaled so that the degraded recording's peak is 0.7."""
    peak = float(np.abs(degraded.noisy).max(initial=0.0))
    scale = np.float32(PEAK / peak) if peak > 1e-5 else np.float32(1)
    noisy: NDArray[np.float32] = degraded.noisy * scale
    record: dict[str, Any] = {**degraded.record, "scale": float(scale)}
    return Degraded(noisy, degraded.target * scale, record, degraded.impulses)
