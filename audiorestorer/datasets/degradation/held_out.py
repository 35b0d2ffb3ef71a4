"""A second family of degradations, for tests only: training must never draw from it, or the ablation would measure its own generator.

Every part differs from `degradations` in kind, not only in range: clustered instead of Poisson times, uniform-dB amplitudes, N-shaped,
rectangular and overshooting pulses, scratches that come as bursts once per turn, crackle of gated Laplace samples, swishing hiss
through resonances, rumble of wandering tones, a rectifier's buzz, a random walk of the speed, Chebyshev bands, saturation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import signal

from audiorestorer.audio import Audio
from audiorestorer.datasets.degradation.degradations import Degraded, active_level, log_uniform, together
from audiorestorer.datasets.degradation.settings import Hertz, Level, Percent, RangedSettings, Rate, Share, Width
from audiorestorer.dsp import artefacts, wow
from audiorestorer.dsp.clicks import Impulses

PULSES = ("n_wave", "rectangle", "overshoot")
CLUSTER_SHAPE = 0.5  # shape of the gamma distribution of intervals; 1 would be Poisson
SWISH_DB = 3.0
WALK_HZ = 1.0  # bandwidth of the speed's random walk
TONES = 4
STOP_DB = 45.0
JITTER_SEC = 0.0005


class HeldOutSettings(RangedSettings):
    """Shares of the examples and ranges; levels in dB over (or, as SNR, below) the clean signal's active RMS."""

    clicks: Share = Field(0.9, description="Share of the examples with clicks")
    clicks_per_sec: tuple[Rate, Rate] = Field(
        (0.5, 60.0), description="Clicks per second, drawn evenly over the logarithm"
    )
    click_db: tuple[Level, Level] = Field((-6.0, 24.0), description="Peak of each click, drawn evenly in dB")
    click_ms: tuple[Width, Width] = Field(
        (0.05, 1.5), description="Width of each pulse, ms, drawn evenly over the logarithm"
    )
    scratches: Share = Field(0.4, description="Share of the examples with scratches, a burst of ticks per turn")
    scratch_db: tuple[Level, Level] = Field((0.0, 20.0), description="Peak of each tick, drawn evenly in dB")
    crackle: Share = Field(0.4, description="Share of the examples with crackle")
    crackle_snr_db: tuple[Level, Level] = Field((14.0, 34.0), description="Signal over crackle, dB")
    hiss: Share = Field(0.9, description="Share of the examples with hiss")
    hiss_snr_db: tuple[Level, Level] = Field((5.0, 30.0), description="Signal over hiss, dB")
    rumble: Share = Field(0.4, description="Share of the examples with rumble")
    rumble_snr_db: tuple[Level, Level] = Field((5.0, 30.0), description="Signal over rumble, dB")
    buzz: Share = Field(0.3, description="Share of the examples with the buzz of a rectifier")
    buzz_snr_db: tuple[Level, Level] = Field((12.0, 40.0), description="Signal over buzz, dB")
    wow: Share = Field(0.25, description="Share of the examples whose speed wanders")
    wow_percent: tuple[Percent, Percent] = Field((0.05, 1.0), description="Standard deviation of the speed, percent")
    band: Share = Field(0.4, description="Share of the examples that are low-passed")
    band_hz: tuple[Hertz, Hertz] = Field(
        (2500.0, 7500.0), description="Corner of the low-pass, Hz, drawn evenly over the logarithm"
    )
    saturation: Share = Field(0.15, description="Share of the examples that are saturated")
    saturation_db: tuple[Level, Level] = Field(
        (2.0, 10.0), description="Limit of the saturation over the active RMS, dB"
    )


