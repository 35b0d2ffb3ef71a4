"""The active frames of a window: a mask network's levels are taken over them, so that neither silence nor a click rules these.

The mask network sees each bin relative to the window's mean and to the bin's mean over time. It was trained on examples that are full
of sound: one word in a long silence stands 30 dB further above those means than any example did, and is taken for a click. So active
frames count for two thirds of the means at least. A window with enough of them, as nearly all are, is not changed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ACTIVE_RANGE_DB = 20.0  # a frame is active down to so far below the loud ones
LEAST_SHARE = 0.65  # least share of the active frames in the means
LOUD_SEC = 0.1  # length of the loudest frames that set the level
CLICK_DB = 30.0  # above the loud frames' level: peaks of speech and music stand up to about 20 dB above it
PARTS = 4  # per hop; a frame's level is the median over its parts, which a click of some milliseconds does not move


def _frame_power(audio: Tensor, n_fft: int, hop_length: int, *, about_mean: bool) -> Tensor:
    """Power of the frames of `MaskUNet.spectrum`, the median over their parts (`about_mean`: over the parts' variances):
    `[B, T] -> [B, N]`."""
    audio = functional.pad(audio, (n_fft // 2, n_fft // 2 + (-audio.shape[-1]) % hop_length))
    count = next(parts for parts in (PARTS, 2, 1) if hop_length % parts == 0)
    size = hop_length // count
    parts = audio.reshape(len(audio), -1, size)
    power = parts.var(dim=2, correction=0) if about_mean else parts.square().mean(dim=2)
    return power.unfold(1, n_fft // size, count).median(dim=2).values


def _loud(power: Tensor, seconds_per_frame: float) -> Tensor:
    """Power `[B, 1]` that the loudest tenth of a second of `[B, N]` reaches."""
    count = min(power.shape[1], max(1, round(LOUD_SEC / seconds_per_frame)))
    return power.topk(count, dim=1).values[:, -1:]


def unclicked(audio: Tensor, n_fft: int, hop_length: int, sample_rate: int) -> Tensor:
    """`[B, T]` with samples limited to `CLICK_DB` above the loud frames' level; unchanged where none is higher."""
    power = _frame_power(audio, n_fft, hop_length, about_mean=False)
    bound = _loud(power, hop_length / sample_rate).sqrt() * 10 ** (CLICK_DB / 20)
    bound = torch.where(bound > 0, bound, torch.inf)
    return torch.maximum(torch.minimum(audio, bound), -bound)


def frame_weights(audio: Tensor, n_fft: int, hop_length: int, sample_rate: int) -> Tensor | None:
    """Weights of a window's frames in its means, with mean 1.

    A frame's level is that of its deviation within some milliseconds: a constant offset and rumble are not heard in it.

    Args:
        audio: `[B, T]`.

    Returns:
        `[B, N]`, N the frames of `MaskUNet.spectrum`; None where all are 1.
    """
    power = _frame_power(audio, n_fft, hop_length, about_mean=True)
    heard = (power > 0) & (power > _loud(power, hop_length / sample_rate) * 10 ** (-ACTIVE_RANGE_DB / 10))
    share = heard.float().mean(dim=1, keepdim=True)
    if bool(((share == 0) | (share >= LEAST_SHARE)).all()):
        return None
    some = torch.where(share == 0, torch.ones_like(share), share)
    inside = (LEAST_SHARE / some).clamp_min(1.0)
    outside = ((1 - inside * share) / (1 - some).clamp_min(torch.finfo(share.dtype).eps)).clamp_max(1.0)
    return torch.where(share >= LEAST_SHARE, torch.ones_like(power), torch.where(heard, inside, outside))
