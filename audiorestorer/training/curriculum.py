"""How much of the training is synthetic, step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["linear", "cosine"]


@dataclass(frozen=True)
class CurriculumScheduler:
    """The share of synthetic examples, from `start` at the first step to `end` at the last of `steps`.

    It has no state: the share follows from the step alone, so a resumed training goes on exactly where it was.
    """

    start: float
    end: float
    steps: int
    shape: Shape = "linear"

    def __call__(self, step: int) -> float:
        """The share in [0, 1] at a step, which counts from 0; before the first that of the first, after the last that of the last."""
        progress = min(1.0, max(0.0, step / max(1, self.steps - 1)))
        if self.shape == "cosine":
            progress = 0.5 * (1 - math.cos(math.pi * progress))
        return self.start + (self.end - self.start) * progress