def degrade(clean: Audio, sample_rate: int, settings: HeldOutSettings, rng: np.random.Generator) -> Degraded:
    """Degrade a clean recording `[C, T]`; arguments and result are those of `degradations.degrade`."""
    channels, length = clean.shape
    if not length:
        return Degraded(clean, clean, {"family": "held_out", "sample_rate": sample_rate}, together([]))
    level = active_level(clean, sample_rate)
    record: dict[str, Any] = {"family": "held_out", "sample_rate": sample_rate, "level": level}
    target = clean.astype(np.float32, copy=True)
    record["wow"] = record["band"] = record["saturation"] = None
    if rng.random() < settings.wow:
        moved, record["wow"] = _walk(rng, settings, length, sample_rate)
        target = wow.warp(target, moved)
    if rng.random() < settings.band:
        corner = min(log_uniform(rng, settings.band_hz), 0.45 * sample_rate)
        record["band"] = {"high_hz": corner}
        sections = signal.cheby2(5, STOP_DB, corner, fs=sample_rate, output="sos")
        target = signal.sosfiltfilt(sections, target, axis=1, padlen=min(length - 1, 500)).astype(np.float32)
    noise = np.zeros_like(target)
    for name, make in (("hiss", _hiss), ("rumble", _rumble), ("buzz", _buzz), ("crackle", _crackle)):
        record[name] = None
        if rng.random() < getattr(settings, name):
            drawn, record[name] = make(rng, channels, length, sample_rate)
            snr_db = float(rng.uniform(*getattr(settings, f"{name}_snr_db")))
            record[name]["snr_db"] = snr_db
            rms = max(float(np.sqrt(np.mean(np.square(drawn)))), 1e-12)
            noise += (drawn * (level * 10 ** (-snr_db / 20) / rms)).astype(np.float32)
    trains = []
    for name, times in (("clicks", _clustered), ("scratches", _scratches)):
        record[name] = None
        if rng.random() < getattr(settings, name):
            at = times(rng, settings, length, sample_rate)
            bounds = settings.click_db if name == "clicks" else settings.scratch_db
            train, impulses, shapes = _pulses(rng, at, bounds, settings.click_ms, level, length, sample_rate)
            noise += train
            trains.append(impulses)
            record[name] = {"shapes": shapes, **impulses.record()}
    noisy = target + noise
    if rng.random() < settings.saturation:
        limit = active_level(noisy, sample_rate) * 10 ** (float(rng.uniform(*settings.saturation_db)) / 20)
        record["saturation"] = {"limit": limit}
        noisy = artefacts.soft_clip(noisy, limit)
    return Degraded(noisy, target, record, together(trains))


