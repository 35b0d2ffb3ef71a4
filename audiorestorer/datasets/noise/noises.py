"""Noise by formulas, and the changes that recordings suffer, drawn from a random generator: equal seeds give equal samples.

Each call draws its parameters too (mains frequency, click rate, colour): made for mixtures. `procedural` has noises of fixed kinds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mono = NDArray[np.float32]
Spectrum = NDArray[np.float64]


def coloured(rng: np.random.Generator, length: int, exponent: float) -> Mono:
    """Gaussian noise with a power spectrum f^-exponent (0 white, 1 pink, 2 brown, -1 blue), RMS 1. `[T]`."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency = np.maximum(np.arange(len(spectrum)), 1 + length // 1000)
    noise = np.fft.irfft(spectrum * frequency ** (-exponent / 2), length)
    return np.asarray(noise / (noise.std() + 1e-12), np.float32)


def hum(rng: np.random.Generator, length: int, sample_rate: int) -> Mono:
    """Mains hum: 50 or 60 Hz (within 1 %) and up to 19 harmonics of falling random strength. `[T]`, RMS 1."""
    base = float(rng.choice([50.0, 60.0]) * rng.uniform(0.99, 1.01))
    time = np.arange(length) / sample_rate
    out = np.zeros(length)
    for harmonic in range(1, int(rng.integers(3, 20))):
        level = rng.uniform(0.1, 1) * harmonic ** -rng.uniform(0.3, 1.2)
        out += level * np.sin(2 * np.pi * base * harmonic * time + rng.uniform(0, 2 * np.pi))
    return np.asarray(out / (out.std() + 1e-12), np.float32)


def crackle(rng: np.random.Generator, length: int, sample_rate: int) -> Mono:
    """Clicks of a record: Poisson impulses of heavy-tailed size with a short decay. `[T]`, RMS 1."""
    count = max(1, int(rng.poisson(rng.uniform(5, 120) * length / sample_rate)))
    out = np.zeros(length)
    np.add.at(out, rng.integers(0, length, count), rng.standard_normal(count) * rng.exponential(1, count) ** 1.5)
    decay = np.exp(-np.arange(64) / rng.uniform(1, 12)) * np.cos(np.arange(64) * rng.uniform(0.2, 2.5))
    out = np.convolve(out, decay)[:length] + 0.02 * rng.standard_normal(length)
    return np.asarray(out / (out.std() + 1e-12), np.float32)


def speech_shaped(rng: np.random.Generator, speech: Mono) -> Mono:
    """Steady noise with the spectrum of speech: its power spectrum, smoothed over 64 bins, with random phases. `[T]`, RMS 1."""
    power = np.convolve(np.abs(np.fft.rfft(speech)) ** 2, np.ones(64) / 64, mode="same")
    phase = np.exp(2j * np.pi * rng.random(len(power)))
    noise = np.fft.irfft(np.sqrt(power) * phase, len(speech))
    return np.asarray(noise / (noise.std() + 1e-12), np.float32)


def impacts(rng: np.random.Generator, length: int, sample_rate: int) -> Mono:
    """Things that are struck (crockery, keys, steps): 1 to 12 per second, each a burst and some damped resonances. `[T]`, RMS 1."""
    out = np.zeros(length + sample_rate)
    low, high = sorted(np.exp(rng.uniform(np.log(80), np.log(0.45 * sample_rate), 2)))
    decay_sec = np.exp(rng.uniform(np.log(0.005), np.log(0.25)))
    for begin in rng.integers(0, length, max(1, int(rng.poisson(rng.uniform(1, 12) * length / sample_rate)))):
        size = min(sample_rate, int(6 * decay_sec * sample_rate) + 32)
        time = np.arange(size) / sample_rate
        struck = rng.uniform(0, 0.5) * rng.standard_normal(size) * np.exp(-time / (0.2 * decay_sec))
        for frequency in rng.uniform(low, high, int(rng.integers(1, 6))):
            ring = np.exp(-time / (decay_sec * rng.uniform(0.3, 1)))
            struck = struck + rng.uniform(0.2, 1) * np.sin(2 * np.pi * frequency * time + rng.uniform(0, 6.28)) * ring
        out[begin : begin + size] += struck * 10 ** (rng.uniform(-20, 0) / 20)
    out = out[:length]
    return np.asarray(out / (out.std() + 1e-12), np.float32)


