"""Noise by formulas, and the changes that recordings suffer: all from a generator, so that a seed gives the same samples."""

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
    """What a separator leaves of music: random patches of the time-frequency plane ("musical noise"). `[T]`."""
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
