"""STOI and ESTOI of mixture and output against the reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.metrics import Missing
from audiorestorer.metrics.files import Files, Reasons, Values, excerpts, gather
from audiorestorer.metrics.intelligibility import stoi

NAMES = ("stoi_in", "stoi", "estoi_in", "estoi")
EXAMINED = True
WINDOW_SEC = 60.0
WINDOWS = 5  # of a longer file: five minutes, evenly spread; a bound on time and memory


def compute(files: Files) -> tuple[Values, Reasons]:
    """Of the channels as one signal. Files longer than five minutes: the mean over five windows of a minute, evenly spread."""
    values: Values = {}
    missing: Reasons = {}
    try:
        parts = {
            name: excerpts(files.stream(name), files.info, WINDOW_SEC, WINDOWS, files.examined.view)
            for name in ("clean", "noisy", "output")
        }
    except Missing as reason:
        return {}, dict.fromkeys(NAMES, str(reason))
    rate = files.info.sample_rate
    for name, side, extended in zip(NAMES, ("noisy", "output") * 2, (False, False, True, True), strict=True):
        function = partial(stoi, sample_rate=rate, extended=extended)
        gather(values, missing, name, partial(_mean, function, parts[side], parts["clean"]), files, side)
    return values, missing


def _mean(function: Callable[..., float], estimates: list[Audio], references: list[Audio]) -> float:
    found, reason = [], Missing("no window")
    for estimate, reference in zip(estimates, references, strict=True):
        try:
            found.append(function(estimate, reference))
        except Missing as missing:
            reason = missing
    if not found:
        raise reason
    return float(np.mean(found))
