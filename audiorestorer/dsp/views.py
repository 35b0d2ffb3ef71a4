"""One signal of two channels: their mean, or half of their difference where the mean cancels (a cable with swapped poles)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

View: TypeAlias = Literal["mid", "side"]
# Half of the amplitude: a mean that keeps more than this is fit to measure, and ordinary stereo never comes near it
CANCELS = 0.25


@dataclass
class Energies:
    """The energy of both views, gathered block by block."""

    mid: float = 0.0
    side: float = 0.0

    def add(self, block: NDArray[Any]) -> None:
        """Add `[C, n]`; but for two channels, the side is nothing. What is no number counts as silence."""
        if block.shape[0] != 2:
            self.mid += _energy(block.mean(axis=0, dtype=np.float64))
            return
        left, right = block.astype(np.float64)
        self.mid += _energy((left + right) / 2)
        self.side += _energy((left - right) / 2)

    @property
    def view(self) -> View:
        """The mean, unless it has less than a quarter of the side's energy."""
        return "side" if self.mid < CANCELS * self.side else "mid"


def _energy(signal: NDArray[np.float64]) -> float:
    found = np.nan_to_num(signal, nan=0.0, posinf=0.0, neginf=0.0)
    return float(found @ found)


def view_of(blocks: Iterable[NDArray[Any]]) -> View:
    """The view that a signal in blocks `[C, n]` is best heard in."""
    found = Energies()
    for block in blocks:
        found.add(block)
    return found.view


def turned(block: NDArray[Any], view: View) -> NDArray[Any]:
    """`[C, n]` whose mean over the channels is the view: as it is, or with the second of two channels upside down."""
    return np.stack([block[0], -block[1]]) if view == "side" and block.shape[0] == 2 else block
