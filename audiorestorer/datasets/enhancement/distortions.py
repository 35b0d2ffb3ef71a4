"""Six distortions of speech on its way to a recording, none of which moves it in time. All take and give mono `[T]`.

Room, artificial reverb, Gaussian noise, overdrive, one band of an equaliser, a band limit; the ranges are those of Resemble Enhance
where a comment does not say otherwise. Every draw comes from a generator and is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import soxr
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import signal as scipy_signal

from audiorestorer.config import Settings
from audiorestorer.datasets.degradation.degradations import log_uniform
from audiorestorer.dsp import artefacts

Mono = NDArray[np.float32]
Floats = NDArray[np.float64]
Rooms = Callable[[np.random.Generator], tuple[Floats, int, str]]
Hertz = Annotated[float, Field(gt=0, le=96_000)]
Percent = Annotated[float, Field(ge=0, le=100)]

SPLIT_HZ = 2000.0  # above it a room's damping shortens the decay
DECAY_SEC = (0.1, 1.6)  # reverberation time at reverberance 0 and 100
LARGEST_DAMPING = 0.8  # at damping 100 high frequencies decay in a fifth of the time
LARGEST_DELAY_SEC = 0.03  # delay of the first reflection at room scale 100
WET_DB = (-18.0, 3.0)  # energy of the tail over that of the direct sound, at reverberance 0 and 100
DIRECT_SHARE = 0.5  # share of the largest sample (-6 dB): the first that reaches it belongs to the direct sound
RMS_FLOOR = 1e-6  # -120 dBFS: below it there is nothing to distort


class DistortionSettings(Settings):
    """Ranges are [lowest, highest]; values are drawn evenly where the field does not say otherwise."""

    probability: float = Field(0.5, ge=0, le=1, description="Probability of each distortion; their number is binomial")
    reverb: tuple[Percent, Percent] = Field(
        (0.0, 100.0), description="Range of reverberance, damping and room scale, each drawn by itself, percent"
    )
    noise_snr_db: tuple[float, float] = Field(
        (15.0, 45.0), description="Speech over Gaussian noise, dB; there is no published value"
    )
    overdrive_db: tuple[float, float] = Field((5.0, 40.0), description="Gain before the tube, dB over a peak of 1")
    colour: tuple[Percent, Percent] = Field(
        (20.0, 80.0), description="Asymmetry of the tube, percent; it makes even harmonics"
    )
    equaliser_hz: tuple[Hertz, Hertz] = Field(
        (100.0, 4000.0), description="Centre of the equaliser's band, Hz, drawn evenly over the logarithm"
    )
    equaliser_q: tuple[float, float] = Field((1.0, 5.0), description="Quality factor of the equaliser's band")
    equaliser_db: tuple[float, float] = Field((-30.0, 30.0), description="Gain of the equaliser's band, dB")
    low_pass_hz: tuple[Hertz, Hertz] = Field(
        (2000.0, 16_000.0), description="Corner of the low-pass, Hz, drawn evenly over the logarithm"
    )
    band_start_hz: tuple[Hertz, Hertz] = Field(
        (100.0, 1000.0), description="Lower corner of the band-pass, Hz, drawn evenly over the logarithm"
    )
    band_width_hz: tuple[Hertz, Hertz] = Field((2000.0, 4000.0), description="Distance of the band-pass's corners, Hz")
    order: int = Field(
        8, ge=2, le=16, multiple_of=2, description="Order of low-pass and band-pass; 6 dB per octave and order"
    )

    @model_validator(mode="after")
    def _ranges(self) -> DistortionSettings:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{name} is [lowest, highest]")
        if self.equaliser_q[0] <= 0:
            raise ValueError("equaliser_q must be positive")
        return self


def distort(
    rng: np.random.Generator,
    speech: Mono,
    sample_rate: int,
    settings: DistortionSettings,
    rooms: Rooms | None = None,
    *,
    least: int = 0,
) -> tuple[Mono, list[dict[str, Any]]]:
    """A random subset of the distortions in random order. The RMS stays what it was; silence stays as it is.

    Args:
        rooms: draws a response, the sample of its direct sound (see `align`), and its name; None: the other five.
        least: least number of distortions.

    Returns:
        `[T]`, and the record of the distortions in order, JSON-able.
    """
    kinds = ["room", *KINDS] if rooms is not None else list(KINDS)
    count = max(least, int(rng.binomial(len(kinds), settings.probability)))
    sequence = [kinds[number] for number in rng.permutation(len(kinds))[:count]]
    level = rms(speech)
    if level < RMS_FLOOR:
        return speech, []
    record: list[dict[str, Any]] = []
    out = speech
    for kind in sequence:
        if kind == "room":
            assert rooms is not None
            response, direct, name = rooms(rng)
            out, drawn = through(out, response, direct), {"response": name}
        else:
            out, drawn = KINDS[kind](rng, out, sample_rate, settings)
        out = np.asarray(out * np.float32(level / max(rms(out), RMS_FLOOR)), np.float32)
        record.append({"kind": kind, **drawn})
    return out, record


def rms(audio: NDArray[Any]) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if audio.size else 0.0


def align(response: NDArray[Any], from_rate: int, sample_rate: int) -> tuple[Floats, int]:
    """A room's response `[n]` at another rate, its direct sound scaled to 1, and the sample at which that lies.

    The direct sound is the first peak that reaches half of the largest: a reflection may be stronger than it.
    """
    aligned = np.asarray(response, np.float64)
    if from_rate != sample_rate:
        # a short response needs room for the filter's own ringing before its first sample
        lead = int(0.005 * from_rate)
        aligned = soxr.resample(np.pad(aligned, (lead, lead)), from_rate, sample_rate, quality="VHQ")
    size = np.abs(aligned)
    direct = int(np.argmax(size >= DIRECT_SHARE * size.max()))
    while direct + 1 < len(aligned) and size[direct + 1] > size[direct]:
        direct += 1
    return aligned / size[direct] * np.sign(aligned[direct]), direct


def through(speech: Mono, response: Floats, direct: int = 0) -> Mono:
    """Speech in a room: the direct sound of `response` stays where it was."""
    whole = scipy_signal.fftconvolve(speech.astype(np.float64), response)
    return np.asarray(whole[direct : direct + len(speech)], np.float32)


def reverb_response(
    rng: np.random.Generator, sample_rate: int, reverberance: float, damping: float, room_scale: float
) -> Floats:
    """Direct sound 1 at sample 0, then decaying noise; the three parameters lie in [0, 100]: `[n]`."""
    share = reverberance / 100
    decay_sec = DECAY_SEC[0] * (DECAY_SEC[1] / DECAY_SEC[0]) ** share
    time = np.arange(max(8, int(decay_sec * sample_rate))) / sample_rate
    spectrum = np.fft.rfft(rng.standard_normal(len(time)))
    low = np.fft.rfftfreq(len(time), 1 / sample_rate) < SPLIT_HZ
    tail = np.zeros(len(time))
    for band, seconds in ((low, decay_sec), (~low, decay_sec * (1 - LARGEST_DAMPING * damping / 100))):
        tail += np.fft.irfft(spectrum * band, len(time)) * 10 ** (-3 * time / seconds)
    delay = 1 + int(LARGEST_DELAY_SEC * room_scale / 100 * sample_rate)
    level = 10 ** ((WET_DB[0] + (WET_DB[1] - WET_DB[0]) * share) / 20)
    tail *= level / (np.sqrt(np.sum(np.square(tail))) + 1e-12)
    return np.concatenate([[1.0], np.zeros(delay - 1), tail])


def peaking(sample_rate: int, centre_hz: float, quality: float, gain_db: float) -> Floats:
    """Second-order section `[1, 6]` of a bell: `gain_db` at the centre, none far from it (Bristow-Johnson's equations)."""
    omega = 2 * np.pi * centre_hz / sample_rate
    alpha, root = np.sin(omega) / (2 * quality), 10 ** (gain_db / 40)
    cosine = -2 * np.cos(omega)
    section = np.array([1 + alpha * root, cosine, 1 - alpha * root, 1 + alpha / root, cosine, 1 - alpha / root])
    return np.asarray((section / section[3])[None], np.float64)


Drawn = tuple[Mono, dict[str, Any]]


def _reverb(rng: np.random.Generator, speech: Mono, rate: int, settings: DistortionSettings) -> Drawn:
    drawn = {name: float(rng.uniform(*settings.reverb)) for name in ("reverberance", "damping", "room_scale")}
    return through(speech, reverb_response(rng, rate, **drawn)), drawn


def _noise(rng: np.random.Generator, speech: Mono, rate: int, settings: DistortionSettings) -> Drawn:
    snr_db = float(rng.uniform(*settings.noise_snr_db))
    scale = rms(speech) * 10 ** (-snr_db / 20)
    return np.asarray(speech + scale * rng.standard_normal(len(speech)), np.float32), {"snr_db": snr_db}


def _overdrive(rng: np.random.Generator, speech: Mono, rate: int, settings: DistortionSettings) -> Drawn:
    gain_db, colour = float(rng.uniform(*settings.overdrive_db)), float(rng.uniform(*settings.colour))
    driven = speech * np.float32(10 ** (gain_db / 20) / max(float(np.abs(speech).max()), RMS_FLOOR))
    bias = np.float32(colour / 100)
    out = artefacts.soft_clip((driven + bias)[None], 1.0)[0] - np.tanh(bias)
    return np.asarray(out, np.float32), {"gain_db": gain_db, "colour": colour}


def _equaliser(rng: np.random.Generator, speech: Mono, rate: int, settings: DistortionSettings) -> Drawn:
    centre = min(log_uniform(rng, settings.equaliser_hz), 0.45 * rate)
    drawn = {
        "centre_hz": centre,
        "quality": float(rng.uniform(*settings.equaliser_q)),
        "gain_db": float(rng.uniform(*settings.equaliser_db)),
    }
    return np.asarray(scipy_signal.sosfilt(peaking(rate, **drawn), speech), np.float32), drawn


def _band(rng: np.random.Generator, speech: Mono, rate: int, settings: DistortionSettings) -> Drawn:
    """A low-pass or a band-pass, one as often as the other."""
    low: float | None = None
    if rng.random() < 0.5:
        high = log_uniform(rng, settings.low_pass_hz)
    else:
        low = log_uniform(rng, settings.band_start_hz)
        high = low + float(rng.uniform(*settings.band_width_hz))
    out = artefacts.band_limit(speech[None], rate, low_hz=low, high_hz=high, order=settings.order)
    return out[0], {"low_hz": low, "high_hz": high}


KINDS: dict[str, Callable[..., Drawn]] = {
    "reverb": _reverb,
    "noise": _noise,
    "overdrive": _overdrive,
    "equaliser": _equaliser,
    "band": _band,
}
