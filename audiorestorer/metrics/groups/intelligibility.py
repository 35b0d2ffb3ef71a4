"""STOI and ESTOI of mixture and output against the reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.metrics import Missing
from audiorestorer.metrics.files import Source, excerpts
from audiorestorer.metrics.groups import Figures, Group, Metric
from audiorestorer.resources import Cost

WINDOW_SEC = 60.0
WINDOWS = 5  # of a longer file: five minutes, evenly spread; a bound on time and memory
_STOI = "short-time objective intelligibility, 0 to 1"


def compute(files: Source, figures: Figures) -> None:
    """The channels are measured as one signal; of files longer than five minutes the mean over five windows of a minute is taken."""
    parts = {
        name: excerpts(files.stream(name), files.info, WINDOW_SEC, WINDOWS, files.examined.view)
        for name in ("clean", "noisy", "output")
    }
    rate = files.info.sample_rate
    for side, suffix in (("noisy", "_in"), ("output", "")):
        both = cache(partial(_both, parts[side], parts["clean"], rate))
        for number, name in enumerate((f"stoi{suffix}", f"estoi{suffix}")):
            if figures.wanted(name):
                figures.put(name, partial(_one, both, number), side)


def _one(both: Callable[[], tuple[float, float]], number: int) -> float:
    return both()[number]


def _both(estimates: list[Audio], references: list[Audio], rate: int) -> tuple[float, float]:
    """Means over the windows in which they can be had."""
    from audiorestorer.metrics.intelligibility import intelligibility

    values, reason = [], Missing("no window")
    for estimate, reference in zip(estimates, references, strict=True):
        try:
            values.append(intelligibility(estimate, reference, rate))
        except Missing as missing:
            reason = missing
    if not values:
        raise reason
    stoi, estoi = np.mean(values, axis=0)
    return float(stoi), float(estoi)


GROUP = Group(
    metrics=(
        Metric("stoi_in", "STOI before", "", "higher", 3, _STOI),
        Metric("stoi", "STOI after", "", "higher", 3, _STOI),
        Metric("estoi_in", "ESTOI before", "", "higher", 3, "extended " + _STOI),
        Metric("estoi", "ESTOI after", "", "higher", 3, "extended " + _STOI),
    ),
    cost=Cost(821, channel=0.016),
    place=30,
    compute=compute,
    examined=True,
)
