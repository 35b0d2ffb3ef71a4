"""ITU-R BS.1770-4 integrated loudness and true peak of streams, and a look-ahead true-peak limiter. Memory is bounded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyloudnorm
from numpy.typing import NDArray
from scipy import ndimage, signal

from audiorestorer.audio import Audio, rechunk

STEP_SEC = 0.1  # a gating block of 400 ms overlaps the next by 75 % (BS.1770-4, annex 1): four steps a block
STEPS_A_BLOCK = 4
OFFSET_LUFS = -0.691  # eq. 2: makes a 997 Hz tone at 0 dBFS read -3.01 LUFS
ABSOLUTE_GATE_LUFS = -70.0  # eq. 5
RELATIVE_GATE_LU = -10.0  # eq. 6
OVERSAMPLING = 4  # annex 2: at least 192 kHz
TAPS_A_PHASE = 24
LOOKAHEAD_SEC = 0.005
MARGIN_DB = 0.02  # of the limiter below the ceiling, for the rounding of the sample format


@dataclass(frozen=True)
class Level:
    """Of a stream: integrated loudness (None: silent throughout, or shorter than 400 ms) and true peak (None: digital silence)."""

    lufs: float | None
    true_peak_dbtp: float | None


def true_peak_filter() -> NDArray[np.float64]:
    """Low-pass at the original Nyquist for 4 times oversampling, 24 taps a phase (annex 2 gives 12)."""
    return signal.firwin(OVERSAMPLING * TAPS_A_PHASE + 1, 1 / OVERSAMPLING, window=("kaiser", 8.0)) * OVERSAMPLING


def k_weighting(sample_rate: int) -> NDArray[np.float64]:
    """The two filters of BS.1770-4 (annex 1, tables 1 and 2) as second-order sections, redesigned for any rate by pyloudnorm."""
    filters = pyloudnorm.Meter(sample_rate)._filters
    return np.array([np.concatenate([f.b, f.a]) / f.a[0] for f in filters.values()])


class Meter:
    """Feed `[C, n]` blocks, then ask `level()`. It keeps one number a channel for every 100 ms (0.8 MB for three hours of stereo)."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.sample_rate = sample_rate
        self._sections = k_weighting(sample_rate)
        self._state = np.zeros((len(self._sections), channels, 2))
        self._steps: list[float] = []
        self._energy, self._filled, self._step = 0.0, 0, 0
        self._taps = true_peak_filter()
        self._past = np.zeros((channels, TAPS_A_PHASE), np.float32)
        self._peak = 0.0

    def add(self, block: Audio) -> None:
        if not block.shape[1]:
            return
        weighted, self._state = signal.sosfilt(self._sections, block.astype(np.float64), axis=-1, zi=self._state)
        self._gather(np.square(weighted).sum(axis=0))  # eq. 1 and 3; the weights of left, right and mono are 1
        self._add_peak(block)

    def _gather(self, power: NDArray[np.float64]) -> None:
        begin = 0
        while begin < len(power):
            length = self._boundary(self._step + 1) - self._boundary(self._step)
            take = min(length - self._filled, len(power) - begin)
            self._energy += float(power[begin : begin + take].sum())
            self._filled += take
            begin += take
            if self._filled == length:
                self._steps.append(self._energy / length)
                self._energy, self._filled, self._step = 0.0, 0, self._step + 1

    def _boundary(self, step: int) -> int:
        return round(step * STEP_SEC * self.sample_rate)

    def _add_peak(self, block: Audio) -> None:
        joined = np.concatenate([self._past, block], axis=1)
        self._peak = max(self._peak, float(np.abs(oversampled(joined, self._taps)).max()))
        self._past = joined[:, -TAPS_A_PHASE:]

    def level(self) -> Level:
        peak = max(
            self._peak, float(np.abs(oversampled(np.pad(self._past, ((0, 0), (0, TAPS_A_PHASE))), self._taps)).max())
        )
        return Level(integrated(np.array(self._steps)), 20 * math.log10(peak) if peak > 0 else None)


