"""The classical way: find clicks by an AR model, fill them by least squares (Janssen, Veldhuis & Vries 1986). No training.

Window and order are the usual ones (55 ms, 2 % of it). The usual threshold, twice the standard deviation with nothing else, takes
glottal pulses for clicks: on speech it costs more than it gives (clean speech kept at 24 dB and less). The neighbour condition of
`click_detection` mends that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.dsp import click_detection
from audiorestorer.dsp.active_level import active_level

LEAST_ORDER = 8


@dataclass(frozen=True)
class Repair:
    """Settings of the repair.

    Attributes:
        window_sec: length of the window that a model is fitted on. order_share: its order as a share of the window.
        threshold, neighbour_ratio, floor_db, passes: see `click_detection.Detector`.
    """

    window_sec: float = 0.055
    order_share: float = 0.02
    threshold: float = 5.0
    neighbour_ratio: float = 3.0
    floor_db: float = -60.0
    passes: int = 3

    def detector(self, sample_rate: int) -> click_detection.Detector:
        return click_detection.Detector(
            order=max(LEAST_ORDER, round(self.order_share * self.window_sec * sample_rate)), frame_sec=self.window_sec,
            threshold=self.threshold, neighbour_ratio=self.neighbour_ratio, floor_db=self.floor_db, passes=self.passes,
        )  # fmt: skip


REPAIR = Repair()


def repair_blocks(source: Iterable[Audio], sample_rate: int, level: float, repair: Repair = REPAIR) -> Iterator[Audio]:
    """Repair a stream of `[C, n]` blocks; memory and time per second are bounded, the length stays.

    Args:
        level: active RMS of the whole recording (`active_level.active_level`).
    """
    for block in click_detection.blocks(source, sample_rate, level, repair.detector(sample_rate)):
        yield block.repaired


def repair(audio: Audio, sample_rate: int, settings: Repair = REPAIR) -> Audio:
    """Repair `[C, T]`; undamaged samples stay as they are, bit by bit."""
    if not audio.shape[1]:
        return audio
    level = active_level([audio], sample_rate)
    return np.concatenate(list(repair_blocks([audio], sample_rate, level, settings)), axis=1)
