"""The blind music-to-speech ratio of mixture and output, which needs no reference."""

from __future__ import annotations

from functools import partial

import numpy as np

from audiorestorer.audio import rechunk
from audiorestorer.metrics.files import Source
from audiorestorer.metrics.groups import Figures, Group, Metric
from audiorestorer.metrics.music import FRAME_SEC, blind_music_to_speech
from audiorestorer.resources import Cost

_BLIND = (
    "what sounds in the speaker's pauses, relative to the speech; needs no reference, compares a file with itself only"
)


def compute(files: Source, figures: Figures) -> None:
    whole = files.unmoved()
    figures.put("music_to_speech_blind_in_db", partial(_ratio, whole, "noisy"), "noisy")
    figures.put("music_to_speech_blind_db", partial(_ratio, whole, "output"), "output")


def _ratio(files: Source, name: str) -> float:
    return blind_music_to_speech(_frame_power(files, name))


def _frame_power(files: Source, name: str) -> np.ndarray:
    size = int(FRAME_SEC * files.info.sample_rate)
    powers = []
    for block in rechunk(files.stream(name), size * 256):
        whole = block[:, : block.shape[1] // size * size].reshape(block.shape[0], -1, size)
        powers.append(np.square(whole, dtype=np.float64).mean(axis=(0, 2)))
    return np.concatenate(powers)


GROUP = Group(
    metrics=(
        Metric("music_to_speech_blind_in_db", "music to speech before, blind", "dB", "lower", 2, _BLIND),
        Metric("music_to_speech_blind_db", "music to speech after, blind", "dB", "lower", 2, _BLIND),
    ),
    cost=Cost(107, channel=0.01),
    place=20,
    compute=compute,
    examined=True,
)
