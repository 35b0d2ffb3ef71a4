"""Gaussian noise by a seed an item: alone and in a batch, and on every device the same; a longer item begins as a shorter one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def seeded(seeds: Sequence[int], channels: int, frames: int, like: Tensor) -> Tensor:
    """`[B, channels, frames]`, one item a seed, in the type and on the device of `like`. Drawn on the CPU, frame by frame."""
    drawn = [torch.randn(frames, channels, generator=torch.Generator().manual_seed(seed % 2**63)).T for seed in seeds]
    return torch.stack(drawn).to(like)
