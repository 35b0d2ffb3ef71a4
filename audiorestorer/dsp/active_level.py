"""Active RMS of a stream with bounded memory: the level that clicks and noises are related to."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from audiorestorer.audio import Audio, rechunk

FRAME_SEC = 0.02
ACTIVE_RANGE_DB = 40.0  # below the loudest frame
STEP_DB = 0.25
LEVELS = np.arange(-160.0, 60.0, STEP_DB)
GROUP_FRAMES = 500


def active_level(source: Iterable[Audio], sample_rate: int) -> float:
    """RMS of the 20 ms frames within 40 dB of the loudest (to a quarter of a decibel), mean power of the channels; 0 for silence."""
    size = max(1, round(FRAME_SEC * sample_rate))
    counts, powers = np.zeros((2, len(LEVELS)))
    for block in rechunk(source, size * GROUP_FRAMES):
        whole = block[:, : block.shape[1] // size * size] if block.shape[1] >= size else block
        power = np.square(whole, dtype=np.float64).mean(axis=0).reshape(-1, min(size, whole.shape[1])).mean(axis=1)
        power = power[power > 0]
        place = np.clip(np.searchsorted(LEVELS, 10 * np.log10(power), side="right") - 1, 0, len(LEVELS) - 1)
        counts += np.bincount(place, minlength=len(LEVELS))
        powers += np.bincount(place, power, len(LEVELS))
    used = np.flatnonzero(counts)
    if not len(used):
        return 0.0
    first = max(0, used[-1] - int(ACTIVE_RANGE_DB / STEP_DB))
    return float(np.sqrt(powers[first:].sum() / counts[first:].sum()))
