"""Intelligibility: STOI and ESTOI."""

from __future__ import annotations

import warnings

import numpy as np
import pystoi
from numpy.typing import NDArray

from audiorestorer.metrics import Missing

STOI_MIN_SEC = 0.5


def stoi(
    estimate: NDArray[np.float32], reference: NDArray[np.float32], sample_rate: int, *, extended: bool = False
) -> float:
    """STOI (Taal et al. 2011) or ESTOI (Jensen & Taal 2016) of mono signals `[T]`.

    Raises:
        Missing: too short, silent, or too little speech for one 384 ms segment.
    """
    if estimate.shape != reference.shape or estimate.ndim != 1:
        raise ValueError(f"needs two signals [T] of one length, got {estimate.shape} and {reference.shape}")
    if len(reference) < STOI_MIN_SEC * sample_rate:
        raise Missing(f"shorter than {STOI_MIN_SEC} s")
    if not np.any(reference) or not np.any(estimate):
        raise Missing("silent")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = float(pystoi.stoi(reference, estimate, sample_rate, extended=extended))
    if any("Not enough STFT frames" in str(warning.message) for warning in caught):
        raise Missing("too little speech: STOI needs 30 frames of it")
    return value
