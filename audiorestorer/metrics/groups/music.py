"""The blind music-to-speech ratio of mixture and output, which needs no reference."""

from __future__ import annotations

from functools import partial

import numpy as np

from audiorestorer.audio import rechunk
from audiorestorer.metrics.files import Files, Reasons, Values, gather
from audiorestorer.metrics.music import FRAME_SEC, blind_music_to_speech

EXAMINED = True
NAMES = ("music_to_speech_blind_in_db", "music_to_speech_blind_db")


def compute(files: Files) -> tuple[Values, Reasons]:
    values: Values = {}
    missing: Reasons = {}
    for name, side in zip(NAMES, ("noisy", "output"), strict=True):
        gather(values, missing, name, partial(_ratio, files.unmoved(), side), files, side)
    return values, missing


def _ratio(files: Files, name: str) -> float:
    return blind_music_to_speech(_frame_power(files, name))


def _frame_power(files: Files, name: str) -> np.ndarray:
    size = int(FRAME_SEC * files.info.sample_rate)
    powers = []
    for block in rechunk(files.stream(name), size * 256):
        whole = block[:, : block.shape[1] // size * size].reshape(block.shape[0], -1, size)
        powers.append(np.square(whole, dtype=np.float64).mean(axis=(0, 2)))
    return np.concatenate(powers)
