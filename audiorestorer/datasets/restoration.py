"""Examples for restoration: clean recordings that a model of old records degrades, alone or among crops of real ones.

An example depends on (seed, epoch, index) alone, as in `datasets.mixtures`.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from audiorestorer.datasets.degradation.analysis import measure
from audiorestorer.datasets.degradation.degradations import Degraded, degrade, together
from audiorestorer.datasets.degradation.fit import degradation_settings
from audiorestorer.datasets.degradation.settings import DegradationSettings
from audiorestorer.datasets.levels import snr_db
from audiorestorer.datasets.mixtures import Bank, Example, Mixer, MixtureDataset, MixtureSettings, Task
from audiorestorer.datasets.real import RealRecordings
from audiorestorer.errors import AudioRestorerError

LOG = logging.getLogger(__name__)
Wave = NDArray[np.float32]
Analyse = Callable[[Sequence[Path]], DegradationSettings]
GOLDEN = (
    0.6180339887498949  # its multiples, less their whole part, fill [0, 1) evenly: every batch is near the wanted ratio
)


class DegradationMixer(Mixer):
    """Clean speech and music of a bank, coloured as `Mixer` does, through the degradation model instead of noises.

    It uses segment_sec, speed, equaliser, reverb, gain_db and pure_speech (here: noisy is the target) of `MixtureSettings`.
    """

    def __init__(
        self,
        bank: Bank[Any],
        settings: MixtureSettings,
        degradations: DegradationSettings,
        seed: int,
        split: str = "train",
        task: Task = "denoise",
    ) -> None:
        super().__init__(bank, settings, task, seed, split)
        self.degradations = degradations
        self._followed: tuple[DegradationSettings, float] | None = None
        self._clean = [*self._speech, *self._music]

    def following(self, distribution: DegradationSettings, share: float) -> DegradationMixer:
        """A mixer that draws this share of the examples from another distribution."""
        other = copy.copy(self)
        other._followed = (distribution, share)
        return other

    def degraded(self, epoch: int, index: int) -> Degraded:
        """One example `[1, T]` with its impulses and its record: every number that was drawn, and the final gain `scale`."""
        rng = np.random.default_rng((self.seed, epoch, index))
        clean = self._coloured(rng, self._cut(rng, self._clean, gap=True))
        own = rng.random() < self.settings.pure_speech
        law = self.degradations
        if self._followed is not None and rng.random() < self._followed[1]:
            law = self._followed[0]
        level_db = rng.uniform(*self.settings.gain_db)
        example = degrade(clean[None], self.bank.sample_rate, law, rng)
        if own:
            example = replace(example, noisy=example.target, record={}, impulses=together([]))
        peak = float(np.abs(example.noisy).max())
        scale = np.float32(10 ** (level_db / 20) / peak) if peak > 1e-5 else np.float32(1)
        return replace(
            example,
            noisy=example.noisy * scale,
            target=example.target * scale,
            impulses=replace(example.impulses, amplitudes=example.impulses.amplitudes * scale),
            record={**example.record, "scale": float(scale)},
        )

    def example(self, epoch: int, index: int) -> Example:
        """One degraded recording with its target; the SNR is that of the target over all added noise."""
        degraded = self.degraded(epoch, index)
        noisy, target = degraded.noisy[0], degraded.target[0]
        return Example(noisy, target, snr_db(target, noisy - target, self.bank.sample_rate))


class FollowRecordings:
    """This project's analysis: from recordings to the distribution that follows them. Each recording is measured once.

    Args:
        base: distribution of the artefacts that no recording shows.
    """

    def __init__(self, base: DegradationSettings) -> None:
        self.base = base
        self._rows: dict[Path, dict[str, Any] | None] = {}

    def __call__(self, paths: Sequence[Path]) -> DegradationSettings:
        """Raises AudioRestorerError: none of them can be analysed."""
        rows = [row for path in paths if (row := self._row(path))]
        if not rows:
            raise AudioRestorerError(f"none of {len(paths)} recordings can be analysed")
        return degradation_settings(rows, self.base)

    def _row(self, path: Path) -> dict[str, Any] | None:
        if path not in self._rows:
            try:
                self._rows[path] = measure(path).row()
            except AudioRestorerError as error:
                LOG.warning("adaptive: left out of the analysis: %s", error)
                self._rows[path] = None
        return self._rows[path]


class AdaptiveArtifactDataset(MixtureDataset):
    """Examples whose degradations are distributed as those of the real recordings, analysed anew every `every_epochs` epochs.

    Args:
        analyse: from recordings to the distribution that follows them.
        every_epochs: epochs from one analysis to the next; each takes `recordings` others, drawn by the mixer's seed.
        share: share of the examples that follow the analysis; the others keep the mixer's own distribution.
    """

    mixer: DegradationMixer

    def __init__(
        self,
        mixer: DegradationMixer,
        real: RealRecordings,
        analyse: Analyse,
        size: int,
        every_epochs: int = 10,
        recordings: int = 16,
        share: float = 1.0,
        repeat: int = 0,
    ) -> None:
        super().__init__(mixer, 0, size, repeat)
        self.base, self.real, self.analyse = mixer, real, analyse
        self.every_epochs, self.recordings, self.share = every_epochs, recordings, share
        self.distribution: DegradationSettings | None = None
        self._turn: int | None = None

    def set_epoch(self, epoch: int) -> None:
        """Analyse where this epoch is due; if that fails, the distribution is the mixer's own."""
        self.epoch = epoch
        turn = epoch // self.every_epochs
        if turn == self._turn:
            return
        self._turn = turn
        paths = self.real.sample(self.base.seed, turn, self.recordings)
        try:
            self.distribution = self.analyse(paths)
            LOG.info("adaptive: from epoch %d on the degradations follow %d recordings", epoch + 1, len(paths))
        except AudioRestorerError as error:
            LOG.warning("adaptive: the real recordings cannot be analysed, the distribution stays: %s", error)
            self.distribution = None
        self.mixer = self.base if self.distribution is None else self.base.following(self.distribution, self.share)


