"""Faults of old recordings besides clicks: hiss, rumble, hum, noise that repeats with the record, lost bands, clipping.

Noises are `[C, T]` float32 of RMS 1 (independent channels), drawn from a generator; the caller scales them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio

REVOLUTION_SEC = 33_923 / 44_100  # one turn of a record at 78 rpm
RUMBLE_LOWEST_HZ = 8.0  # below it pickups give nothing
RUMBLE_ORDER = 2
Curve = Sequence[tuple[float, float]]


def shaped_noise(rng: np.random.Generator, channels: int, length: int, sample_rate: int, curve: Curve) -> Audio:
    """Gaussian noise with a given spectrum.

    Args:
        curve: (Hz, dB) points of the power density, rising in Hz; straight lines over log frequency between them, constant outside.
    """
    spectrum = np.fft.rfft(rng.standard_normal((channels, max(length, 2))), axis=1)
    frequency = np.maximum(np.fft.rfftfreq(max(length, 2), 1 / sample_rate), 1.0)
    points = np.asarray(curve, np.float64)
    level_db = np.interp(np.log(frequency), np.log(points[:, 0]), points[:, 1])
    return _unit(np.fft.irfft(spectrum * 10 ** (level_db / 20), max(length, 2), axis=1)[:, :length])


def rumble(rng: np.random.Generator, channels: int, length: int, sample_rate: int, corner_hz: float) -> Audio:
    """Noise of bearings and motor: white from 8 Hz to the corner, falling by 12 dB per octave above it."""
    top, bottom = corner_hz, RUMBLE_LOWEST_HZ
    octaves = [(top * 2**k, -6.02 * RUMBLE_ORDER * k) for k in range(12)]
    return shaped_noise(rng, channels, length, sample_rate, [(bottom / 2, -60.0), (bottom, 0.0), *octaves])


@dataclass(frozen=True)
class Hum:
    """A mains hum.

    Attributes:
        base_hz: frequency of the mains. levels_db: level of its multiples 1, 2, .., any reference. phases: their phases, rad.
    """

    base_hz: float
    levels_db: tuple[float, ...]
    phases: tuple[float, ...]


def draw_hum(rng: np.random.Generator, base_hz: float, harmonics: int, slope_db: float) -> Hum:
    """Harmonics that fall by `slope_db` per octave in the mean, each up to 6 dB off that."""
    levels = -slope_db * np.log2(np.arange(1, harmonics + 1)) + rng.uniform(-6, 6, harmonics)
    phases = rng.uniform(0, 2 * np.pi, harmonics)
    return Hum(base_hz, tuple(float(v) for v in levels), tuple(float(v) for v in phases))


def hum(drawn: Hum, length: int, sample_rate: int) -> Audio:
    """The hum's samples, `[1, T]`, RMS 1."""
    time = np.arange(length) / sample_rate
    out = np.zeros(length)
    for number, (level, phase) in enumerate(zip(drawn.levels_db, drawn.phases, strict=True), 1):
        if number * drawn.base_hz < sample_rate / 2:
            out += 10 ** (level / 20) * np.sin(2 * np.pi * number * drawn.base_hz * time + phase)
    return _unit(out[None])


def revolution(sample_rate: int, rpm: float = 78.0) -> int:
    """Samples of a record's turn: 33,923 at 44.1 kHz and 78 rpm."""
    return round(REVOLUTION_SEC * 78.0 / rpm * sample_rate)


def loop(noise: Audio, period: int, length: int, *, start: int = 0) -> Audio:
    """Repeat a noise without a seam, in whole periods, so that what comes once per turn stays in time (Moliner & Valimaki 2022).

    Args:
        noise: `[C, n]`, more than one period; the rest after the last whole period is cross-faded into the beginning.
        start: sample of the loop that comes first.

    Returns:
        `[C, length]`.

    Raises:
        ValueError: no more than one period.
    """
    whole = (noise.shape[1] - 1) // period * period
    if whole < period:
        raise ValueError(f"a loop of {noise.shape[1]} samples holds no turn of {period} and its cross-fade")
    fade = min(noise.shape[1] - whole, period)
    angle = np.linspace(0, np.pi / 2, fade, dtype=np.float32)  # equal power: the two are not correlated
    turn = noise[:, :whole].copy()
    turn[:, :fade] = turn[:, :fade] * np.sin(angle) + noise[:, whole : whole + fade] * np.cos(angle)
    return np.asarray(turn[:, (start + np.arange(length)) % whole], np.float32)


def band_limit(audio: Audio, sample_rate: int, *, low_hz: float | None, high_hz: float | None, order: int = 6) -> Audio:
    """Butterworth filters, forth and back: no delay, -6 dB at the corners, 6 * order dB per octave.

    Args:
        audio: `[C, T]`. low_hz, high_hz: corners of the high-pass and low-pass; None, or out of reach: none.
        order: order of the two passes together, even.
    """
    from scipy import signal  # takes a second to load, and only this needs it

    out = audio.astype(np.float64)
    for corner, kind in ((low_hz, "highpass"), (high_hz, "lowpass")):
        if corner is not None and 0 < corner < 0.49 * sample_rate and audio.shape[1]:
            sections = signal.butter(max(1, order // 2), corner, kind, fs=sample_rate, output="sos")
            # three time constants of the corner, as far as the signal goes
            pad = min(audio.shape[1] - 1, int(3 * sample_rate / corner))
            out = signal.sosfiltfilt(sections, out, axis=1, padlen=pad)
    return out.astype(np.float32)


def clip(audio: Audio, limit: float) -> Audio:
    """Hard clipping at +-limit."""
    return np.asarray(np.clip(audio, -limit, limit), np.float32)


def soft_clip(audio: Audio, limit: float) -> Audio:
    """Saturation: limit * tanh(x / limit); small signals stay as they are."""
    return np.asarray(limit * np.tanh(audio / np.float32(limit)), np.float32)


def _unit(noise: NDArray[np.float64]) -> Audio:
    rms = float(np.sqrt(np.mean(np.square(noise)))) if noise.size else 0.0
    return (noise / max(rms, 1e-12)).astype(np.float32)
