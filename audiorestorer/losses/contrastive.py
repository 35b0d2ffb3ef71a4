"""Pairs of embeddings that tell origins apart: InfoNCE with several positives (supervised contrastive, Khosla et al. 2020, eq. 2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

TEMPERATURE = 0.1


def contrastive(embeddings: Tensor, origin: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """The mean over anchors of -log p(an example of the same origin), among all others of the batch.

    Args:
        embeddings: `[B, D]`, of any length.
        origin: `[B]`, equal for examples of the same origin.

    Returns:
        A scalar; 0, with a gradient of 0, where the batch has one origin only or no pair of one.
    """
    own = torch.eye(len(origin), dtype=torch.bool, device=origin.device)
    same = (origin[:, None] == origin[None]) & ~own
    anchors = same.any(1) & ~(same | own).all(1)
    if not anchors.any():
        return embeddings.sum() * 0
    unit = functional.normalize(embeddings, dim=-1)
    likeness = (unit @ unit.T / temperature).masked_fill(own, -torch.inf)
    log_share = likeness - likeness.logsumexp(1, keepdim=True)
    positive = torch.where(same, log_share, 0.0).sum(1) / same.sum(1).clamp_min(1)
    return -positive[anchors].mean()
