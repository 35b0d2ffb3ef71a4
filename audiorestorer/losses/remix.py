"""Self-training on mixtures whose parts only a teacher knows (RemixIT, Tzinis et al. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

from audiorestorer.losses.waveform import SI_SDR_CEILING_DB, SILENCE_RMS, si_sdr_db


def remixed(speech: Tensor, noise: Tensor, shift: int) -> tuple[Tensor, Tensor]:
    """The teacher's estimates `[B, 1, T]` put together anew: speech b with noise b - shift. Returns (mixture, its noise)."""
    moved = noise.roll(shift, dims=0)
    return speech + moved, moved


def remix(estimate: Tensor, mixture: Tensor, speech: Tensor, noise: Tensor) -> Tensor:
    """How badly a student splits a remixed mixture: 0 at 30 dB SI-SDR of both parts, 2 at -30 dB, nothing beyond (`[B, 1, T]` each).

    Its noise is what it leaves of the mixture, so speech and noise always sum to it. A part that is silent does not count.
    """
    total, counted = estimate.new_zeros(()), estimate.new_zeros(())
    for part, reference in ((estimate, speech), (mixture - estimate, noise)):
        level = si_sdr_db(part, reference).clamp(-SI_SDR_CEILING_DB, SI_SDR_CEILING_DB)
        there = (reference.square().mean(dim=-1).sqrt() > SILENCE_RMS).to(level.dtype)
        total = total + ((1 - level / SI_SDR_CEILING_DB) * there).sum()
        counted = counted + there.sum()
    return total / torch.clamp_min(counted, 1)
