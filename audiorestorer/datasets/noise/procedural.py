"""Procedural noises of fixed kinds, each sample fixed by (kind, seed): `[T]` float32, RMS 1.

Made as stand-ins for a folder of recorded noises: hum at exactly 50 or 60 Hz, rumble and hiss with fixed corners. White, pink and
brown noise and crackle are those of `noises`, whose other functions draw their parameters too.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiorestorer.datasets.noise import noises

Mono = NDArray[np.float32]

HISS_CORNER_HZ = 2500.0  # tape and preamplifier hiss: white noise without its bass, which the ear does not notice
RUMBLE_CORNER_HZ = 80.0  # turntables and ventilation shafts: below the speech band
HVAC_CORNER_HZ = 250.0
HVAC_BLADE_HZ = (20.0, 60.0)  # fan blades passing: a weak line and its harmonics
CLICKS_PER_SEC = 6.0
VOICES = 8  # in a crowd
SYLLABLES_HZ = (3.0, 6.0)


def make(kind: str, seed: int, length: int, sample_rate: int, speech: Sequence[Mono] | None = None) -> Mono:
    """A noise of a kind.

    Args:
        kind: one of `KINDS`.
        speech: for `crowd`: recordings `[n]` to sum; without them, voices are built from formants.

    Raises:
        ValueError: no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"noise {kind!r}: not one of {', '.join(KINDS)}")
    rng = np.random.default_rng((zlib.crc32(kind.encode()), seed))
    noise = crowd(rng, length, sample_rate, speech) if kind == "crowd" else KINDS[kind](rng, length, sample_rate)
    rms = float(np.sqrt(np.mean(np.square(noise, dtype=np.float64))))
    return np.asarray(noise / max(rms, 1e-12), np.float32)


def _shaped(rng: np.random.Generator, length: int, rate: int, gain: Callable[[NDArray[Any]], NDArray[Any]]) -> Mono:
    """White noise through a magnitude response of frequency in Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    return np.asarray(np.fft.irfft(spectrum * gain(np.fft.rfftfreq(length, 1 / rate)), length), np.float32)


def _treble(frequency: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(1 / np.sqrt(1 + (HISS_CORNER_HZ / np.maximum(frequency, 1)) ** 4), np.float64)


def _hiss(rng: np.random.Generator, length: int, rate: int) -> Mono:
    return _shaped(rng, length, rate, _treble)


def _rumble(rng: np.random.Generator, length: int, rate: int) -> Mono:
    return _shaped(rng, length, rate, lambda f: (f > 5) / (1 + (f / RUMBLE_CORNER_HZ) ** 4))


def _hvac(rng: np.random.Generator, length: int, rate: int) -> Mono:
    air = _shaped(rng, length, rate, lambda f: (f > 10) / (1 + (f / HVAC_CORNER_HZ) ** 1.5))
    time = np.arange(length) / rate
    blade = rng.uniform(*HVAC_BLADE_HZ)
    lines = sum(np.sin(2 * np.pi * blade * k * time + rng.uniform(0, 6.28)) / k for k in range(1, 6))
    return np.asarray(air / (air.std() + 1e-12) + 0.15 * lines, np.float32)


def _hum(base: float) -> Callable[[np.random.Generator, int, int], Mono]:
    def hum(rng: np.random.Generator, length: int, rate: int) -> Mono:
        time = np.arange(length) / rate
        out = np.zeros(length)
        for k in range(1, min(16, int(rate / 2 / base))):
            # rectifiers and saturated cores: odd harmonics lead
            strength = rng.uniform(0.3, 1) / k * (1.0 if k % 2 else 0.5)
            out += strength * np.sin(2 * np.pi * base * k * time + rng.uniform(0, 2 * np.pi))
        return np.asarray(out, np.float32)

    return hum


def _clicks(rng: np.random.Generator, length: int, rate: int) -> Mono:
    """Mild clicks over a quiet hiss."""
    out = 0.02 * _hiss(rng, length, rate).astype(np.float64)
    count = max(1, int(rng.poisson(CLICKS_PER_SEC * length / rate)))
    pulse = np.exp(-np.arange(int(0.001 * rate) + 1) / (0.0002 * rate))
    impulses = np.zeros(length)
    np.add.at(impulses, rng.integers(0, length, count), rng.choice([-1, 1], count) * rng.uniform(0.3, 1, count))
    return np.asarray(out + np.convolve(impulses, pulse)[:length], np.float32)


def crowd(rng: np.random.Generator, length: int, rate: int, speech: Sequence[Mono] | None = None) -> Mono:
    """Babble: the sum of speech at random places, or of noise-excited and buzzing voices in syllables."""
    out = np.zeros(length)
    usable = [part for part in speech or () if len(part)]
    for _ in range(VOICES):
        if usable:
            part = usable[int(rng.integers(len(usable)))].astype(np.float64)
            start = int(rng.integers(len(part)))
            voice = np.resize(np.roll(part, -start), length)
        else:
            voice = _voice(rng, length, rate)
        out += voice / (voice.std() + 1e-12) * 10 ** (rng.uniform(-6, 0) / 20)
    return np.asarray(out, np.float32)


def _voice(rng: np.random.Generator, length: int, rate: int) -> NDArray[np.float64]:
    """A buzz through three resonances, on and off at a syllable's rate."""
    time = np.arange(length) / rate
    pitch = rng.uniform(90, 230) * (1 + 0.08 * np.sin(2 * np.pi * rng.uniform(0.3, 1) * time + rng.uniform(0, 6)))
    buzz = np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / rate)) + 0.3 * rng.standard_normal(length)
    frequency = np.fft.rfftfreq(length, 1 / rate)
    formants = rng.uniform((300, 900, 2200), (800, 2000, 3000))
    gain = sum(1 / (1 + ((frequency - f) / 120) ** 2) for f in formants)
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(*SYLLABLES_HZ) * time + rng.uniform(0, 6)) + 0.3, 0, 1)
    return np.asarray(np.fft.irfft(np.fft.rfft(buzz) * gain, length) * syllables, np.float64)


KINDS: dict[str, Callable[[np.random.Generator, int, int], Mono]] = {
    "white": lambda rng, length, rate: noises.coloured(rng, length, 0),
    "pink": lambda rng, length, rate: noises.coloured(rng, length, 1),
    "brown": lambda rng, length, rate: noises.coloured(rng, length, 2),
    "hiss": _hiss,
    "hum50": _hum(50.0),
    "hum60": _hum(60.0),
    "rumble": _rumble,
    "hvac": _hvac,
    "crowd": crowd,
    "clicks": _clicks,
    "crackle": noises.crackle,
}
