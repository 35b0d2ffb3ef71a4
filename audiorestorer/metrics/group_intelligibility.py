"""STOI and ESTOI of mixture and output against the reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.metrics import Missing
from audiorestorer.metrics.files import Files, Reasons, Values, gather
from audiorestorer.metrics.intelligibility import stoi

NAMES = ("stoi_in", "stoi", "estoi_in", "estoi")
WINDOW_SEC = 60.0
WINDOWS = 5  # of a longer file: five minutes, evenly spread; a bound on time and memory


def compute(files: Files) -> tuple[Values, Reasons]:
    """Of the channels' mean. Files longer than five minutes: the mean over five windows of a minute, evenly spread."""
    values: Values = {}
    missing: Reasons = {}
    try:
        parts = {name: _windows(files, name) for name in ("clean", "noisy", "output")}
    except Missing as reason:
        return {}, dict.fromkeys(NAMES, str(reason))
    rate = files.info.sample_rate
    for name, side, extended in zip(NAMES, ("noisy", "output") * 2, (False, False, True, True), strict=True):
        function = partial(stoi, sample_rate=rate, extended=extended)
        gather(values, missing, name, partial(_mean, function, parts[side], parts["clean"]))
    return values, missing


def _windows(files: Files, name: str) -> list[Audio]:
    info = files.info
    size = int(WINDOW_SEC * info.sample_rate)
    if info.frames <= WINDOWS * size:
        return [np.concatenate([block.mean(axis=0) for block in files.stream(name)])]
    starts = [int(number * (info.frames - size) / (WINDOWS - 1)) for number in range(WINDOWS)]
    windows = [np.zeros(size, np.float32) for _ in starts]
    position = 0
    for block in files.stream(name):
        mono = block.mean(axis=0)
        for start, window in zip(starts, windows, strict=True):
            begin, end = max(start, position), min(start + size, position + len(mono))
            if begin < end:
                window[begin - start : end - start] = mono[begin - position : end - position]
        position += len(mono)
    return windows


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
