"""Intelligibility: STOI and ESTOI, from one pass over the signals.

The package pystoi resamples, drops silent frames and defines the bands. Its own function makes the same spectra once for each of the
two measures, and adds random noise of 1e-16 to ESTOI's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pystoi import utils
from pystoi.stoi import BETA, DYN_RANGE, FS, N_FRAME, NFFT, OBM, N

from audiorestorer.metrics import Missing

STOI_MIN_SEC = 0.5


class Intelligibility(NamedTuple):
    """Both from 0 (nothing is understood) to 1."""

    stoi: float
    estoi: float


def intelligibility(estimate: NDArray[np.float32], reference: NDArray[np.float32], sample_rate: int) -> Intelligibility:
    """STOI (Taal et al. 2011) and ESTOI (Jensen & Taal 2016) of mono signals `[T]`.

    Raises:
        Missing: too short, silent, or too little speech for one 384 ms segment.
    """
    if estimate.shape != reference.shape or estimate.ndim != 1:
        raise ValueError(f"needs two signals [T] of one length, got {estimate.shape} and {reference.shape}")
    if len(reference) < STOI_MIN_SEC * sample_rate:
        raise Missing(f"shorter than {STOI_MIN_SEC} s")
    if not np.any(reference) or not np.any(estimate):
        raise Missing("silent")
    pair = [
        signal.astype(np.float64)
        if sample_rate == FS
        else utils.resample_oct(signal.astype(np.float64), FS, sample_rate)
        for signal in (reference, estimate)
    ]
    speech = utils.remove_silent_frames(*pair, DYN_RANGE, N_FRAME, N_FRAME // 2)
    if len(speech[0]) <= N_FRAME + (N - 1) * N_FRAME // 2:
        raise Missing("too little speech: STOI needs 30 frames of it")
    clean, heard = (_segments(signal) for signal in speech)
    return Intelligibility(_stoi(clean, heard), _estoi(clean, heard))


def _segments(speech: NDArray[np.float64]) -> NDArray[np.float64]:
    """Magnitudes in third-octave bands, `[segments, bands, N frames]` (Taal et al. 2011, equation 1)."""
    window = np.hanning(N_FRAME + 2)[1:-1]
    frames = sliding_window_view(speech[:-1], N_FRAME)[:: N_FRAME // 2]  # pystoi leaves the last whole frame out
    bands = np.sqrt(np.square(np.abs(np.fft.rfft(frames * window, NFFT))) @ OBM.T)
    return sliding_window_view(bands, N, axis=0)


def _stoi(clean: NDArray[np.float64], heard: NDArray[np.float64]) -> float:
    """The mean correlation of the bands' envelopes, those of the estimate clipped at 15 dB (equations 2 to 6)."""
    level = np.linalg.norm(clean, axis=2, keepdims=True) / (np.linalg.norm(heard, axis=2, keepdims=True) + utils.EPS)
    clipped = np.minimum(heard * level, clean * (1 + 10 ** (-BETA / 20)))
    return float(np.mean(np.sum(_normalised(clean, 2) * _normalised(clipped, 2), axis=2)))


def _estoi(clean: NDArray[np.float64], heard: NDArray[np.float64]) -> float:
    """The mean correlation of the spectra, after rows and columns were normalised (Jensen & Taal 2016, equations 4 to 6)."""
    spectra = (_normalised(_normalised(segments, 2), 1) for segments in (clean, heard))
    return float(np.mean(np.sum(next(spectra) * next(spectra), axis=(1, 2)) / N))


def _normalised(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Mean 0 and length 1 along an axis."""
    centred = values - np.mean(values, axis=axis, keepdims=True)
    return centred / (np.linalg.norm(centred, axis=axis, keepdims=True) + utils.EPS)
