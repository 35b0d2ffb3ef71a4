"""ITU-R BS.1770-4 integrated loudness and true peak of streams, and a look-ahead true-peak limiter. Memory is bounded.

A mono stream is one channel of weight 1, as in ffmpeg's `ebur128` and pyloudnorm: it reads 3.01 LU less than the same on two channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio, rechunk
from audiorestorer.dsp.recursive import Sections
from audiorestorer.dsp.true_peak import HALF_TAPS, inter_sample_peaks, stream_peak

STEP_SEC = 0.1  # a gating block of 400 ms overlaps the next by 75 % (BS.1770-4, annex 1): four steps per block
STEPS_A_BLOCK = 4
OFFSET_LUFS = -0.691  # eq. 2: makes a 997 Hz tone at 0 dBFS read -3.01 LUFS
ABSOLUTE_GATE_LUFS = -70.0  # eq. 5
RELATIVE_GATE_LU = -10.0  # eq. 6
LOOKAHEAD_SEC = 0.005
RELEASE_DB_PER_SEC = 200.0  # 2 dB in a period of a 100 Hz voice: a gain that follows periods is heard as distortion
MARGIN_DB = 0.05  # of the limiter below the ceiling, for the rounding of the sample format and other meters' filters
# weights of the channels in the loudness (ITU-R BS.1770-5, table 4): 1.41 between 60 and 120 degrees, the low effects do not count
SIDE = 10 ** (1.5 / 10)
WEIGHTS: dict[int, tuple[float, ...]] = {
    4: (1, 1, SIDE, SIDE), 5: (1, 1, 1, SIDE, SIDE), 6: (1, 1, 1, 0, SIDE, SIDE), 7: (1, 1, 1, 0, 1, SIDE, SIDE),
    8: (1, 1, 1, 0, 1, 1, SIDE, SIDE),
}  # fmt: skip


@dataclass(frozen=True)
class Level:
    """Integrated loudness and true peak of a stream (None: digital silence).

    BS.1770 gives no loudness, None here, below its gate and for less than 400 ms; `dsp.reading` gives a level there too.
    """

    lufs: float | None
    true_peak_dbtp: float | None


def k_weighting(sample_rate: int) -> NDArray[np.float64]:
    """The two filters of BS.1770-4 (annex 1, tables 1 and 2) as second-order sections `[2, 6]`, for any rate.

    The analogue prototypes whose bilinear transform gives the standard's coefficients at 48 kHz to the last digit (De Man, "Evaluation
    of implementations of the EBU R128 loudness measurement", AES 2018; libebur128 and ffmpeg use them too).
    """
    gain, quality = 10 ** (3.999843853973347 / 20), 0.7071752369554196
    middle = gain**0.4996667741545416
    k = math.tan(math.pi * 1681.974450955533 / sample_rate)
    norm = 1 + k / quality + k * k
    shelf = [
        (gain + middle * k / quality + k * k) / norm, 2 * (k * k - gain) / norm, (gain - middle * k / quality + k * k) / norm,
        1.0, 2 * (k * k - 1) / norm, (1 - k / quality + k * k) / norm,
    ]  # fmt: skip
    quality = 0.5003270373238773
    k = math.tan(math.pi * 38.13547087602444 / sample_rate)
    norm = 1 + k / quality + k * k
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / norm, (1 - k / quality + k * k) / norm]
    return np.array([shelf, high_pass])


class Meter:
    """Feed `[C, n]` blocks, then ask `level()`. It keeps one number for every 100 ms (a few MB for eight hours).

    Args:
        clip: samples beyond it count as this large (linear) in the loudness; the true peak is the stream's own.
    """

    def __init__(self, sample_rate: int, channels: int, clip: float | None = None) -> None:
        self.sample_rate = sample_rate
        self._clip = clip
        self._weighting = Sections(k_weighting(sample_rate), channels)
        self._weights = np.array(WEIGHTS.get(channels, (1.0,) * channels))[:, None]
        self._steps: list[float] = []
        self._energy, self._filled, self._step = 0.0, 0, 0
        self._past = np.zeros((channels, 2 * HALF_TAPS), np.float32)
        self._peak = 0.0

    def add(self, block: Audio) -> None:
        if not block.shape[1]:
            return
        heard = block.astype(np.float64)
        if self._clip is not None:
            heard = np.clip(heard, -self._clip, self._clip)
        self._gather((self._weights * np.square(self._weighting(heard))).sum(axis=0))  # eq. 1 and 3
        self._past, self._peak = self._peak_after(block)

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

    def _peak_after(self, block: Audio) -> tuple[Audio, float]:
        # a sample is judged once its neighbours are known: a cut rings, and would read up to 1 dB too high
        joined = np.concatenate([self._past, block], axis=1)
        return joined[:, -2 * HALF_TAPS :], stream_peak(joined, self.sample_rate, self._peak)

    @property
    def steps(self) -> NDArray[np.float64]:
        """Mean power of each whole 100 ms so far."""
        return np.array(self._steps)

    @property
    def rest(self) -> tuple[float, float]:
        """The samples after the last whole 100 ms: their energy as if it were spread over 100 ms, and their share of them."""
        length = self._boundary(self._step + 1) - self._boundary(self._step)
        return self._energy / length, self._filled / length

    def level(self) -> Level:
        """Loudness and true peak of all samples so far.

        Raises:
            ValueError: the stream held NaN or infinity.
        """
        steps = self.steps
        _, peak = self._peak_after(np.zeros((len(self._past), HALF_TAPS), np.float32))
        if not (np.isfinite(steps).all() and math.isfinite(self._energy) and math.isfinite(peak)):
            raise ValueError("the signal holds NaN or infinity")
        return Level(integrated(steps), 20 * math.log10(peak) if peak > 0 else None)


def over_time(signal_: Audio, sample_rate: int, window_sec: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Loudness in a sliding window, every 100 ms: momentary with 0.4 s, short-term with 3 s (EBU Tech 3341, 2.2). Not gated.

    Args:
        signal_: `[C, T]`.

    Returns:
        Times of the windows' ends (seconds) and LUFS; -inf for digital silence; empty where the signal is shorter than the window.
    """
    meter = Meter(sample_rate, signal_.shape[0])
    meter.add(signal_)
    count = round(window_sec / STEP_SEC)
    if len(meter._steps) < count:
        return np.zeros(0), np.zeros(0)
    power = np.lib.stride_tricks.sliding_window_view(np.array(meter._steps), count).mean(axis=1)
    with np.errstate(divide="ignore"):
        levels = np.asarray(OFFSET_LUFS + 10 * np.log10(power), np.float64)
    return np.asarray((np.arange(len(power)) + count) * STEP_SEC, np.float64), levels


