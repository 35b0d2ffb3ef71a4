"""A third family of degradations: stand-ins for a shelf of real recordings where there is none.

Training sees them like real ones: by crops, without a clean version. It draws no pairs from here, and nothing here is shared with
`degradations` or with `held_out`: horns that colour, damage that comes again turn after turn and fades, pulses as
the difference of two decays, groove noise between white and pink, crackle of heavy tails (`datasets.noise.noises`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from audiorestorer.audio import Audio
from audiorestorer.datasets.degradation.degradations import Degraded, active_level, together
from audiorestorer.datasets.noise import noises, procedural
from audiorestorer.dsp.clicks import Impulses

TURN_SEC = 60 / 78
HORN_HZ, HORN_DB = (300.0, 1100.0), (3.0, 8.0)
BAND_HZ = (3500.0, 6500.0)
# Hiss and damage so that the unchanged input's impulses, as `losses.consistency` counts them, are those of vinyl transfers: measured
# 0.75 on two of them, 0.71 here (with groove noise 6 to 16 dB below, the hiss hides the clicks)
GROOVE_SNR_DB, GROOVE_SLOPE = (12.0, 30.0), (0.2, 0.9)
DAMAGE_PER_SEC = (0.5, 4.0)  # new places per second; each comes again
DAMAGE_TURNS = (2, 7)
DAMAGE_DB, DAMAGE_SPREAD_DB, FADE_DB = (8.0, 22.0), 4.0, 2.0
DAMAGE_MS = (0.1, 1.0)
OTHERS = {"crackle": (0.7, (12.0, 24.0)), "hum": (0.3, (15.0, 30.0)), "rumble": (0.5, (10.0, 25.0))}  # share, SNR in dB


def degrade(clean: Audio, sample_rate: int, rng: np.random.Generator) -> Degraded:
    """Degrade a mono recording `[1, T]`; the same generator state gives the same bytes. See `Degraded`."""
    target, record = _coloured(rng, clean, sample_rate)
    length, level = target.shape[1], active_level(target, sample_rate)
    record |= {"family": "stand_in", "sample_rate": sample_rate, "level": level}
    slope, snr_db = rng.uniform(*GROOVE_SLOPE), rng.uniform(*GROOVE_SNR_DB)
    groove = noises.modulated(rng, noises.coloured(rng, length, float(slope)), sample_rate)
    record["groove"] = {"slope": float(slope), "snr_db": float(snr_db)}
    noise = _at(groove, level, float(snr_db))
    for name, (share, bounds) in OTHERS.items():
        record[name] = None
        if rng.random() < share:
            ratio = float(rng.uniform(*bounds))
            noise += _at(_other(rng, name, length, sample_rate), level, ratio)
            record[name] = {"snr_db": ratio}
    train, impulses = _damage(rng, level, length, sample_rate)
    record["damage"] = impulses.record()
    return Degraded((target + noise + train).astype(np.float32), target, record, together([impulses]))


def _coloured(rng: np.random.Generator, clean: Audio, rate: int) -> tuple[Audio, dict[str, Any]]:
    """The recording through a horn: one resonance, and no treble above a corner."""
    centre, gain_db, corner = (float(rng.uniform(*bounds)) for bounds in (HORN_HZ, HORN_DB, BAND_HZ))
    b, a = signal.iirpeak(centre, 1.5, fs=rate)
    peak = 10 ** (gain_db / 20) - 1
    horn = clean + peak * signal.lfilter(b, a, clean, axis=1)
    sections = signal.bessel(6, min(corner, 0.45 * rate), fs=rate, output="sos")
    target = signal.sosfilt(sections, horn, axis=1).astype(np.float32)
    return target, {"horn_hz": centre, "horn_db": gain_db, "corner_hz": corner}


def _other(rng: np.random.Generator, name: str, length: int, rate: int) -> NDArray[np.floating]:
    if name == "rumble":
        return procedural.make("rumble", int(rng.integers(1 << 30)), length, rate)
    return {"crackle": noises.crackle, "hum": noises.hum}[name](rng, length, rate)


def _at(noise: NDArray[np.floating], level: float, snr_db: float) -> NDArray[np.float32]:
    """The noise scaled to `snr_db` below a level; `[1, T]`."""
    rms = max(float(np.sqrt(np.mean(np.square(noise, dtype=np.float64)))), 1e-12)
    return np.asarray(noise[None] * (level * 10 ** (-snr_db / 20) / rms), np.float32)


def _damage(rng: np.random.Generator, level: float, length: int, rate: int) -> tuple[NDArray[np.float64], Impulses]:
    """Damaged places, each hit once per turn for some turns, less and less: samples `[1, T]` and the impulses."""
    before = DAMAGE_TURNS[1] * TURN_SEC  # places that began before the recording
    seconds = length / rate + before
    per_sec = float(np.exp(rng.uniform(*np.log(DAMAGE_PER_SEC))))
    median_db = float(rng.uniform(*DAMAGE_DB))
    at, size, widths = [], [], []
    for start in rng.uniform(-before, length / rate, int(rng.poisson(per_sec * seconds))):
        width = float(np.exp(rng.uniform(*np.log(DAMAGE_MS)))) / 1000
        peak = level * 10 ** (rng.normal(median_db, DAMAGE_SPREAD_DB) / 20) * float(rng.choice([-1.0, 1.0]))
        for turn in range(int(rng.integers(DAMAGE_TURNS[0], DAMAGE_TURNS[1] + 1))):
            at.append(start + turn * TURN_SEC)
            size.append(peak * 10 ** (-FADE_DB * turn / 20))
            widths.append(width)
    times, peaks, spans = np.asarray(at), np.asarray(size), np.asarray(widths)
    inside = (times >= 0) & (times < length / rate)
    starts = (times[inside] * rate).astype(np.int64)
    out = np.zeros(length)
    for first, peak, width in zip(starts, peaks[inside], spans[inside], strict=True):
        wave = _pulse(width * rate)[: length - first]
        out[first : first + len(wave)] += peak * wave
    return out[None], Impulses(starts, peaks[inside], spans[inside], np.zeros(len(starts)))


def _pulse(width: float) -> NDArray[np.float64]:
    """The difference of two decays, largest magnitude 1; `width` in samples."""
    place = np.arange(1, max(3, round(3 * width)) + 1)
    wave = np.exp(-place * 3 / max(width, 1.0)) - 0.8 * np.exp(-place * 1.5 / max(width, 1.0))
    return np.asarray(wave / np.abs(wave).max())
