"""Old recordings made from clean ones, with every drawn number recorded.

The chain is that of a transfer: speed (wow), the recording's band, then the noises of groove and playback (hiss, rumble, noise
that repeats with the record, crackle, clicks, pops, hum), then clipping. An example depends on its generator alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.datasets.degradation.settings import (
    DegradationSettings,
    HumSettings,
    ImpulseSettings,
    RevolutionSettings,
    WowSettings,
)
from audiorestorer.datasets.levels import active_mask
from audiorestorer.dsp import artefacts, wow
from audiorestorer.dsp.clicks import ImpulseLaw, Impulses, as_dict, draw

SILENT_LEVEL = 0.05  # -26 dBFS: reference of levels where the clean signal is silent
CHANNEL_DB = 6.0  # an impulse's level differs by up to this between channels
OCTAVE_FROM_HZ = 1000.0
CURVE_HZ = tuple(float(20 * 2 ** (k / 3)) for k in range(33))


@dataclass(frozen=True)
class Degraded:
    """A degraded recording.

    Attributes:
        noisy, target: `[C, T]` float32, aligned and at the same scale; the target has the clean signal's new speed and band.
        record: all drawn numbers, JSON-able; None for an artefact that was not drawn.
        impulses: all clicks, pops and crackle in order of time, for metrics (also in the record); not the scratches of a turn.
    """

    noisy: Audio
    target: Audio
    record: dict[str, Any]
    impulses: Impulses


def degrade(clean: Audio, sample_rate: int, settings: DegradationSettings, rng: np.random.Generator) -> Degraded:
    """Degrade a clean recording.

    Args:
        clean: `[C, T]`.

    Returns:
        See `Degraded`. The same generator state gives the same bytes.
    """
    length = clean.shape[1]
    level = active_level(clean, sample_rate)
    record: dict[str, Any] = {"family": "training", "sample_rate": sample_rate, "level": level}
    target, record["wow"] = _wow(rng, clean, sample_rate, settings.wow)
    band = _band(rng, settings)
    record["band"] = band
    target = limited(target, sample_rate, band)
    noise = np.zeros_like(target)
    for name, make in (("hiss", _hiss), ("rumble", _rumble), ("hum", _hum), ("revolution", _revolution)):
        artefact = getattr(settings, name)
        drawn, record[name] = make(rng, artefact, clean.shape, sample_rate) if _happens(rng, artefact) else (None, None)
        if drawn is not None:
            snr_db = float(rng.uniform(*artefact.snr_db))
            record[name]["snr_db"] = snr_db
            noise += drawn * np.float32(level * 10 ** (-snr_db / 20))
    trains = []
    for name in ("crackle", "clicks", "pops"):
        artefact = getattr(settings, name)
        record[name] = None
        if _happens(rng, artefact):
            train, impulses, record[name] = _impulses(rng, artefact, clean.shape, sample_rate, level)
            noise += train
            trains.append(impulses)
    if band and band["noise_too"]:
        noise = limited(noise, sample_rate, band)
    noisy = target + noise
    record["clipping"] = None
    if _happens(rng, settings.clipping):
        limit = active_level(noisy, sample_rate) * 10 ** (float(rng.uniform(*settings.clipping.limit_db)) / 20)
        record["clipping"] = {"limit": limit}
        noisy = artefacts.clip(noisy, limit)
    assert noisy.shape[1] == length == target.shape[1]
    return Degraded(noisy, target, record, together(trains))


def active_level(audio: Audio, sample_rate: int) -> float:
    """RMS of `[C, T]` where the mean of channels is active (see `levels`); SILENT_LEVEL on silence."""
    mask = active_mask(audio.mean(axis=0, dtype=np.float32), sample_rate)
    return float(np.sqrt(np.mean(np.square(audio[:, mask], dtype=np.float64)))) if mask.any() else SILENT_LEVEL


def together(trains: list[Impulses]) -> Impulses:
    """All trains in order of time."""
    if not trains:
        return Impulses(np.zeros(0, np.int64), *(np.zeros(0) for _ in range(3)))
    order = np.argsort(np.concatenate([train.starts for train in trains]), kind="stable")
    fields = Impulses.__dataclass_fields__
    return Impulses(*(np.concatenate([getattr(train, name) for train in trains])[order] for name in fields))


def limited(audio: Audio, sample_rate: int, band: dict[str, Any] | None) -> Audio:
    if band is None:
        return audio
    return artefacts.band_limit(audio, sample_rate, low_hz=band["low_hz"], high_hz=band["high_hz"], order=band["order"])


def log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _happens(rng: np.random.Generator, settings: Any) -> bool:
    return bool(rng.random() < settings.probability)


Drawn = tuple[Audio, dict[str, Any]]


def _wow(rng: np.random.Generator, clean: Audio, rate: int, settings: WowSettings) -> tuple[Audio, Any]:
    if not _happens(rng, settings):
        return clean.astype(np.float32, copy=True), None
    slow = wow.Speed(float(rng.uniform(*settings.depth_percent)) / 100, log_uniform(rng, settings.rate_hz), _phase(rng))
    fast = wow.Speed(
        float(rng.uniform(*settings.flutter_percent)) / 100, log_uniform(rng, settings.flutter_hz), _phase(rng)
    )
    record = {
        "depth_percent": 100 * slow.depth, "rate_hz": slow.rate_hz, "phase": slow.phase,
        "flutter_percent": 100 * fast.depth, "flutter_hz": fast.rate_hz, "flutter_phase": fast.phase,
    }  # fmt: skip
    return wow.warp(clean, wow.displacement((slow, fast), clean.shape[1], rate)), record


def _phase(rng: np.random.Generator) -> float:
    return float(rng.uniform(0, 2 * np.pi))


def _band(rng: np.random.Generator, settings: DegradationSettings) -> dict[str, Any] | None:
    band = settings.band
    if not _happens(rng, band):
        return None
    return {
        "low_hz": log_uniform(rng, band.low_hz), "high_hz": log_uniform(rng, band.high_hz),
        "order": int(rng.choice(band.orders)), "noise_too": bool(rng.random() < band.noise_too),
    }  # fmt: skip


def _hiss(rng: np.random.Generator, settings: Any, shape: tuple[int, int], rate: int) -> Drawn:
    number = int(rng.integers(len(settings.spectra)))
    tilt = float(rng.uniform(*settings.tilt_db))
    points = np.asarray(settings.spectra[number], np.float64)
    at = np.interp(np.log(CURVE_HZ), np.log(points[:, 0]), points[:, 1])
    curve = [(f, float(db + tilt * np.log2(f / OCTAVE_FROM_HZ))) for f, db in zip(CURVE_HZ, at, strict=True)]
    return artefacts.shaped_noise(rng, *shape, rate, curve), {"spectrum": number, "tilt_db": tilt}


def _rumble(rng: np.random.Generator, settings: Any, shape: tuple[int, int], rate: int) -> Drawn:
    corner = float(rng.uniform(*settings.corner_hz))
    return artefacts.rumble(rng, *shape, rate, corner), {"corner_hz": corner}


def _hum(rng: np.random.Generator, settings: HumSettings, shape: tuple[int, int], rate: int) -> Drawn:
    detune = 1 + float(rng.uniform(-1, 1)) * settings.detune_percent / 100
    base = float(rng.choice(settings.base_hz)) * detune
    number = int(rng.integers(settings.harmonics[0], settings.harmonics[1] + 1))
    drawn = artefacts.draw_hum(rng, base, number, float(rng.uniform(*settings.slope_db)))
    record = {"base_hz": base, "levels_db": list(drawn.levels_db), "phases": list(drawn.phases)}
    return np.repeat(artefacts.hum(drawn, shape[1], rate), shape[0], axis=0), record


def _revolution(rng: np.random.Generator, settings: RevolutionSettings, shape: tuple[int, int], rate: int) -> Drawn:
    rpm = float(rng.choice(settings.rpm))
    period = artefacts.revolution(rate, rpm)
    size = period + max(2, int(settings.fade_sec * rate))
    noise = artefacts.shaped_noise(rng, shape[0], size, rate, [(100.0, 6.0), (1000.0, 0.0), (16_000.0, -6.0)])
    law = ImpulseLaw(
        log_uniform(rng, settings.clicks_per_turn) * rate / period,
        10 ** (float(rng.uniform(*settings.click_level_db)) / 20),
        resonance_hz=(1500.0, 6000.0),
    )
    ticks, impulses = draw(rng, law, size, rate)
    start = int(rng.integers(period))
    out = artefacts.loop(noise + ticks, period, shape[1], start=start)
    record = {"rpm": rpm, "period": period, "start": start, **as_dict(law), "impulses": impulses.record()}
    return out, record


def _impulses(
    rng: np.random.Generator, settings: ImpulseSettings, shape: tuple[int, int], rate: int, level: float
) -> tuple[Audio, Impulses, dict[str, Any]]:
    law = ImpulseLaw(
        rate_per_sec=log_uniform(rng, settings.rate_per_sec),
        amplitude=level * 10 ** (float(rng.uniform(*settings.level_db)) / 20),
        spread_db=float(rng.uniform(*settings.spread_db)),
        law="pareto" if rng.random() < settings.pareto else "log-normal",
        width_sec=log_uniform(rng, settings.width_ms) / 1000,
        width_spread=settings.width_spread,
        resonance_hz=settings.resonance_hz,
    )
    train, impulses = draw(rng, law, shape[1], rate)
    gains = np.ones(1) if shape[0] == 1 else 10 ** (rng.uniform(-CHANNEL_DB, 0, shape[0]) / 20)
    record = {**as_dict(law), "channel_gains": [float(g) for g in gains], **impulses.record()}
    return (train * gains[:, None]).astype(np.float32), impulses, record
