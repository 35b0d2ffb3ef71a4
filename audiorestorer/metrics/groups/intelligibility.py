"""STOI and ESTOI of mixture and output against the reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

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
    from audiorestorer.metrics.intelligibility import stoi

    parts = {
        name: excerpts(files.stream(name), files.info, WINDOW_SEC, WINDOWS, files.examined.view)
        for name in ("clean", "noisy", "output")
    }
    for name, side, extended in (
        ("stoi_in", "noisy", False), ("stoi", "output", False), ("estoi_in", "noisy", True), ("estoi", "output", True),
    ):  # fmt: skip
        if figures.wanted(name):
            function = partial(stoi, sample_rate=files.info.sample_rate, extended=extended)
            figures.put(name, partial(_mean, function, parts[side], parts["clean"]), side)


def _mean(function: Callable[..., float], estimates: list[Audio], references: list[Audio]) -> float:
    values, reason = [], Missing("no window")
    for estimate, reference in zip(estimates, references, strict=True):
        try:
            values.append(function(estimate, reference))
        except Missing as missing:
            reason = missing
    if not values:
        raise reason
    return float(np.mean(values))


GROUP = Group(
    metrics=(
        Metric("stoi_in", "STOI before", "", "higher", 3, _STOI),
        Metric("stoi", "STOI after", "", "higher", 3, _STOI),
        Metric("estoi_in", "ESTOI before", "", "higher", 3, "extended " + _STOI),
        Metric("estoi", "ESTOI after", "", "higher", 3, "extended " + _STOI),
    ),
    cost=Cost(821, channel=0.05),
    place=30,
    compute=compute,
    examined=True,
)
