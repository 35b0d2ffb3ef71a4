"""Peaks between the samples (ITU-R BS.1770-4, annex 2): the signal is oversampled to at least 192 kHz where it could matter.

Interpolation is one matrix product per group of frames. Frames whose samples are too small to reach the level of interest (the sum
of an interpolator's magnitudes bounds how far it can overshoot) are not interpolated at all: that does not change the result.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio

HALF_TAPS = 16  # an interpolator takes 16 samples on each side (annex 2: 6)
KAISER_BETA = 6.0
FRAME = 64
# A product this small stays on one BLAS thread: threads that spin on shared cores cost a factor of ten
GROUP_FRAMES = 13
TARGET_RATE_HZ = 192_000


def oversampling(sample_rate: int) -> int:
    """Factor of oversampling: 4 below 96 kHz (annex 2), 2 below 192 kHz, 1 from there on."""
    return 4 if sample_rate < TARGET_RATE_HZ // 2 else 2 if sample_rate < TARGET_RATE_HZ else 1


@cache
def _interpolators(factor: int) -> tuple[NDArray[np.float32], float]:
    """Windowed sincs as a matrix `[FRAME + 2 * HALF_TAPS - 1, FRAME * (factor - 1)]`, and the most that they can amplify."""
    taps = np.arange(1 - HALF_TAPS, HALF_TAPS + 1)
    matrix = np.zeros((FRAME + 2 * HALF_TAPS - 1, FRAME, factor - 1))
    bound = 1.0
    for phase in range(1, factor):
        distance = taps - phase / factor
        window = np.i0(KAISER_BETA * np.sqrt(np.maximum(0.0, 1 - (distance / HALF_TAPS) ** 2))) / np.i0(KAISER_BETA)
        impulse = np.sinc(distance) * window
        impulse /= impulse.sum()
        bound = max(bound, float(np.abs(impulse).sum()))
        for position in range(FRAME):
            matrix[position : position + len(taps), position, phase - 1] = impulse
    return matrix.reshape(len(matrix), -1).astype(np.float32), bound


def _frames(x: Audio) -> NDArray[np.float32]:
    """All channels' samples as overlapping frames `[C, K, FRAME + 2 * HALF_TAPS - 1]` (a view); the last is padded by zeros."""
    count = -(-(x.shape[1] - 2 * HALF_TAPS + 1) // FRAME)
    size = FRAME + 2 * HALF_TAPS - 1
    padded = np.pad(x, ((0, 0), (0, max(0, count * FRAME + 2 * HALF_TAPS - 1 - x.shape[1]))))
    return np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::FRAME][:, :count]


def _between(
    frames: NDArray[np.float32], wanted: NDArray[np.bool_], matrix: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Raise `out [K, FRAME]` to the peaks after each sample, in the wanted frames `[K]`."""
    numbers = np.flatnonzero(wanted)
    for begin in range(0, len(numbers), GROUP_FRAMES):
        group = numbers[begin : begin + GROUP_FRAMES]
        values = np.abs(frames[:, group] @ matrix).max(axis=0)
        out[group] = np.maximum(out[group], values.reshape(len(group), FRAME, -1).max(axis=2))


def _peaks(x: Audio, sample_rate: int, above: float) -> NDArray[np.float32]:
    """For the samples that have their context, the peak from each to the next, over all channels; exact where above the level."""
    own: NDArray[np.float32] = np.abs(x[:, HALF_TAPS - 1 : x.shape[1] - HALF_TAPS]).max(axis=0)
    factor = oversampling(sample_rate)
    if factor == 1 or not len(own):
        return own
    matrix, bound = _interpolators(factor)
    frames = _frames(x)
    out = np.pad(own, (0, frames.shape[1] * FRAME - len(own))).reshape(-1, FRAME)
    _between(frames, np.abs(frames).max(axis=(0, 2)) * bound > above, matrix, out)
    return out.reshape(-1)[: len(own)]


def stream_peak(x: Audio, sample_rate: int, so_far: float) -> float:
    """The larger of `so_far` and the true peak (linear) of `x [C, T]` without its first and last HALF_TAPS samples; NaN as such."""
    if not np.isfinite(x).all():
        return float("nan")
    level = max(so_far, float(np.abs(x).max(initial=0.0)))
    peaks = _peaks(x, sample_rate, level)
    return max(so_far, float(peaks.max(initial=0.0)))


def inter_sample_peaks(x: Audio, sample_rate: int, above: float) -> NDArray[np.float64]:
    """The peak around each sample of `x [C, T]`, `[T]`: the largest magnitude between its neighbours, over all channels.

    Exact where it is above the level given; the first and the last HALF_TAPS have no context and are the samples themselves.
    """
    out = np.abs(x).max(axis=0).astype(np.float64)
    peaks = _peaks(x, sample_rate, above)
    first = HALF_TAPS - 1
    out[first : first + len(peaks)] = np.maximum(out[first : first + len(peaks)], peaks)
    out[first + 1 : first + 1 + len(peaks)] = np.maximum(out[first + 1 : first + 1 + len(peaks)], peaks)
    return out
