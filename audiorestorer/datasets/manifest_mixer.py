"""Mixtures from manifests: clean recordings (or noisy/clean pairs) and noises stay in their files and are read segment by
segment, so that memory does not grow with the data set. `datasets.mixtures.Mixer` mixes the segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from audiorestorer import audio
from audiorestorer.datasets.levels import snr_db
from audiorestorer.datasets.mixtures import Bank, Example, Mixer, MixtureSettings, Mono, Task
from audiorestorer.datasets.training_manifest import NoiseRow, Row
from audiorestorer.errors import AudioRestorerError


@dataclass(frozen=True)
class FileClip:
    """One recording in its file; `length` in samples at the bank's rate, `noisy` the other half of a pair."""

    path: Path
    length: int
    rate: int
    noisy: Path | None = None


class ManifestBank(Bank[FileClip]):
    """Segments of the recordings of a training manifest and a noise manifest, mono at one rate.

    Args:
        rows: rows of the training manifest (checked by `check_manifest`); its relative paths start from the folder `base`.
        sample_rate: rate of the segments; a file of another rate is resampled segment by segment.
        noises: rows of the noise manifest; its relative paths start from `noise_base`.
        rooms: a folder of impulse responses.
    """

    source = "the manifest"

    def __init__(
        self,
        rows: Sequence[Row],
        base: Path,
        sample_rate: int,
        noises: Sequence[NoiseRow] = (),
        noise_base: Path | None = None,
        rooms: Path | None = None,
    ) -> None:
        super().__init__(sample_rate)
        for row in rows:
            self._add("speech", row.split, row.clean_path(base), row.sr, row.duration, row.noisy_path(base))
        for noise in noises:
            self._add("noise", noise.split, noise.audio_path(noise_base or base), noise.sr, noise.duration)
        for path in audio.below(Path(rooms)).values() if rooms else ():
            info = audio.probe(path)
            for split in ("train", "valid", "test"):
                self._add("rir", split, path, info.sample_rate, info.duration_sec)
        if rooms and not self.has("rir", "train"):
            raise AudioRestorerError(f"{rooms}: no impulse responses ({', '.join(audio.SUFFIXES)})")

    def _add(self, kind: str, split: str, path: Path, rate: int, duration: float, noisy: Path | None = None) -> None:
        length = int(duration * self.sample_rate)
        self._clips.setdefault((kind, split), []).append(FileClip(path, length, rate, noisy))

    def read(self, clip: FileClip, start: int = 0, length: int | None = None) -> Mono:
        """Samples of a recording as float32 `[n]`, channels averaged.

        Raises:
            AudioRestorerError: unreadable, or not finite; names the file.
        """
        length = clip.length - start if length is None else length
        return segment(clip.path, clip.rate, self.sample_rate, start, length)

    def pair(self, clip: FileClip, start: int, length: int) -> tuple[Mono, Mono]:
        """The same samples of a pair's noisy and clean recording."""
        assert clip.noisy is not None
        noisy = segment(clip.noisy, clip.rate, self.sample_rate, start, length)
        clean = self.read(clip, start, length)
        size = min(len(noisy), len(clean))
        return noisy[:size], clean[:size]


def segment(path: Path, rate: int, wanted_rate: int, start: int, length: int) -> Mono:
    """Part of a file at a rate, mono `[n]`; `start` and `length` count at that rate, `rate` is the file's.

    Raises:
        AudioRestorerError: unreadable, or not finite; names the file.
    """
    factor = rate / wanted_rate
    parts = [
        block.mean(axis=0, dtype=np.float32)
        for block in audio.blocks(path, start=round(start * factor), frames=int(np.ceil(length * factor)))
    ]
    mono = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not np.isfinite(mono).all():
        raise AudioRestorerError(f"{path}: holds NaN or infinite samples")
    if rate != wanted_rate and len(mono):
        mono = soxr.resample(mono, rate, wanted_rate)
    return np.asarray(mono[:length], np.float32)


class ManifestMixer(Mixer):
    """`Mixer` over manifests; rows with a noisy recording of their own give that pair instead of a mixture."""

    bank: ManifestBank

    def __init__(
        self,
        bank: ManifestBank,
        settings: MixtureSettings,
        task: Task,
        seed: int,
        split: str = "train",
        epochs: int = 0,
    ) -> None:
        super().__init__(bank, settings, task, seed, split, epochs)
        self._pairs = [clip for clip in self._speech if clip.noisy is not None]
        self._speech = [clip for clip in self._speech if clip.noisy is None] or self._speech
        self._pair_share = len(self._pairs) / max(1, len(bank.clips("speech", split)))

    def example(self, epoch: int, index: int) -> Example:
        """One mixture with its target, or one segment of a pair."""
        rng = np.random.default_rng((self.seed, epoch, index, 1))
        if rng.random() < self._pair_share:
            return self._pair(rng)
        return super().example(epoch, index)

    def _pair(self, rng: np.random.Generator) -> Example:
        clip: Any = self._pairs[int(rng.integers(len(self._pairs)))]
        start = int(rng.integers(0, max(1, clip.length - self.length)))
        noisy, clean = (np.pad(x, (0, self.length - len(x))) for x in self.bank.pair(clip, start, self.length))
        peak = float(np.abs(noisy).max())
        scale = np.float32(10 ** (rng.uniform(*self.settings.gain_db) / 20) / peak) if peak > 1e-5 else np.float32(1)
        return Example(noisy * scale, clean * scale, snr_db(clean, noisy - clean, self.bank.sample_rate))
