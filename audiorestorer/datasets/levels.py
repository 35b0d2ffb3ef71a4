"""Active speech level and signal-to-noise ratio: one definition for the pilot input, the mixer and the tests.

`dsp.active_level` measures recordings of any length: it counts levels in quarters of a decibel and cannot name active samples.
Here each sample can, and the arithmetic must stay: the pilot models were trained with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiorestorer.dsp.active_level import ACTIVE_RANGE_DB, FRAME_SEC

SILENCE_POWER = 1e-10  # -100 dBFS: a signal below it is silent


def active_mask(speech: NDArray[np.float32], sample_rate: int) -> NDArray[np.bool_]:
    """Samples of 20 ms frames whose power is within 40 dB of the loudest frame's (all False on silence).

    Args:
        speech: `[T]`.

    Returns:
        `[T]` bool.
    """
    size = max(1, int(FRAME_SEC * sample_rate))
    frames = -(-len(speech) // size)
    power = np.zeros(frames * size, np.float64)
    power[: len(speech)] = np.square(speech, dtype=np.float64)
    power = power.reshape(frames, size).mean(axis=1)
    loudest = power.max(initial=0.0)
    active = power > loudest * 10 ** (-ACTIVE_RANGE_DB / 10) if loudest > SILENCE_POWER else np.zeros(frames, np.bool_)
    return np.asarray(np.repeat(active, size)[: len(speech)], np.bool_)


def snr_db(speech: NDArray[np.float32], other: NDArray[np.float32], sample_rate: int) -> float:
    """Speech-active SNR in dB: both powers are taken where the speech is active.

    NaN where there is no speech; +inf where `other` is silent there.
    """
    active = active_mask(speech, sample_rate)
    if not active.any():
        return float("nan")
    signal = float(np.mean(np.square(speech[active], dtype=np.float64)))
    noise = float(np.mean(np.square(other[active], dtype=np.float64)))
    return float("inf") if noise <= 0 else 10 * float(np.log10(signal / noise))


def scale_to_snr(
    speech: NDArray[np.float32], other: NDArray[np.float32], wanted_db: float, sample_rate: int
) -> NDArray[np.float32]:
    """`other`, scaled so that `snr_db(speech, other)` is `wanted_db`; unchanged where no ratio exists."""
    now = snr_db(speech, other, sample_rate)
    if not np.isfinite(now):
        return other
    return np.asarray(other * np.float32(10 ** ((now - wanted_db) / 20)), np.float32)
