"""Autoregressive models of short frames: fit, prediction error, and the least-squares filling of gaps.

The fit is the autocorrelation method (Levinson's equations, solved for all frames together). Gaps are filled as in Janssen,
Veldhuis & Vries 1986: the values that make the prediction error's energy least.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Floats = NDArray[np.float64]

# Share of a frame's power that is added as white noise: bands without any energy leave the equations singular
NOISE_CORRECTION = 1e-5
LEAST_POWER = 1e-12  # likewise in digital silence
MAX_GAP = 512  # samples that one system of equations solves for: bounded time, about 10 ms


@dataclass(frozen=True)
class Frames:
    """Frames of a signal: frame k models the samples `[k * hop, (k + 1) * hop)` and is fitted on `size` samples around them."""

    size: int
    hop: int
    order: int

    @property
    def left(self) -> int:
        return (self.size - self.hop) // 2


def fit(signal: Floats, frames: Frames, noise_power: float = 0.0) -> Floats:
    """Fit a model to each frame.

    Args:
        signal: `[T]`; zeros outside.
        noise_power: power of the white noise that the model allows for; bands below it are not amplified.

    Returns:
        `[N, order + 1]`, the error filters 1, -a_1, .., -a_order; N = ceil(T / hop).
    """
    count, order = -(-len(signal) // frames.hop), frames.order
    padded = np.pad(signal, (frames.left, frames.size + frames.hop))
    window = np.hanning(frames.size)
    cut = np.lib.stride_tricks.sliding_window_view(padded, frames.size)[:: frames.hop][:count] * window
    n_fft = 1 << (frames.size + order).bit_length()
    power = np.abs(np.fft.rfft(cut, n_fft, axis=1)) ** 2
    lags = np.fft.irfft(power, axis=1)[:, : order + 1]
    lags[:, 0] = lags[:, 0] * (1 + NOISE_CORRECTION) + (LEAST_POWER + noise_power) * np.sum(window**2)
    toeplitz = lags[:, np.abs(np.arange(order)[:, None] - np.arange(order))]
    solved = np.linalg.solve(toeplitz, lags[:, 1:, None])[..., 0]
    return np.concatenate([np.ones((count, 1)), -solved], axis=1)


def prediction_error(signal: Floats, filters: Floats, hop: int) -> Floats:
    """Each sample less its prediction by its frame's model, `[T]`; zeros before the first sample."""
    count, taps = filters.shape
    padded = np.pad(signal, (taps - 1, count * hop - len(signal)))
    runs = np.lib.stride_tricks.sliding_window_view(padded, hop + taps - 1)[::hop]
    past = np.lib.stride_tricks.sliding_window_view(runs, taps, axis=1)
    error = np.matmul(past, filters[:, ::-1, None])[..., 0]
    return np.asarray(error.reshape(-1)[: len(signal)], np.float64)


def fill(signal: Floats, unknown: NDArray[np.bool_], filters: Floats, hop: int) -> Floats:
    """Fill unknown samples so that the prediction error's energy is least.

    Gaps nearer than the model's order are solved together, with the model of the first one's frame. Gaps longer than MAX_GAP
    stay as they are.

    Args:
        signal, unknown: `[T]`. filters: result of `fit`, on the signal with as few of the unknown samples as possible.

    Returns:
        `[T]`, a copy.
    """
    out = np.where(unknown, 0.0, signal)
    order = filters.shape[1] - 1
    places = np.flatnonzero(unknown)
    if not len(places):
        return out
    for gap in np.split(places, np.flatnonzero(np.diff(places) > order) + 1):
        if len(gap) > MAX_GAP:
            out[gap] = signal[gap]
            continue
        taps = filters[min(gap[0] // hop, len(filters) - 1)]
        lags = np.correlate(taps, taps, "full")[order:]
        first, last = gap[0] - order, gap[-1] + order + 1
        around = np.pad(out[max(0, first) : last], (max(0, -first), max(0, last - len(out))))
        wanted = -np.convolve(around, np.concatenate([lags[:0:-1], lags]), "valid")[gap - gap[0]]
        distance = np.abs(gap[:, None] - gap)
        matrix = np.where(distance <= order, lags[np.minimum(distance, order)], 0.0)
        out[gap] = linalg.solve(matrix, wanted, assume_a="pos", check_finite=False)
    return out


def burg(signal: Floats, order: int) -> Floats:
    """The error filter `[order + 1]` of `[T]` by Burg's method: stable, and sharper than `fit` on short signals."""
    filters = np.ones(1)
    forward, backward = signal[1:].astype(np.float64), signal[:-1].astype(np.float64)
    for _ in range(order):
        energy = forward @ forward + backward @ backward
        reflection = -2 * (forward @ backward) / energy if energy > LEAST_POWER else 0.0
        padded = np.append(filters, 0.0)
        filters = padded + reflection * padded[::-1]
        forward, backward = (forward + reflection * backward)[1:], (backward + reflection * forward)[:-1]
    return filters