def oversampled(x: Audio, taps: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[C, T]` at 4 times the rate, `[C, 4 T]`, without delay; the samples themselves are among them."""
    return signal.resample_poly(x, OVERSAMPLING, 1, axis=-1, window=taps / OVERSAMPLING)


def integrated(steps: NDArray[np.float64]) -> float | None:
    """Integrated loudness of the powers of consecutive 100 ms steps, with both gates.

    Returns:
        LUFS, or None where no 400 ms block passes the absolute gate.
    """
    if len(steps) < STEPS_A_BLOCK:
        return None
    power = np.lib.stride_tricks.sliding_window_view(steps, STEPS_A_BLOCK).mean(axis=1)
    with np.errstate(divide="ignore"):
        loudness = OFFSET_LUFS + 10 * np.log10(power)  # eq. 4
    power = power[loudness > ABSOLUTE_GATE_LUFS]
    if not len(power):
        return None
    gate = OFFSET_LUFS + 10 * math.log10(power.mean()) + RELATIVE_GATE_LU  # eq. 6
    power = power[OFFSET_LUFS + 10 * np.log10(power) > gate]
    return float(OFFSET_LUFS + 10 * math.log10(power.mean()))  # eq. 7


def measure(source: Iterable[Audio], sample_rate: int, channels: int) -> Level:
    """Loudness and true peak of a stream."""
    meter = Meter(sample_rate, channels)
    for block in source:
        meter.add(block)
    return meter.level()


def scaled(source: Iterable[Audio], gain_db: float) -> Iterator[Audio]:
    """A stream with a gain."""
    gain = np.float32(10 ** (gain_db / 20))
    for block in source:
        yield block * gain


def limited(source: Iterable[Audio], sample_rate: int, ceiling_dbtp: float) -> Iterator[Audio]:
    """A stream whose true peak stays below the ceiling; all channels get one gain, nothing is delayed.

    The gain that each sample needs is widened by a running minimum over +-5 ms, then smoothed by a Hann window of the same width: an
    average of values that are all small enough is small enough.
    """
    reach = max(8, round(LOOKAHEAD_SEC * sample_rate))
    margin = 2 * reach + TAPS_A_PHASE
    taps = true_peak_filter()
    ceiling = 10 ** ((ceiling_dbtp - MARGIN_DB) / 20)
    smooth = signal.get_window("hann", 2 * reach + 1, fftbins=False)
    smooth /= smooth.sum()
    for window in _with_margins(source, sample_rate, margin):
        peaks = np.abs(oversampled(window, taps)).max(axis=0).reshape(-1, OVERSAMPLING).max(axis=1)
        peaks = np.maximum(peaks, np.append(peaks[1:], 0))
        need = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-12))
        if need.min() < 1:
            gain = np.convolve(ndimage.minimum_filter1d(need, 2 * reach + 1), smooth, mode="same")
            window = (window * gain).astype(np.float32)
        yield window[:, margin : window.shape[1] - margin]


def _with_margins(source: Iterable[Audio], size: int, margin: int) -> Iterator[Audio]:
    """Blocks with `margin` samples of what stands before and after them; zeros outside of the signal."""
    before: Audio | None = None
    block: Audio | None = None
    for following in rechunk(source, max(size, margin)):
        if block is not None:
            assert before is not None
            yield np.concatenate([before, block, _head(following, margin)], axis=1)
            before = np.concatenate([before, block], axis=1)[:, -margin:]
        else:
            before = np.zeros((following.shape[0], margin), np.float32)
        block = following
    if block is not None and before is not None:
        yield np.concatenate([before, block, np.zeros((block.shape[0], margin), np.float32)], axis=1)


def _head(block: Audio, margin: int) -> Audio:
    head = block[:, :margin]
    return np.pad(head, ((0, 0), (0, margin - head.shape[1])))
