"""Gaussian noise by one seed per item: the same alone and in a batch, and on every device; a longer item begins as a shorter one.

It belongs to places of a recording, not of a window: where two windows overlap they get the same noise, so that their outputs agree
and a cross-fade between them does not lose energy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK_FRAMES = 64  # drawn together; any frame can be reached without those before its block


def seeded(
    seeds: Sequence[int], channels: int, frames: int, like: Tensor, starts: Sequence[int] | None = None
) -> Tensor:
    """`[B, channels, frames]`, one item per seed, in the type and on the device of `like`. Drawn on the CPU.

    Args:
        starts: the first frame of each item in its recording (any sign); None: 0.
    """
    firsts = starts if starts is not None else [0] * len(seeds)
    drawn = [_stretch(seed, channels, first, frames) for seed, first in zip(seeds, firsts, strict=True)]
    return torch.stack(drawn).to(like)


def _stretch(seed: int, channels: int, first: int, frames: int) -> Tensor:
    """`[channels, frames]` of a seed's endless noise."""
    blocks = range(first // BLOCK_FRAMES, (first + frames - 1) // BLOCK_FRAMES + 1)
    begin = first - blocks[0] * BLOCK_FRAMES
    return torch.cat([_block(seed, channels, number) for number in blocks])[begin : begin + frames].T


def _block(seed: int, channels: int, number: int) -> Tensor:
    """`[BLOCK_FRAMES, channels]`."""
    digest = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") % 2**63)
    return torch.randn(BLOCK_FRAMES, channels, generator=generator)
