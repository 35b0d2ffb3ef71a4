"""Samples that stand far above all else of a recording (a decoder's spike, a tap on the microphone): found, left out, limited.

All work on streams of blocks `[C, n]` with bounded memory. A level here is a median over parts of 4 ms, which a click does not move;
a sample is an outlier where it stands more than 30 dB above the loudest 64 ms so measured. Peaks of speech and music stand about
20 dB above it: most recordings have no outlier, and come back unchanged, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio, rechunk

PART_SEC = 0.004
GROUP_PARTS = 16
OUTLIER_DB = 30.0
CHUNK_PARTS = 256


def _part_size(sample_rate: int) -> int:
    return max(1, round(PART_SEC * sample_rate))


class OutlierMeter:
    """Watches a stream; once it has ended, `bound` gives the magnitude at which outliers begin."""

    def __init__(self, channels: int, sample_rate: int) -> None:
        self._size = _part_size(sample_rate)
        self._loud, self._peak = np.zeros((2, channels, 1))
        self._rest: Audio = np.zeros((channels, 0), np.float32)

    def watched(self, source: Iterable[Audio]) -> Iterator[Audio]:
        """The same blocks."""
        for block in source:
            self._add(block)
            yield block

    def _add(self, block: Audio) -> None:
        if not block.shape[1]:
            return
        self._peak = np.maximum(self._peak, np.abs(block).max(axis=1, keepdims=True))
        held = np.concatenate([self._rest, block], axis=1)
        whole = held.shape[1] // (self._size * GROUP_PARTS) * self._size * GROUP_PARTS
        self._rest = held[:, whole:]
        if whole:
            groups = held[:, :whole].reshape(len(held), -1, GROUP_PARTS, self._size)
            power = np.median(np.square(groups, dtype=np.float64).mean(axis=3), axis=2)
            self._loud = np.maximum(self._loud, power.max(axis=1, keepdims=True))

    def bound(self) -> NDArray[np.float32]:
        """The magnitude `[C, 1]` that only outliers of a channel exceed; infinite where there are none."""
        bound = np.sqrt(self._loud) * 10 ** (OUTLIER_DB / 20)
        return np.where((bound > 0) & (self._peak > bound), bound, np.inf).astype(np.float32)


def outlier_bound(source: Iterable[Audio], channels: int, sample_rate: int) -> NDArray[np.float32]:
    """`OutlierMeter.bound` of a stream."""
    meter = OutlierMeter(channels, sample_rate)
    for _ in meter.watched(source):
        pass
    return meter.bound()


def without_outliers(source: Iterable[Audio], bound: NDArray[np.float32], sample_rate: int) -> Iterator[Audio]:
    """The stream without the parts of 4 ms that hold an outlier in any channel, and without their neighbours: for measuring."""
    if np.isinf(bound).all():
        yield from source
        return
    size = _part_size(sample_rate)
    for block in rechunk(source, size * CHUNK_PARTS):
        over = (np.abs(block) > bound).any(axis=0)
        starts = np.arange(0, block.shape[1], size)
        hit = np.logical_or.reduceat(over, starts)
        near = np.pad(hit, 1)
        yield block[:, ~np.repeat(hit | near[:-2] | near[2:], size)[: block.shape[1]]]


def limited(source: Iterable[Audio], bound: NDArray[np.float32]) -> Iterator[Audio]:
    """The stream with outliers cut to the bound."""
    if np.isinf(bound).all():
        return iter(source)
    return (np.clip(block, -bound, bound) for block in source)
