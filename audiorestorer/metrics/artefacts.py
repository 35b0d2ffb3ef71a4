"""Were the clicks removed, and were the transients kept? Both against the clean signal, both blind to the output's gain.

No public definition exists; these are ours. Prediction errors are those of AR(32) models fitted on the clean signal: speech is small
in them, clicks and onsets are large. Neither metric can be had for nothing: silence correlates with nothing, so it scores 0 in both;
the unchanged input has every click still in it (removal 0), and its hiss fills the onsets' prediction error (preservation falls with
the noise). A low-pass removes clicks, but loses the onsets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio
from audiorestorer.dsp.autoregression import Floats, Frames, fit, prediction_error
from audiorestorer.metrics import Missing

ORDER = 32
FRAME_SEC, HOP_SEC = 0.046, 0.02
NOISE_DB = (
    -30.0
)  # white noise that the models allow for, over the clean RMS: what lies below it is not heard and does not count
REMOVED_DB = 10.0
AROUND_SEC = 0.0005  # on both sides of a click
LEAST_SPAN_SEC = 0.001
LEAST_COSINE = 0.7  # between output and clean at a removed click's place
ACTIVE_DB = 30.0  # a click is counted where the clean signal lies within this of its RMS: in pauses a gate would score
LEAST_GAIN_COSINE = 1e-3  # below it the output holds nothing of the clean signal

ONSET_CELL_SEC = 0.005
ONSET_RISE_DB = 9.0  # of the clean prediction error, two cells over the six before
ONSET_FLOOR_DB = 25.0  # below the loudest cells' level, rises are noise
ONSET_PERCENTILE = 99.0
ONSET_SEC = 0.012
ONSET_APART_SEC = 0.05


@dataclass(frozen=True)
class Removal:
    """`rate`: the share of the `counted` clicks that were removed; counted are those 10 dB or more above the clean prediction error,
    where the clean signal is active."""

    rate: float
    counted: int


@dataclass(frozen=True)
class Preservation:
    """`value`: the mean over `onsets` of min(1, output / clean) of the prediction errors' energies, times their cosine (>= 0)."""

    value: float
    onsets: int


def impulse_removal(
    clean: Audio, noisy: Audio, output: Audio, starts: NDArray[np.int64], sample_rate: int,
    widths_sec: NDArray[np.float64] | None = None,
) -> Removal:  # fmt: skip
    """Share of known clicks whose local prediction error's energy falls by at least 10 dB, with the signal still there.

    A click is removed where the output's energy, at the clean signal's gain, lies 10 dB below the input's and the output still looks
    like the clean signal at this very place (cosine at least 0.7): a hole is no repair.

    Args:
        clean, noisy, output: `[C, T]`, aligned. starts: first samples of the clicks. widths_sec: how long each is; None: 1 ms.

    Raises:
        Missing: no click can be counted. ValueError: shapes differ.
    """
    _same(clean, noisy, output)
    gain = _gain(output, clean)
    errors = _Errors(clean, sample_rate)
    of_clean, of_noisy, of_output = (np.square(errors(audio)).sum(axis=0) for audio in (clean, noisy, output))
    least = np.mean(np.square(clean, dtype=np.float64)) * 10 ** (-ACTIVE_DB / 10)
    factor = 10 ** (-REMOVED_DB / 10)
    removed = counted = 0
    spans = np.maximum(LEAST_SPAN_SEC, widths_sec if widths_sec is not None else np.full(len(starts), LEAST_SPAN_SEC))
    around = round(AROUND_SEC * sample_rate)
    for start, span in zip(starts, spans, strict=True):
        place = slice(max(0, start - around), start + round(span * sample_rate) + around)
        before = of_noisy[place].sum()
        if of_clean[place].sum() > factor * before or np.mean(np.square(clean[:, place], dtype=np.float64)) < least:
            continue
        counted += 1
        fell = gain > 0 and of_output[place].sum() <= factor * before * gain**2
        removed += bool(fell and _cosine(output[:, place], clean[:, place]) >= LEAST_COSINE)
    if not counted:
        raise Missing("no click stands out where the clean signal is active")
    return Removal(removed / counted, counted)


