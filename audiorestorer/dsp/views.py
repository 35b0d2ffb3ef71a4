"""One signal of two channels: their mean, or half of their difference where the mean cancels (a cable with swapped poles)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

View: TypeAlias = Literal["mid", "side"]
# Share of the side's energy, half of its amplitude: a mean with more is fit to measure; ordinary stereo has far more
CANCELS = 0.25


@dataclass
class Energies:
    """The energy of both views, gathered block by block."""

    mid: float = 0.0
    side: float = 0.0

    def add(self, block: NDArray[Any]) -> float:
        """Add `[C, n]` (NaN and infinity as silence) and return its energy. The side is counted for two channels only."""
        x = block.astype(np.float64)
        products = x @ x.T
        if not np.isfinite(products).all():
            x = np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)
            products = x @ x.T
        channels, whole = len(products), float(products.sum())
        self.mid += whole / channels**2
        if channels == 2:
            self.side += max(0.0, 2 * float(np.trace(products)) - whole) / 4
        return float(np.trace(products))

    @property
    def view(self) -> View:
        """The mean, unless it has less than a quarter of the side's energy."""
        return "side" if self.mid < CANCELS * self.side else "mid"


def view_of(blocks: Iterable[NDArray[Any]]) -> View:
    """The view that a signal in blocks `[C, n]` is best heard in."""
    energies = Energies()
    for block in blocks:
        energies.add(block)
    return energies.view


def turned(block: NDArray[Any], view: View) -> NDArray[Any]:
    """`[C, n]` whose mean over the channels is the view: as it is, or with the second of two channels upside down."""
    return np.stack([block[0], -block[1]]) if view == "side" and block.shape[0] == 2 else block
