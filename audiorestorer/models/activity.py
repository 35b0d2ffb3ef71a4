"""The active frames of a window: a mask network's levels are taken over them, so that neither silence nor a click rules these.

The mask network sees each bin relative to the window's mean and to the bin's mean over time. It was trained on examples that are full
of sound: one word in a long silence stands 30 dB further above those means than any example did, and is taken for a click. So active
frames count for two thirds of the means at least. A window with enough of them, as nearly all are, is not changed.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from audiorestorer.audio import Audio

ACTIVE_RANGE_DB = 20.0  # a frame is active down to so far below the loud ones
LEAST_SHARE = 0.65  # least share of the active frames in the means
LOUD_SEC = 0.1  # length of the loudest frames that set the level
CLICK_DB = 30.0  # above the loud frames' level: peaks of speech and music stand up to about 20 dB above it
PARTS = 4  # per hop; a frame's level is the median over its parts, which a click of some milliseconds does not move


def _frame_power(audio: Audio, n_fft: int, hop_length: int, *, about_mean: bool) -> NDArray[np.float32]:
    """Power of the frames of `mask_arrays.spectrum`, the median over their parts (`about_mean`: over the parts' variances):
    `[B, T] -> [B, N]`. Of an even number of parts the lower one in the middle counts."""
    padded = np.pad(audio, ((0, 0), (n_fft // 2, n_fft // 2 + (-audio.shape[-1]) % hop_length)))
    count = next(parts for parts in (PARTS, 2, 1) if hop_length % parts == 0)
    size = hop_length // count
    parts = padded.reshape(len(padded), -1, size)
    power = parts.var(axis=2) if about_mean else np.square(parts).mean(axis=2)
    within = n_fft // size
    frames = sliding_window_view(power, within, axis=1)[:, ::count]
    middle: NDArray[np.float32] = np.partition(frames, (within - 1) // 2, axis=2)[:, :, (within - 1) // 2]
    return middle


def _loud(power: NDArray[np.float32], seconds_per_frame: float) -> NDArray[np.float32]:
    """Power `[B, 1]` that the loudest tenth of a second of `[B, N]` reaches."""
    count = min(power.shape[1], max(1, round(LOUD_SEC / seconds_per_frame)))
    return np.partition(power, -count, axis=1)[:, -count, None]


def unclicked(audio: Audio, n_fft: int, hop_length: int, sample_rate: int) -> Audio:
    """`[B, T]` with samples limited to `CLICK_DB` above the loud frames' level; the same array where none is higher."""
    power = _frame_power(audio, n_fft, hop_length, about_mean=False)
    bound = np.sqrt(_loud(power, hop_length / sample_rate)) * np.float32(10 ** (CLICK_DB / 20))
    bound[bound <= 0] = np.inf
    return audio if (np.abs(audio) <= bound).all() else np.clip(audio, -bound, bound)


def frame_weights(audio: Audio, n_fft: int, hop_length: int, sample_rate: int) -> NDArray[np.float32] | None:
    """Weights of a window's frames in its means, with mean 1.

    A frame's level is that of its deviation within some milliseconds: a constant offset and rumble are not heard in it.

    Args:
        audio: `[B, T]`.

    Returns:
        `[B, N]`, N the frames of `mask_arrays.spectrum`; None where all are 1.
    """
    power = _frame_power(audio, n_fft, hop_length, about_mean=True)
    heard = (power > 0) & (power > _loud(power, hop_length / sample_rate) * 10 ** (-ACTIVE_RANGE_DB / 10))
    share = heard.mean(axis=1, keepdims=True, dtype=np.float32)
    if ((share == 0) | (share >= LEAST_SHARE)).all():
        return None
    some = np.where(share == 0, np.float32(1), share)
    inside = np.maximum(LEAST_SHARE / some, 1.0)
    outside = np.minimum((1 - inside * share) / np.maximum(1 - some, np.finfo(np.float32).eps), 1.0)
    return np.where(share >= LEAST_SHARE, 1.0, np.where(heard, inside, outside)).astype(np.float32)