def engine(rng: np.random.Generator, length: int, sample_rate: int) -> Mono:
    """Motors and traffic: harmonics of a slowly changing 20 to 120 Hz over brown noise of changing level. `[T]`, RMS 1."""
    time = np.arange(length) / sample_rate
    drift = 1 + rng.uniform(0, 0.2) * np.sin(2 * np.pi * rng.uniform(0.05, 0.6) * time + rng.uniform(0, 6.28))
    phase = 2 * np.pi * np.cumsum(np.exp(rng.uniform(np.log(20), np.log(120))) * drift) / sample_rate
    harmonics = np.arange(1, int(rng.integers(4, 30)))
    levels = rng.uniform(0.1, 1, len(harmonics)) * harmonics ** -rng.uniform(0.3, 1.3)
    lines = sum(level * np.sin(k * phase + rng.uniform(0, 6.28)) for k, level in zip(harmonics, levels, strict=True))
    air = modulated(rng, coloured(rng, length, float(rng.uniform(1, 2.5))), sample_rate)
    noise = lines / np.std(lines) * rng.uniform(0, 1) + air
    return np.asarray(noise / (noise.std() + 1e-12), np.float32)


def wind(rng: np.random.Generator, length: int, sample_rate: int) -> Mono:
    """Gusts on a microphone: noise that falls by 6 to 15 dB per octave, in bursts. `[T]`, RMS 1."""
    noise = coloured(rng, length, float(rng.uniform(2, 5)))
    knots = max(4, int(length / sample_rate * rng.uniform(1, 10)))
    gain_db = np.interp(np.linspace(0, knots - 1, length), np.arange(knots), rng.uniform(-30, 0, knots))
    gusts = noise * 10 ** (gain_db / 20)
    return np.asarray(gusts / (gusts.std() + 1e-12), np.float32)


def modulated(rng: np.random.Generator, noise: Mono, sample_rate: int) -> Mono:
    """The same noise with a slowly changing level (0.3 to 4 Hz, up to 12 dB)."""
    knots = max(3, int(len(noise) / sample_rate * rng.uniform(0.6, 8)))
    gain_db = np.interp(np.linspace(0, knots - 1, len(noise)), np.arange(knots), rng.uniform(-12, 0, knots))
    return np.asarray(noise * 10 ** (gain_db / 20), np.float32)


def equaliser(rng: np.random.Generator, bins: int, sample_rate: int, range_db: float) -> Spectrum:
    """A smooth random curve over log frequency: magnitudes `[bins]`."""
    knots = rng.uniform(-range_db, range_db, 7)
    frequency = np.log2(np.maximum(np.linspace(0, sample_rate / 2, bins), 40) / 40)
    curve = np.interp(frequency / frequency[-1] * 6, np.arange(7), knots)
    return np.asarray(10 ** (curve / 20), np.float64)


def low_pass(bins: int, sample_rate: int, cutoff_hz: float) -> Spectrum:
    """A steep low-pass (one eighth of an octave wide), as resampling or a codec leaves it: magnitudes `[bins]`."""
    octaves = np.log2(np.maximum(np.linspace(0, sample_rate / 2, bins), 1) / cutoff_hz)
    return np.asarray(0.5 - 0.5 * np.sin(np.pi * np.clip(octaves * 8, -0.5, 0.5)), np.float64)


def room(rng: np.random.Generator, sample_rate: int) -> NDArray[np.float64]:
    """A synthetic room response: direct path 1 at sample 0, then exponentially decaying noise (RT60 0.1 to 0.7 s). `[n]`."""
    decay_sec = rng.uniform(0.1, 0.7)
    size = int(decay_sec * sample_rate)
    time = np.arange(size) / sample_rate
    tail = rng.standard_normal(size) * 10 ** (-3 * time / decay_sec)
    tail[: int(rng.uniform(0.002, 0.012) * sample_rate)] = 0
    tail *= rng.uniform(0.1, 0.7) / (np.sqrt(np.sum(tail**2)) + 1e-12)
    tail[0] = 1.0
    return tail


def gated(rng: np.random.Generator, signal: Mono) -> Mono:
    """Residues of music as a separator leaves them: random patches of the time-frequency plane ("musical noise"). `[T]`."""
    size, hop = 512, 256
    window = np.hanning(size + 1)[:size]
    padded = np.pad(signal, (size, size + (-len(signal)) % hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    spectrum = np.fft.rfft(frames, axis=1)
    coarse = rng.random(
        (spectrum.shape[0] // int(rng.integers(1, 6)) + 2, spectrum.shape[1] // int(rng.integers(1, 12)) + 2)
    )
    gate = (coarse > rng.uniform(0.4, 0.95)).astype(np.float64)
    rows = np.linspace(0, coarse.shape[0] - 1, spectrum.shape[0]).astype(int)
    columns = np.linspace(0, coarse.shape[1] - 1, spectrum.shape[1]).astype(int)
    frames = np.fft.irfft(spectrum * (gate[rows][:, columns] + rng.uniform(0, 0.15)), size, axis=1)
    out = np.zeros(len(padded))
    for phase in range(size // hop):
        chunk = frames[phase :: size // hop].reshape(-1)
        out[phase * hop : phase * hop + len(chunk)] += chunk[: len(out) - phase * hop]
    return np.asarray(out[size : size + len(signal)], np.float32)
