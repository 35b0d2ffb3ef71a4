"""The committed clean speech, for tests of what speech does to a detector."""

from functools import cache
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

CLEAN = Path(__file__).parents[1] / "data/pilot/clean"
LEVEL = 0.08  # active RMS of each recording


@cache
def clean_speech(sample_rate: int, recordings: int = 12) -> np.ndarray:
    """`[1, T]` float32: the first so many recordings that have the band for it, one after another."""
    parts: list[np.ndarray] = []
    for path in sorted(CLEAN.rglob("*.flac")):
        if len(parts) == recordings:
            break
        signal, rate = sf.read(path, always_2d=True)
        mono = signal.mean(axis=1)
        if rate >= sample_rate:
            loud = mono[np.abs(mono) > 0.01 * np.abs(mono).max()]
            parts.append(soxr.resample(mono * LEVEL / np.sqrt(np.mean(loud**2)), rate, sample_rate))
    return np.concatenate(parts)[None].astype(np.float32)
