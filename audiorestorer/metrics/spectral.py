"""Distances of spectra for speech that was made anew: its phase is its own, so levels are matched by energy, not by projection."""

from __future__ import annotations

import math

import numpy as np
import torch

from audiorestorer.audio import Audio
from audiorestorer.dsp import stft
from audiorestorer.metrics import Missing
from audiorestorer.metrics.signal import LogSpectralDistance, Sums, floor_power
from audiorestorer.models.enhancer.mel import SPAN_DB, MelSpectrogram
from audiorestorer.models.enhancer.settings import FeatureSettings

N_FFT, HOP = 2048, 512
HIGH_HZ = 4000.0  # `lsd_high_db` looks above it: what a telephone lacks
MEL_RMS = 0.1  # mel values have a floor: both sides are brought to this level first


def distances(estimate: Audio, reference: Audio, sample_rate: int) -> dict[str, float]:
    """Distances of `[1, T]` from a reference of the same shape, both at the reference's energy.

    Returns:
        `lsd_db`: log-spectral distance as in `metrics.signal`; `lsd_high_db`: the same above 4 kHz; `mel_db`: mean absolute
        difference of 128 Slaney mel magnitudes in dB.

    Raises:
        Missing: one of them is silent.
    """
    sums = Sums()
    sums.add(estimate, reference)
    if sums.ss <= 0 or sums.yy <= 0:
        raise Missing("the reference is silent" if sums.ss <= 0 else "the output is silent")
    scaled = estimate * np.float32(math.sqrt(sums.ss / sums.yy))
    floor = floor_power(sums, reference.size, float(np.square(stft.hann(N_FFT)).sum()))
    whole, high = LogSpectralDistance(floor), LogSpectralDistance(floor)
    first = math.ceil(HIGH_HZ / sample_rate * N_FFT)
    streams = [iter([scaled]), iter([reference])]
    for made, wanted in stft.analyse(streams, reference.shape[1], N_FFT, HOP):
        whole.add(made, wanted)
        if first < made.shape[-1]:
            high.add(made[..., first:], wanted[..., first:])
    found = {"lsd_db": whole.value(), "mel_db": _mel_db(scaled, reference, sample_rate, sums.ss)}
    return found if not high.frames else {**found, "lsd_high_db": high.value()}


def _mel_db(estimate: Audio, reference: Audio, sample_rate: int, energy: float) -> float:
    mels = MelSpectrogram(FeatureSettings(sample_rate=sample_rate, preemphasis=0.0))
    scale = np.float32(MEL_RMS / math.sqrt(energy / reference.size))
    made, wanted = (mels(torch.from_numpy(np.ascontiguousarray(signal * scale))) for signal in (estimate, reference))
    return float((made - wanted).abs().mean()) * SPAN_DB
