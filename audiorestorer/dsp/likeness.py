"""Whether two recordings hold the same sound, and the delay between them: the peak of their cross-correlation.

Both spectra are whitened in part (generalised cross-correlation, Knapp & Carter 1976, each bin's power to the 0.4 instead of 1): loud
music, hum and the few strong partials of a voice then do not rule the sum, and the common sound still stands out. Measured on the
pilot's clips: 0.30 and more for a reference under music 10 dB louder than it, 0.06 and less for another sentence of the same voice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

WHITENING = 0.3  # exponent of each side's power in the cross-spectrum; 0.5 leaves the phase alone
FLOOR = 1e-8  # share of the mean power: below it, bins hold rounding
LOW_HZ = 80.0  # hum and rumble of both are no likeness
FADE_SEC = 0.05  # a window's sharp edges would be alike in both
# Least likeness of a match: LEAST, and in a few seconds LEAST_ROOT_SEC over the root of their number
LEAST, LEAST_ROOT_SEC = 0.1, 0.15
# Least correlation without whitening: for a few pure tones, whose whitened spectrum is rounding
LEAST_PLAIN = 0.5
# A peak more than PERIODIC_SEC away that the correlation at zero reaches to a share of PERIODIC is the next period's
PERIODIC_SEC, PERIODIC = 0.001, 0.95
STEPS = (0.5, 0.1, 0.02, 0.004)  # widths of the search between the samples


@dataclass(frozen=True)
class Match:
    """Result of a comparison.

    Attributes:
        delay_sec: delay of the second recording.
        likeness, plain: height of the peak, 0 to 1, with and without whitening.
        seconds: length of what was compared.
    """

    delay_sec: float
    likeness: float
    plain: float
    seconds: float

    @property
    def needed(self) -> float:
        return max(LEAST, LEAST_ROOT_SEC / math.sqrt(max(self.seconds, 1e-3)))

    @property
    def alike(self) -> bool:
        return self.likeness >= self.needed or self.plain >= LEAST_PLAIN


NOTHING = Match(0.0, 0.0, 0.0, 0.0)


def compare(
    pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]], rate: int, longest_delay_sec: float
) -> Match:
    """Compare windows `[T]` of two recordings, one pair per place; one delay is sought for all of them. Polarity does not count."""
    lags = int(longest_delay_sec * rate)
    pairs = [(first[: len(second)], second[: len(first)]) for first, second in pairs]
    longest = max((len(first) for first, _ in pairs), default=0)
    if longest < 2:
        return NOTHING
    size = fft.next_fast_len(longest + lags + 1, real=True)
    spectra = [(_spectrum(first, size, rate), _spectrum(second, size, rate)) for first, second in pairs]
    seconds = sum(len(first) for first, _ in pairs) / rate
    whitened, total = _cross(spectra, WHITENING)
    plain, plain_total = _cross(spectra, 0.0)
    if total <= 0 or plain_total <= 0:
        return Match(0.0, 0.0, 0.0, seconds)
    lags = min(lags, size // 2 - 1)
    heights = np.abs(_lagged(whitened, size, lags))
    lag = _peak(heights, lags, PERIODIC_SEC * rate)
    at_lag = np.abs(_lagged(plain, size, lags))[max(0, lags + lag - 1) : lags + lag + 2].max()
    return Match(
        -_between(whitened, size, float(lag)) / rate,
        float(min(1.0, heights[lags + lag] / total)),
        float(min(1.0, at_lag / plain_total)),
        seconds,
    )


def _spectrum(signal: NDArray[np.float32], size: int, rate: int) -> NDArray[np.complex128]:
    x = np.nan_to_num(signal.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    x -= x.mean()
    fade = min(int(FADE_SEC * rate), len(x) // 4)
    ramp = np.sin(np.linspace(0, np.pi / 2, fade)) ** 2
    x[:fade] *= ramp
    x[len(x) - fade :] *= ramp[::-1]
    spectrum: NDArray[np.complex128] = fft.rfft(x, size)
    spectrum[: int(LOW_HZ * size / rate)] = 0
    return spectrum


def _cross(
    spectra: Sequence[tuple[NDArray[np.complex128], NDArray[np.complex128]]], whitening: float
) -> tuple[NDArray[np.complex128], float]:
    """The sum of the cross-spectra, and what its correlation would be at its peak were both alike."""
    whole = np.zeros_like(spectra[0][0])
    energies = np.zeros(2)
    for pair in spectra:
        powers = [np.abs(one) ** 2 for one in pair]
        if min(power.sum() for power in powers) <= 0:
            continue
        powers = [power + FLOOR * power.mean() for power in powers]
        whole += pair[0] * np.conj(pair[1]) * (powers[0] * powers[1]) ** -whitening
        energies += [(power ** (1 - 2 * whitening)).sum() for power in powers]
    return whole, float(np.sqrt(energies[0] * energies[1]))


def _lagged(cross: NDArray[np.complex128], size: int, lags: int) -> NDArray[np.float64]:
    """The correlation at the lags from -`lags` to `lags`, of the first against the second, on the scale of `_cross`."""
    correlation = fft.irfft(cross, size) * (size / 2)
    return np.concatenate([correlation[-lags:], correlation[: lags + 1]]) if lags else correlation[:1]


def _peak(heights: NDArray[np.float64], lags: int, period: float) -> int:
    lag = int(heights.argmax()) - lags
    return 0 if abs(lag) > period and heights[lags] >= PERIODIC * heights[lags + lag] else lag


def _between(cross: NDArray[np.complex128], size: int, lag: float) -> float:
    """The peak's place between the samples: parabolas through three points, closer and closer."""
    turns = 2j * np.pi / size * np.arange(len(cross))

    def height(place: float) -> float:
        return float((cross * np.exp(turns * place)).real.sum())

    sign = math.copysign(1.0, height(lag))
    for step in STEPS:
        before, here, after = (sign * height(lag + offset) for offset in (-step, 0.0, step))
        bend = before - 2 * here + after
        if bend < 0:
            lag += float(np.clip((before - after) / (2 * bend), -1, 1)) * step
    return lag
