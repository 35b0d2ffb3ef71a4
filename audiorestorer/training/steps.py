"""Parts of an optimiser's step that the trainings share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from audiorestorer.training.run_settings import RunSettings


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


def adamw_with_cosine(
    settings: RunSettings, parameters: Sequence[nn.Parameter], weight_decay: float, schedule_steps: int | None = None
) -> dict[str, Any]:
    """AdamW with warm-up and a cosine to 1 % of the peak, as Lightning wants it. `schedule_steps`: of the cosine; None: the run's."""
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=weight_decay, betas=(0.9, 0.98))

    def factor(step: int) -> float:
        if step < settings.warmup_steps:
            return (step + 1) / settings.warmup_steps
        length = schedule_steps or settings.steps
        share = (step - settings.warmup_steps) / max(1, length - settings.warmup_steps)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
