"""Estimate of the number and the size of a recording's clicks from those that were found.

Small clicks are found only where the signal leaves room for them. Each one found stands for 1 / v clicks, v the share of the
recording's time in which it would have been found (the estimator of Schmidt 1968 for a survey that is limited in flux). Clicks that
fall together count once: a counter with dead time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from audiorestorer.dsp.click_detection import Block, Detector

CENSUS_DETECTOR = Detector(floor_db=-60.0, passes=5, dither_db=-27.0)
STEP_DB = 0.5
LEVELS = np.arange(-160.0, 60.0, STEP_DB)  # of errors, dB; memory does not grow with the recording
LEAST_SHARE = 0.05  # one click never stands for more than 20


@dataclass(frozen=True)
class Count:
    """Result of a census.

    Attributes:
        found: clicks that were detected. rate_per_sec: estimate of all clicks, less `false_per_sec`. error_per_sec: its standard
            deviation by Poisson.
        level_db, spread_db: mean and standard deviation of the amplitudes' level, dBFS; NaN where no click was found.
        width_sec: geometric mean of the widths.
    """

    found: int
    rate_per_sec: float
    error_per_sec: float
    level_db: float
    spread_db: float
    width_sec: float


@dataclass
class Census:
    """Gathers blocks of `click_detection.blocks`.

    Attributes:
        counts: `[4, levels]`, by level of the error: clicks, sums of their amplitude level, of its square, and of the logarithm
            of their width.
    """

    sample_rate: int
    limits: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(LEVELS)))
    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros((4, len(LEVELS))))
    samples: int = 0
    damaged: int = 0

    def add(self, block: Block) -> None:
        self.samples += block.audio.shape[1]
        self.limits += np.bincount(_bins(block.limits.ravel()), minlength=len(LEVELS))
        clicks = block.clicks
        self.damaged += int((clicks.ends - clicks.starts).sum())
        level = 20 * np.log10(np.maximum(clicks.amplitudes, 1e-9))
        rows = (np.ones(len(clicks)), level, level**2, np.log(np.maximum(clicks.widths_sec, 1 / self.sample_rate)))
        for row, values in zip(self.counts, rows, strict=True):
            row += np.bincount(_bins(clicks.errors), values, len(LEVELS))

    def count(self, false_per_sec: float = 0.0) -> Count:
        """Totals, less the rate `false_per_sec` that clean speech shows."""
        detected, seconds = int(self.counts[0].sum()), self.samples / self.sample_rate
        if not detected or not self.limits.sum():
            return Count(0, 0.0, 1 / max(seconds, 1e-9), math.nan, math.nan, math.nan)
        share = np.cumsum(self.limits) / self.limits.sum()
        weights = 1 / np.maximum(share, LEAST_SHARE)
        number, level, square, width = (self.counts * weights).sum(axis=1)
        alone = max(1 - self.damaged / self.samples, 0.2)
        mean = level / number
        spread = math.sqrt(max(square / number - mean**2, 0.0))
        error = math.sqrt(float((self.counts[0] * weights**2).sum())) / alone / seconds
        rate = max(float(number) / alone / seconds - false_per_sec, 0.0)
        return Count(detected, rate, error, float(mean), spread, math.exp(width / number))


def _bins(values: NDArray[np.float64]) -> NDArray[np.int64]:
    level = 20 * np.log10(np.maximum(values, 1e-8))
    return np.clip(np.searchsorted(LEVELS, level, side="right") - 1, 0, len(LEVELS) - 1)