def transient_preservation(clean: Audio, output: Audio, sample_rate: int) -> Preservation:
    """The share of the clean signal's onsets that is in the output, weighted with how like them it is.

    Args:
        clean, output: `[C, T]`, aligned.

    Raises:
        Missing: the clean signal has no onset. ValueError: shapes differ.
    """
    _same(clean, output)
    gain = _gain(output, clean)
    errors = _Errors(clean, sample_rate)
    of_clean, of_output = errors(clean), errors(output)
    energies, cosines = [], []
    for onset in onsets(of_clean, sample_rate):
        place = slice(onset, onset + round(ONSET_SEC * sample_rate))
        wanted = float(np.square(of_clean[:, place]).sum())
        got = float(np.square(of_output[:, place]).sum()) / gain**2 if gain > 0 else 0.0
        energies.append(min(1.0, got / wanted))
        cosines.append(max(0.0, _cosine(of_output[:, place], of_clean[:, place])))
    if not energies:
        raise Missing("the clean signal has no onset")
    products = np.asarray(energies) * np.asarray(cosines)
    return Preservation(float(products.mean()), len(energies))


def onsets(error: Floats, sample_rate: int) -> list[int]:
    """Samples at which the clean prediction error `[C, T]` rises by 9 dB within 10 ms, at least 50 ms apart."""
    size = max(1, round(ONSET_CELL_SEC * sample_rate))
    count = error.shape[1] // size
    if count < 9:
        return []
    energy = np.square(error[:, : count * size]).sum(axis=0).reshape(count, size).sum(axis=1)
    sums = np.concatenate([[0.0], np.cumsum(energy)])
    at = np.arange(6, count - 2)
    now, before = (sums[at + 2] - sums[at]) / 2, (sums[at] - sums[at - 6]) / 6
    least = np.percentile(energy, ONSET_PERCENTILE) * 10 ** (-ONSET_FLOOR_DB / 10)
    rise = now / np.maximum(before, 1e-20)
    found: list[int] = []
    for k in np.flatnonzero((rise > 10 ** (ONSET_RISE_DB / 10)) & (now > max(least, 1e-18))):
        place = int(at[k]) * size
        if not found or place - found[-1] >= ONSET_APART_SEC * sample_rate:
            found.append(place)
    return found


class _Errors:
    """Prediction errors `[C, T]` of signals by the models of one."""

    def __init__(self, clean: Audio, sample_rate: int) -> None:
        self._hop = max(1, round(HOP_SEC * sample_rate))
        frames = Frames(max(round(FRAME_SEC * sample_rate), 2 * ORDER, self._hop), self._hop, ORDER)
        power = float(np.mean(np.square(clean, dtype=np.float64))) * 10 ** (NOISE_DB / 10)
        self._filters = [fit(channel, frames, power) for channel in clean.astype(np.float64)]

    def __call__(self, audio: Audio) -> Floats:
        channels = zip(audio.astype(np.float64), self._filters, strict=True)
        return np.stack([prediction_error(channel, filters, self._hop) for channel, filters in channels])


def _gain(output: Audio, clean: Audio) -> float:
    """<output, clean> / <clean, clean>; 0 where the output holds nothing of the clean signal."""
    y, s = output.astype(np.float64).ravel(), clean.astype(np.float64).ravel()
    ys, ss, yy = float(y @ s), float(s @ s), float(y @ y)
    return ys / ss if ys > LEAST_GAIN_COSINE * math.sqrt(ss * yy) else 0.0


def _cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    norm = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / norm if norm > 0 else 0.0


def _same(clean: Audio, *others: Audio) -> None:
    for other in others:
        if other.shape != clean.shape:
            raise ValueError(f"{other.shape} and the clean signal's {clean.shape} differ in shape")
