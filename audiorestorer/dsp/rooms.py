"""Whether speech was recorded with a room's echoes.

A voice falls silent within a few hundredths of a second; in a room nothing decays faster than the room does (60 dB in its
reverberation time). So the steepest falls of a recording show its room.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio, rechunk
from audiorestorer.dsp import stft

FRAME_SEC, HOPS = 0.032, 4
EDGES_HZ = (500.0, 1000.0, 2000.0, 4000.0)  # bands that decay by themselves
FALL_FRAMES = 6  # frames that a fall is measured over (48 ms)
STEEPEST = 0.05  # share of the falls that are as steep or steeper
# 20 voices of development fall by 345 dB/s and more without a room, and by 305 and less in one of 0.46 s.
SLOWEST_DB_PER_SEC = 320.0
LEAST_FALL_DB_PER_SEC = 30.0
LEAST_FALLS = 20.0
LOUD_DB, LAST_DB = 15.0, 45.0  # a fall begins above the first and ends above the second, below the loud frames
PIECE = 1 << 15  # samples that are looked at together
LOUD_SHARE = 0.05  # share of frames that are as loud as the loud ones, or louder
LEVELS_DB = np.arange(-140.0, 40.0)
SLOPES = np.arange(0.0, 2000.0, 5.0)  # dB/s


def echoes(blocks: Iterable[Audio], rate: int, levels: NDArray[np.float32]) -> list[bool]:
    """Whether a room is heard in each channel of `[C, n]` blocks, whose active RMS are `levels` `[C]`."""
    return [0 < found < SLOWEST_DB_PER_SEC for found in falls(blocks, rate, levels)]


def falls(blocks: Iterable[Audio], rate: int, levels: NDArray[np.float32]) -> list[float]:
    """How fast each channel falls silent at its fastest, dB/s; 0 where too little is heard."""
    hop = max(16, round(FRAME_SEC / HOPS * rate))
    n_fft = HOPS * hop
    frequency = np.fft.rfftfreq(n_fft, 1 / rate)
    bands = [slice(*np.searchsorted(frequency, pair)) for pair in zip(EDGES_HZ, EDGES_HZ[1:], strict=False)]
    channels = len(levels)
    loudness = np.zeros((channels, len(bands), len(LEVELS_DB)))
    counts = np.zeros((channels, len(bands), len(LEVELS_DB), len(SLOPES)))
    scale = np.where(levels > 0, 1 / np.maximum(levels, 1e-30), 1).astype(np.float32)[:, None]
    time = (np.arange(FALL_FRAMES + 1) - FALL_FRAMES / 2) * hop / rate
    before = np.zeros((channels, len(bands), 0))
    held = np.zeros((channels, 0), np.float32)
    window = stft.hann(n_fft)
    for block in rechunk(blocks, PIECE):
        joined = np.concatenate([held, block * scale], axis=1)
        if joined.shape[1] < n_fft:
            held = joined
            continue
        frames = np.lib.stride_tricks.sliding_window_view(joined, n_fft, axis=1)[:, ::hop]
        held = joined[:, frames.shape[1] * hop :]
        power = np.square(np.abs(stft.forward(frames * window))) / np.square(window).sum()
        level = np.stack([10 * np.log10(power[..., band].sum(axis=-1) + 1e-14) for band in bands], axis=1)
        level = np.concatenate([before, level], axis=2)
        before = level[:, :, -FALL_FRAMES:]
        if level.shape[2] <= FALL_FRAMES:
            continue
        runs = np.lib.stride_tricks.sliding_window_view(level, FALL_FRAMES + 1, axis=2)
        slope = -(runs @ time) / (time @ time)
        first = _place(runs[..., 0], LEVELS_DB)
        for channel, band in np.ndindex(channels, len(bands)):
            loudness[channel, band] += np.bincount(first[channel, band], minlength=len(LEVELS_DB))
            steep = _place(slope[channel, band], SLOPES)
            falling = slope[channel, band] >= LEAST_FALL_DB_PER_SEC
            np.add.at(counts[channel, band], (first[channel, band][falling], steep[falling]), 1)
    bands_of = zip(loudness, counts, strict=True)
    return [float(np.median([_fastest(*band, time) for band in zip(*each, strict=True)])) for each in bands_of]


def _fastest(loudness: NDArray[np.float64], counts: NDArray[np.float64], time: NDArray[np.float64]) -> float:
    """The steep end of a band's falls, dB/s; 0 of too few."""
    if not loudness.any():
        return 0.0
    loud = LEVELS_DB[np.searchsorted(np.cumsum(loudness), (1 - LOUD_SHARE) * loudness.sum())]
    ends = LEVELS_DB[:, None] - SLOPES * (time[-1] - time[0])
    used = np.where((LEVELS_DB[:, None] > loud - LOUD_DB) & (ends > loud - LAST_DB), counts, 0).sum(axis=0)
    if used.sum() < LEAST_FALLS:
        return 0.0
    return float(SLOPES[np.searchsorted(np.cumsum(used), (1 - STEEPEST) * used.sum())])


def _place(values: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.int64]:
    width = steps[1] - steps[0]
    return np.clip(np.round((values - steps[0]) / width), 0, len(steps) - 1).astype(np.int64)
