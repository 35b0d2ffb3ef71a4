"""The degraded versions of clean speech that an enhancer is measured on: one fault each, of a fixed size, drawn from a seed alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.datasets.enhancement import distortions
from audiorestorer.datasets.enhancement.distortions import Mono
from audiorestorer.datasets.levels import scale_to_snr
from audiorestorer.datasets.noise import noises
from audiorestorer.dsp import artefacts

BAND_ORDER = 8  # 48 dB per octave: as a telephone's or a low sampling rate's filter
SNR_DB = 5.0
PINK = 1.0  # exponent of the noise's spectrum
CLIP_SHARE = 0.2  # share of the peak: 14 dB of overdrive into a hard limit
GAP_SEC, GAP_SHARE = (0.02, 0.06), 0.05  # of lost packets: their length, and their share of the time
ROOM = {"reverberance": 55.0, "damping": 40.0, "room_scale": 50.0}  # a decay of 0.46 s, shorter above 2 kHz

Change = Callable[[np.random.Generator, Mono, int], Mono]


def _band(limit_hz: float) -> Change:
    def change(rng: np.random.Generator, speech: Mono, rate: int) -> Mono:
        return artefacts.band_limit(speech[None], rate, low_hz=None, high_hz=limit_hz, order=BAND_ORDER)[0]

    return change


def _reverberant(rng: np.random.Generator, speech: Mono, rate: int) -> Mono:
    return distortions.through(speech, distortions.reverb_response(rng, rate, **ROOM))


def _noisy(rng: np.random.Generator, speech: Mono, rate: int) -> Mono:
    noise = noises.modulated(rng, noises.coloured(rng, len(speech), PINK), rate)
    return speech + scale_to_snr(speech, noise, SNR_DB, rate)


def _clipped(rng: np.random.Generator, speech: Mono, rate: int) -> Mono:
    return artefacts.clip(speech, CLIP_SHARE * float(np.abs(speech).max(initial=0.0)))


def _gaps(rng: np.random.Generator, speech: Mono, rate: int) -> Mono:
    out, place = speech.copy(), 0
    while True:
        gap = rng.uniform(*GAP_SEC)
        place += int(rng.exponential(gap * (1 / GAP_SHARE - 1)) * rate)
        if place >= len(out):
            return out
        out[place : place + int(gap * rate)] = 0
        place += int(gap * rate)


CONDITIONS: dict[str, Change] = {
    "clean": lambda rng, speech, rate: speech,
    "band_4khz": _band(4000.0),
    "band_8khz": _band(8000.0),
    "reverberant": _reverberant,
    "noisy": _noisy,
    "clipped": _clipped,
    "gaps": _gaps,
}


def degraded(speech: Audio, sample_rate: int, condition: str, seed: int) -> Audio:
    """`[1, T]` with one of `CONDITIONS`, aligned; a band limit leaves a recording alone that has no higher frequencies."""
    rng = np.random.default_rng((seed, list(CONDITIONS).index(condition)))
    return np.asarray(CONDITIONS[condition](rng, speech[0], sample_rate), np.float32)[None]