def lufs_of(power: float) -> float:
    """Loudness of a mean power of all channels (eq. 4 and 7); -inf for none."""
    return OFFSET_LUFS + 10 * math.log10(power) if power > 0 else -math.inf


def integrated(steps: NDArray[np.float64]) -> float | None:
    """Integrated loudness of the powers of consecutive 100 ms steps, with both gates.

    Returns:
        LUFS, or None where no 400 ms block passes the absolute gate.
    """
    if len(steps) < STEPS_A_BLOCK:
        return None
    return gated(np.lib.stride_tricks.sliding_window_view(steps, STEPS_A_BLOCK).mean(axis=1), ABSOLUTE_GATE_LUFS)


def gated(power: NDArray[np.float64], absolute_lufs: float) -> float | None:
    """Loudness of blocks of these powers: of those above the absolute gate, and above the relative one; None where there is none."""
    with np.errstate(divide="ignore"):
        loudness = OFFSET_LUFS + 10 * np.log10(power)  # eq. 4
    power = power[loudness > absolute_lufs]
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

    The reduction that each sample needs (dB) is widened by a running maximum over +-5 ms, falls by at most 200 dB per second, and is
    then smoothed by a Hann window of +-5 ms: an average of values that are all large enough is large enough.
    """
    reach = max(8, round(LOOKAHEAD_SEC * sample_rate))
    margin = 2 * reach + HALF_TAPS
    ceiling = 10 ** ((ceiling_dbtp - MARGIN_DB) / 20)
    smooth = np.hanning(2 * reach + 3)[1:-1]
    smooth /= smooth.sum()
    held = 0.0  # reduction one sample before the part that the next block smooths
    for window in _with_margins(source, sample_rate, margin):
        block = window[:, margin : window.shape[1] - margin]
        need = 20 * np.log10(np.maximum(inter_sample_peaks(window, sample_rate, ceiling) / ceiling, 1.0))
        if held or need.any():
            wide = running_maximum(need, 2 * reach + 1)[margin - 2 * reach : len(need) - margin]
            fall = np.arange(len(wide) + 1) * (RELEASE_DB_PER_SEC / sample_rate)
            reduction = np.maximum(np.maximum.accumulate(np.append(held, wide) + fall) - fall, 0.0)
            held = float(reduction[block.shape[1]])
            block = (block * 10 ** (np.convolve(reduction[1:], smooth, mode="valid") / -20)).astype(np.float32)
        yield block


def running_maximum(x: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The highest of each `size` neighbours: `[n] -> [n - size + 1]`, in log2(size) steps."""
    width = 1
    while 2 * width <= size:
        x = np.maximum(x[:-width], x[width:])
        width *= 2
    return np.maximum(x[: len(x) - (size - width)], x[size - width :])


def _with_margins(source: Iterable[Audio], size: int, margin: int) -> Iterator[Audio]:
    """Blocks with the `margin` samples before and after them; zeros outside of the signal."""
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