class MixedRestorationDataset(Dataset[tuple[Wave, Wave, bool]]):
    """Synthetic pairs and real crops: `(mixture [1, T], target [1, T], real)`; a real crop's target is silence that nobody uses.

    Args:
        synthetic: source of the pairs.
        ratio: from a step of the training to the share of synthetic examples in its batch. The synthetic ones come first.
        batch: examples per step, over all devices.
        seed: seed of the crops.
    """

    def __init__(
        self, synthetic: MixtureDataset, real: RealRecordings, ratio: Callable[[int], float], batch: int, seed: int
    ) -> None:
        self.synthetic, self.real, self.ratio, self.batch, self.seed = synthetic, real, ratio, batch, seed

    def set_epoch(self, epoch: int) -> None:
        """Move to an epoch."""
        set_epoch(self.synthetic, epoch)

    def __len__(self) -> int:
        return len(self.synthetic)

    def count(self, step: int) -> int:
        """Number of synthetic examples in a step's batch: the ratio on average, never more than one away."""
        return min(self.batch, int(self.ratio(step) * self.batch + step * GOLDEN % 1))

    @property
    def synthetic_share(self) -> float:
        """Share of synthetic examples in the epoch."""
        steps = len(self) // self.batch
        first = self.synthetic.epoch * steps
        return sum(self.count(step) for step in range(first, first + steps)) / max(1, steps * self.batch)

    def __getitem__(self, index: int) -> tuple[Wave, Wave, bool]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        epoch = self.synthetic.epoch
        step, place = epoch * (len(self) // self.batch) + index // self.batch, index % self.batch
        if place < self.count(step):
            return (*self.synthetic[index], False)
        crop = self.real.crop(self.seed, epoch, index, self.synthetic.mixer.length)[None]
        return crop, np.zeros_like(crop), True


def set_epoch(dataset: Any, epoch: int) -> None:
    """Move any data set of this package to an epoch."""
    if hasattr(dataset, "set_epoch"):
        dataset.set_epoch(epoch)
    else:
        dataset.epoch = epoch
