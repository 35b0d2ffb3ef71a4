"""Wow and flutter: the speed of a turntable or a tape that is not constant, as time-varying resampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import ndimage

from audiorestorer.audio import Audio

OVERSAMPLING = 2  # before the spline, whose error grows towards its Nyquist frequency
SPLINE_ORDER = 5
PAD = 256  # mirrored samples on each side: the resampler would ring at the ends


@dataclass(frozen=True)
class Speed:
    """One sinusoidal change of speed: 1 + depth cos(2 pi rate t + phase).

    Attributes:
        depth: largest relative deviation; 0.01 is 1 % (17 cents). rate_hz: 0.556 and 1.3 Hz are 33 1/3 and 78 rpm.
    """

    depth: float
    rate_hz: float
    phase: float = 0.0


def displacement(speeds: tuple[Speed, ...], length: int, sample_rate: int) -> NDArray[np.float64]:
    """Displacement in samples of the reading place from that at constant speed, `[T]`; 0 in the mean.

    The speed's integral: a few milliseconds at most, whatever the length.
    """
    time = np.arange(length) / sample_rate
    out = np.zeros(length)
    for speed in speeds:
        scale = speed.depth * sample_rate / (2 * np.pi * speed.rate_hz)
        out += scale * np.sin(2 * np.pi * speed.rate_hz * time + speed.phase)
    return np.asarray(out - out.mean() if length else out)


def warp(audio: Audio, moved: NDArray[np.float64]) -> Audio:
    """Read `[C, T]` at the places t + moved[t]: `[C, T]`. Places outside are mirrored at the ends."""
    if not audio.shape[1]:
        return audio
    pad = min(PAD, audio.shape[1] - 1)
    padded = np.pad(audio.astype(np.float64), ((0, 0), (pad, pad)), mode="reflect")
    places = OVERSAMPLING * (pad + np.arange(audio.shape[1]) + moved)
    fine = soxr.resample(padded.T, 1, OVERSAMPLING, quality="VHQ").T
    out = [ndimage.map_coordinates(channel, [places], order=SPLINE_ORDER, mode="mirror") for channel in fine]
    return np.asarray(np.stack(out), np.float32)
