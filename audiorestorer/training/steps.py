"""Parts of an optimiser's step that the trainings share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def clip_gradients(parameters: Sequence[nn.Parameter], largest_norm: float) -> bool:
    """Clip the norm of the gradients, in place; False where it is not finite, and the step must not be taken."""
    return bool(nn.utils.clip_grad_norm_(parameters, largest_norm).isfinite())


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Move a moving average towards a network, in place: `keep` of what it was, the rest of the network; 0 copies.

    Whole numbers (counters of batch norm) are copied.
    """
    for kept, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point() and keep:
            kept.lerp_(now, 1 - keep)
        else:
            kept.copy_(now)
