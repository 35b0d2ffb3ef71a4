"""The level of any recording: BS.1770's integrated loudness, and a level that goes on from it where the standard gives no number.

- Below the absolute gate of -70 LUFS: the gate moves down with the recording, as if it had been raised first.
- Shorter than one 400 ms block: the mean over the whole clip. Nothing is padded: silence around a clip would make it quieter.
- Digital silence: no level at all.

Spikes (a damaged sample, taps on the microphone) must not rule the level. They are samples far above the highest level that the
recording holds for 50 ms anywhere, which is less than a syllable takes, and count as no louder than that level. Only where there are
some is a recording read twice: all others get the standard's number to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio
from audiorestorer.dsp.loudness import STEPS_A_BLOCK, Level, Meter, gated, lufs_of

FRAME_SEC = 0.01  # a period of a low voice
HELD_FRAMES = 5  # a syllable is longer, a tap shorter
SPIKE_DB = 24.0  # above the level that is held; peaks of speech lie a few decibels above it
GATE_BELOW_LOUDEST_LU = 50.0  # where -70 lies below the loudest block of a recording of -23 LUFS


class Kind(Enum):
    """Rule by which a level was found."""

    STANDARD = "standard"
    BELOW_GATE = "below the gate"
    SHORT = "short"
    SILENT = "silent"


@dataclass(frozen=True)
class Spikes:
    """Limits, linear: samples beyond `limit` are spikes and count as `level`."""

    level: float
    limit: float

    def after(self, gain_db: float) -> Spikes:
        """The spikes of the recording with a gain."""
        gain = 10 ** (gain_db / 20)
        return Spikes(gain * self.level, gain * self.limit)


@dataclass(frozen=True)
class Reading:
    """Level of a recording (None: digital silence), its true peak, and BS.1770's own loudness where there is one.

    `moments`: mean K-weighted power of each 400 ms, every 100 ms; of the whole recording where it is shorter.
    """

    lufs: float | None
    true_peak_dbtp: float | None
    standard_lufs: float | None
    kind: Kind
    spikes: Spikes | None
    moments: NDArray[np.float64]

    @property
    def loudest_lufs(self) -> float | None:
        """The highest momentary loudness (EBU Tech 3341); None for digital silence."""
        loudest = lufs_of(float(self.moments.max(initial=0.0)))
        return loudest if math.isfinite(loudest) else None


def reading(
    read: Callable[[], Iterable[Audio]], sample_rate: int, channels: int, spikes: Spikes | None = None
) -> Reading:
    """Measure a recording with bounded memory.

    Args:
        read: gives the recording's blocks `[C, n]`; called a second time where there are spikes.
        spikes: given where they are known: a spike that a limiter has cut is none any more, but it is no speech either.

    Raises:
        ValueError: it holds NaN or infinity.
    """
    meter, peaks = Meter(sample_rate, channels), _HeldPeak(sample_rate)
    for block in read():
        meter.add(block)
        peaks.add(block)
    level, spikes = meter.level(), spikes or peaks.spikes()
    if spikes is None:
        return _read(meter, level, level.lufs, None)
    meter = Meter(sample_rate, channels, clip=spikes.level)
    for block in read():
        meter.add(block)
    return _read(meter, level, meter.level().lufs, spikes)


def _read(meter: Meter, level: Level, lufs: float | None, spikes: Spikes | None) -> Reading:
    moments, is_short = _moments(meter)
    loudest = lufs_of(float(moments.max(initial=0.0)))
    kind = Kind.STANDARD
    if math.isinf(loudest):
        kind = Kind.SILENT
    elif is_short:
        kind, lufs = Kind.SHORT, loudest
    elif lufs is None:
        kind, lufs = Kind.BELOW_GATE, gated(moments, loudest - GATE_BELOW_LOUDEST_LU)
    return Reading(lufs, level.true_peak_dbtp, level.lufs, kind, spikes, moments)


def _moments(meter: Meter) -> tuple[NDArray[np.float64], bool]:
    """Mean power of each 400 ms, the last 100 ms filled up with silence; the mean of all, and True, where that is shorter."""
    steps = meter.steps
    power, share = meter.rest
    if len(steps) < STEPS_A_BLOCK:
        length = len(steps) + share
        return np.array([(steps.sum() + power) / length] if length else [0.0]), True
    if share:
        steps = np.append(steps, power)
    return np.lib.stride_tricks.sliding_window_view(steps, STEPS_A_BLOCK).mean(axis=1), False


class _HeldPeak:
    """The highest level of a stream that no frame of a window of 50 ms stays below, and its peak, over all channels."""

    def __init__(self, sample_rate: int) -> None:
        self._size = max(1, round(FRAME_SEC * sample_rate))
        self._samples = np.zeros(0, np.float32)  # of the frame that is not whole yet
        self._frames = np.zeros(0, np.float32)  # peaks of the last frames
        self._held = self._peak = 0.0

    def add(self, block: Audio) -> None:
        magnitude = np.concatenate([self._samples, np.abs(block).max(axis=0, initial=0.0)])
        whole = len(magnitude) // self._size * self._size
        self._samples = magnitude[whole:]
        frames = np.concatenate([self._frames, magnitude[:whole].reshape(-1, self._size).max(axis=1)])
        if len(frames) >= HELD_FRAMES:
            held = np.lib.stride_tricks.sliding_window_view(frames, HELD_FRAMES).min(axis=1).max()
            self._held = max(self._held, float(held))
        self._frames = frames[-(HELD_FRAMES - 1) :]
        self._peak = max(self._peak, float(magnitude.max(initial=0.0)))

    def spikes(self) -> Spikes | None:
        """The spikes; None where there are none, or nothing else."""
        limit = self._held * 10 ** (SPIKE_DB / 20)
        return Spikes(self._held, limit) if 0 < limit < self._peak else None