def _walk(
    rng: np.random.Generator, settings: HeldOutSettings, length: int, rate: int
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """A speed that wanders: white noise through a resonance-free low-pass, integrated."""
    depth = float(rng.uniform(*settings.wow_percent)) / 100
    sections = signal.butter(2, [0.1, WALK_HZ], "bandpass", fs=rate, output="sos")
    speed = signal.sosfilt(sections, rng.standard_normal(length + 2 * rate))[2 * rate :]
    speed *= depth / max(float(speed.std()), 1e-12)
    moved = np.cumsum(speed)
    return moved - moved.mean(), {"depth_percent": 100 * depth}


Part = tuple[NDArray[np.float64], dict[str, Any]]


def _hiss(rng: np.random.Generator, channels: int, length: int, rate: int) -> Part:
    """White noise with a broad resonance, louder and softer once per turn."""
    centre, quality = log_uniform(rng, (1500.0, min(9000.0, 0.4 * rate))), float(rng.uniform(1, 4))
    turn_hz, depth = float(rng.choice([5 / 9, 0.75, 1.3])), float(rng.uniform(0, SWISH_DB))
    white = rng.standard_normal((channels, length))
    b, a = signal.iirpeak(centre, quality, fs=rate)
    swish = 10 ** (depth * np.sin(2 * np.pi * turn_hz * np.arange(length) / rate + rng.uniform(0, 6.28)) / 20)
    out = (0.3 * white + signal.lfilter(b, a, white, axis=1)) * swish
    return out, {"centre_hz": centre, "quality": quality, "turn_hz": turn_hz, "swish_db": depth}


def _rumble(rng: np.random.Generator, channels: int, length: int, rate: int) -> Part:
    time = np.arange(length) / rate
    tones = rng.uniform(9, 70, TONES)
    wander = np.cumsum(rng.standard_normal((TONES, length)), axis=1) * 0.3 / np.sqrt(rate)
    out = np.sin(2 * np.pi * tones[:, None] * time + 2 * np.pi * wander).sum(axis=0)
    return np.repeat(out[None], channels, axis=0), {"tones_hz": [float(t) for t in tones]}


def _buzz(rng: np.random.Generator, channels: int, length: int, rate: int) -> Part:
    """A rectified mains voltage, its bottom cut."""
    base, cut = float(rng.choice([50.0, 60.0]) * rng.uniform(0.98, 1.02)), float(rng.uniform(0, 0.8))
    wave = np.maximum(np.abs(np.sin(np.pi * 2 * base * np.arange(length) / rate)), cut)
    return np.repeat((wave - wave.mean())[None], channels, axis=0), {"base_hz": base, "cut": cut}


def _crackle(rng: np.random.Generator, channels: int, length: int, rate: int) -> Part:
    share = log_uniform(rng, (0.001, 0.02))
    return rng.laplace(size=(channels, length)) * (rng.random((1, length)) < share), {"share": share}


def _clustered(rng: np.random.Generator, settings: HeldOutSettings, length: int, rate: int) -> NDArray[np.float64]:
    per_sec = log_uniform(rng, settings.clicks_per_sec)
    number = int(3 * per_sec * length / rate) + 20
    steps = rng.gamma(CLUSTER_SHAPE, rate / per_sec / CLUSTER_SHAPE, number)
    at = np.cumsum(steps) - steps[0] * rng.random()
    return at[at < length]


def _scratches(rng: np.random.Generator, settings: HeldOutSettings, length: int, rate: int) -> NDArray[np.float64]:
    """A burst of ticks at about the same place of each turn."""
    turn = 60 / float(rng.choice([100 / 3, 45.0, 78.0]))
    starts = np.arange(rng.uniform(0, turn), length / rate, turn)
    ticks = np.sort(rng.uniform(0, rng.uniform(0.002, 0.015), int(rng.integers(3, 13))))
    at = (starts[:, None] + ticks + rng.normal(0, JITTER_SEC, (len(starts), len(ticks)))).ravel() * rate
    return np.sort(at[(at >= 0) & (at < length)])


def _pulses(
    rng: np.random.Generator, at: NDArray[np.float64], bounds_db: tuple[float, float], bounds_ms: tuple[float, float],
    level: float, length: int, rate: int,
) -> tuple[Audio, Impulses, list[str]]:  # fmt: skip
    out = np.zeros(length)
    size = level * 10 ** (rng.uniform(*bounds_db, len(at)) / 20) * rng.choice([-1.0, 1.0], len(at))
    widths = np.exp(rng.uniform(np.log(bounds_ms[0]), np.log(bounds_ms[1]), len(at))) / 1000
    shapes = [str(shape) for shape in rng.choice(PULSES, len(at))]
    for time, amplitude, width, shape in zip(at, size, widths, shapes, strict=True):
        first, wave = int(time), _shape(shape, width * rate)
        part = wave[: length - first]
        out[first : first + len(part)] += amplitude * part
    return out.astype(np.float32)[None], Impulses(at.astype(np.int64), size, widths, np.zeros(len(at))), shapes


def _shape(kind: str, width: float) -> NDArray[np.float64]:
    """`[n]`, largest magnitude 1; `width` in samples."""
    if kind == "rectangle":
        return np.ones(max(1, round(width)))
    if kind == "n_wave":
        place = np.linspace(-3, 3, max(3, round(width)))
        wave = -place * np.exp(-(place**2) / 2)
    else:
        place = np.arange(max(2, round(5 * width))) / max(width, 0.5)
        wave = np.exp(-3 * place) - 0.35 * np.exp(-place) * (1 - np.exp(-6 * place))
    return np.asarray(wave / np.abs(wave).max())
