"""Hinge losses of a GAN (Lim & Ye 2017, eq. 10-11) over the scores of several discriminators; each counts the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def discriminator(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Mean of relu(1 - D(real)) + relu(1 + D(generated)); `generated` must be detached from the generator."""
    parts = [
        functional.relu(1 - a).mean() + functional.relu(1 + b).mean() for a, b in zip(real, generated, strict=True)
    ]
    return torch.stack(parts).mean()


def generator(generated: Sequence[Tensor]) -> Tensor:
    """Mean of -D(generated)."""
    return torch.stack([-scores.mean() for scores in generated]).mean()
