"""How much intelligibility an estimate lacks: 1 - STOI, on waveforms, with a gradient."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

# Taal, Hendriks, Heusdens & Jensen 2011: An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy Speech, II
FRAME_SEC = 0.0256
SEGMENT_FRAMES = 30
BANDS, LOWEST_HZ = 15, 150.0
CLIP_DB = -15.0
RANGE_DB = 40.0  # frames so much below the target's loudest do not count
SEGMENT_STEP = 10  # frames from one segment to the next; STOI's own step is 1
POWER_FLOOR = 1e-6


@cache
def third_octaves(sample_rate: int, n_fft: int) -> Tensor:
    """Which bins belong to which of the one-third octave bands below half the rate: `[K, F]` of 0 and 1."""
    hertz = torch.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    centres = LOWEST_HZ * 2 ** (torch.arange(BANDS) / 3)
    centres = centres[centres * 2 ** (1 / 6) <= sample_rate / 2]
    low, high = centres[:, None] * 2 ** (-1 / 6), centres[:, None] * 2 ** (1 / 6)
    return ((hertz >= low) & (hertz < high)).float()


def stoi(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """1 - STOI (Taal et al. 2011, eq. 1 to 6) of `[B, 1, T]`, mean over what speaks of the batch; 0 where nothing does.

    At the signals' own rate instead of 10 kHz; frames that are silent in the target weigh less, where STOI cuts them out: within 0.01
    of pystoi on speech without long pauses, lower by up to 0.06 with them. What is shorter than a segment (0.4 s) is one segment.
    """
    frame = round(FRAME_SEC * sample_rate)
    n_fft = 2 ** math.ceil(math.log2(frame))
    window = torch.hann_window(frame, device=estimate.device)
    both = torch.cat([target, estimate])[:, 0]
    spectrum = torch.stft(
        both, n_fft, frame // 2, frame, window=window, center=True, pad_mode="constant", return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    bands = third_octaves(sample_rate, n_fft).to(power)
    level = (bands @ power + POWER_FLOOR).sqrt()
    size = min(SEGMENT_FRAMES, level.shape[-1])
    x, y = level.unfold(-1, size, SEGMENT_STEP).chunk(2)  # [B, K, segments, frames]
    gain = x.norm(dim=-1, keepdim=True) / y.norm(dim=-1, keepdim=True)
    y = torch.minimum(y * gain, (1 + 10 ** (-CLIP_DB / 20)) * x)
    x, y = x - x.mean(dim=-1, keepdim=True), y - y.mean(dim=-1, keepdim=True)
    likeness = (x * y).sum(-1) / (x.square().sum(-1) * y.square().sum(-1) + POWER_FLOOR**2).sqrt()
    loudness = power[: len(target)].sum(dim=1)  # [B, N]
    speaks = (loudness > loudness.amax(dim=1, keepdim=True) * 10 ** (-RANGE_DB / 10)) & (loudness > POWER_FLOOR)
    weight = speaks.float().unfold(-1, size, SEGMENT_STEP).mean(dim=-1)  # [B, segments]
    lost = ((1 - likeness.mean(dim=1)).clamp_min(0) * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1e-3)
    heard = weight.sum(dim=1) > 0
    return lost.sum() / heard.sum().clamp_min(1)
