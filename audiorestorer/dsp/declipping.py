"""Clipped recordings: the samples that a limit cut off, found and made anew.

Between the samples that are known, and beyond the limit where it cut, the recording is taken that the fewest frequencies make up:
A-SPADE (Kitic, Bertin & Gribonval 2015, algorithm 1, with the projection for a tight frame), frame by frame. Samples that were not
clipped stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from audiorestorer.audio import Audio
from audiorestorer.dsp.overlap_add import with_context

FLAT = 1e-5  # samples so near to the largest one, relative to it, are equal to it
# A limit is one where so many runs of samples lie at it, each so long, and with a neighbour that is so much lower: what nothing cut is
# round where it is largest, and so is what a limiter that looks ahead made of it.
LEAST_RUNS, RUN_SAMPLES, LOWER, LOWER_STEPS = 5, 3, 0.01, 2.5  # the last: in steps of quantisation
MOST_FLAT = 0.95  # of a frame: what is flat for longer is a square wave, or beyond repair
MOST_RISE = 6.0  # of a limit (16 dB): the sparsest signal may overshoot
FRAME_SEC = 0.055
STEPS = 512  # the number of frequencies grows by one for so many samples of a frame
REDUNDANCY = 2  # of the Fourier transform
TOLERANCE = 0.1  # of the frame's level: where the sparse and the consistent version agree
MOST_ITERATIONS = 300
SEGMENT_FRAMES = 32  # that are worked on together


@dataclass(frozen=True)
class Limits:
    """Where a recording was cut off, `[C]` each: above `high` and below `low`; infinite where it was not."""

    high: NDArray[np.float32]
    low: NDArray[np.float32]

    @property
    def any(self) -> bool:
        return bool(np.isfinite(self.high).any() or np.isfinite(self.low).any())


def find(open_source: Callable[[], Iterable[Audio]], channels: int) -> Limits:
    """The limits of a recording, from two passes over its blocks `[C, n]`."""
    high, low, quantum = (np.full(channels, fill, np.float32) for fill in (-np.inf, np.inf, np.inf))
    for block in open_source():
        if block.shape[1]:
            high, low = np.maximum(high, block.max(axis=1)), np.minimum(low, block.min(axis=1))
            sizes = np.where(block == 0, np.float32(np.inf), np.abs(block))
            quantum = np.minimum(quantum, sizes.min(axis=1))
    runs = np.zeros((2, channels), np.int64)
    past = np.zeros((channels, 0), np.float32)
    for block in open_source():
        joined = np.concatenate([past, block], axis=1)
        past = joined[:, -RUN_SAMPLES:]
        if joined.shape[1] <= RUN_SAMPLES:
            continue
        for side, limit in enumerate((high, low)):
            size = np.abs(limit[:, None])
            flat = np.abs(joined - limit[:, None]) <= FLAT * size
            lower = np.abs(joined - limit[:, None]) > np.maximum(LOWER * size, LOWER_STEPS * quantum[:, None])
            begins = lower[:, : joined.shape[1] - RUN_SAMPLES]
            for step in range(1, RUN_SAMPLES + 1):  # a lower sample, and then a run
                begins = begins & flat[:, step : joined.shape[1] - RUN_SAMPLES + step]
            runs[side] += begins.sum(axis=1)
    cut_high, cut_low = (runs[0] >= LEAST_RUNS) & (high > 0), (runs[1] >= LEAST_RUNS) & (low < 0)
    return Limits(
        np.where(cut_high, high * (1 - np.float32(FLAT)), np.inf).astype(np.float32),
        np.where(cut_low, low * (1 - np.float32(FLAT)), -np.inf).astype(np.float32),
    )


def declipped(source: Iterable[Audio], total: int, rate: int, limits: Limits) -> Iterator[Audio]:
    """A recording without its clipping: blocks `[C, n]`, `total` samples in all, whose new samples lie beyond the limits."""
    size = 1 << max(6, round(np.log2(FRAME_SEC * rate)))
    return with_context(source, total, SEGMENT_FRAMES * size // 2, size, lambda window: _window(window, size, limits))


def _window(signals: Audio, size: int, limits: Limits) -> Audio:
    """`[C, N]`, N a multiple of half a frame."""
    out = signals.copy()
    for number, signal in enumerate(signals):
        above, below = signal >= limits.high[number], signal <= limits.low[number]
        if (above | below).any() and not _is_square(above, below):
            out[number] = np.where(above | below, _rebuilt(signal, above, below, size), signal)
    return out


def _is_square(above: NDArray[np.bool_], below: NDArray[np.bool_]) -> bool:
    """Whether most runs begin right after one at the other limit, as no voice does."""
    flips = (above[1:] & below[:-1]) | (below[1:] & above[:-1])
    begins = (above[1:] & ~above[:-1]) | (below[1:] & ~below[:-1])
    return bool(2 * flips.sum() > begins.sum())


def _rebuilt(signal: Audio, above: NDArray[np.bool_], below: NDArray[np.bool_], size: int) -> Audio:
    """Overlap-add of the frames, with the root of a Hann window on both ways."""
    hop = size // 2
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    high, low = (np.lib.stride_tricks.sliding_window_view(values, size)[::hop] for values in (above, below))
    frames = np.lib.stride_tricks.sliding_window_view(signal, size)[::hop] * window
    share = (high | low).mean(axis=1)
    damaged = (share > 0) & (share <= MOST_FLAT)
    frames[damaged] = sparse(frames[damaged], high[damaged], low[damaged])
    out = np.zeros(len(signal), np.float32)
    for place, frame in enumerate(frames * window):
        out[place * hop : place * hop + size] += frame
    return out


def sparse(frames: Audio, above: NDArray[np.bool_], below: NDArray[np.bool_]) -> Audio:
    """A-SPADE on windowed frames `[N, L]`.

    Args:
        above, below: samples of which the frame holds a lower or an upper bound; the others are known.
    """
    size = frames.shape[1]
    out, left = frames.copy(), np.arange(len(frames))
    known = ~(above | below)
    step = max(1, round(size / STEPS))
    level = np.maximum(np.sqrt(np.square(frames).sum(axis=1)), 1e-9)
    signal, dual = frames, np.zeros((len(frames), REDUNDANCY * size // 2 + 1), np.complex64)
    spectrum = _forward(signal)
    for iteration in range(1, MOST_ITERATIONS + 1):
        chosen = _largest(spectrum + dual, iteration * step)
        wanted = fft.irfft(chosen - dual, REDUNDANCY * size, axis=1, norm="ortho")[:, :size]
        bound = frames[left]
        beyond = np.where(above[left], np.maximum(wanted, bound), np.minimum(wanted, bound))
        beyond = np.clip(beyond, -MOST_RISE * np.abs(bound), MOST_RISE * np.abs(bound))
        signal = np.where(known[left], bound, beyond).astype(np.float32)
        spectrum = _forward(signal)
        error = spectrum - chosen
        going = np.sqrt(2 * (error.real**2 + error.imag**2).sum(axis=1)) > TOLERANCE * level[left]
        out[left[~going]] = signal[~going]
        if not going.any():
            return out
        left, dual, spectrum, signal = left[going], (dual + error)[going], spectrum[going], signal[going]
    out[left] = signal
    return out


def _forward(frames: Audio) -> NDArray[np.complex64]:
    spectrum: NDArray[np.complex64] = fft.rfft(frames, REDUNDANCY * frames.shape[1], axis=1, norm="ortho")
    return spectrum


def _largest(spectrum: NDArray[np.complex64], count: int) -> NDArray[np.complex64]:
    """A spectrum `[N, F]` with its `count` largest values; the others are 0."""
    power = spectrum.real**2 + spectrum.imag**2
    if count >= power.shape[1]:
        return spectrum
    least = np.partition(power, -count, axis=1)[:, -count]
    return np.where(power >= least[:, None], spectrum, np.complex64(0))
