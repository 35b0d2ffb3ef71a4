"""Dropouts: short stretches of digital silence that begin and end in the midst of sound, as lost packets leave them, filled.

Each side is continued into the gap by an autoregressive model of high order (Burg's method; Kauppinen & Roth 2002), which goes on with
the pitch, and the two are cross-faded. A pause fades out before its silence begins: it is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import signal as scipy_signal

from audiorestorer.audio import Audio
from audiorestorer.dsp.autoregression import Floats, burg
from audiorestorer.dsp.overlap_add import with_context

SHORTEST_SEC, LONGEST_SEC = 0.004, 0.1
ORDER_SEC, CONTEXT_SEC = 0.01, 0.04  # of the model, and of what it is fitted on
EDGE_SEC, NEAR_SEC = 0.002, 0.01
LEAST_DB = -20.0  # of the sound beside a gap, to the recording's active level: a noise gate closes below
LEAST_RATIO = 0.25  # of the level at a gap's very edge to that near it: sound that was cut off, and did not fade
LEAST_STEPS = 16  # of quantisation, that the sound beside a gap holds: quieter sound rounds to silence by itself
MOST_PER_SEC = 6.0  # a beeper or a pulse pauses more often, and regularly; lost packets seldom do
LEAST_SAMPLES = 32
SEGMENT_SEC = 2.0


def filled(source: Iterable[Audio], total: int, rate: int, levels: NDArray[np.float32]) -> Iterator[Audio]:
    """A recording without its dropouts: blocks `[C, n]`, `total` samples in all.

    Args:
        levels: active RMS of each channel, `[C]`.
    """
    return _by_rows(source, total, rate, levels, fill)


def present(source: Iterable[Audio], total: int, rate: int, levels: NDArray[np.float32]) -> bool:
    """Whether a recording has a dropout; the arguments are those of `filled`."""
    found = False

    def look(signal: Audio, rate: int, level: float) -> Audio:
        nonlocal found
        found = found or bool(find(signal, rate, level))
        return signal

    return any(found for _ in _by_rows(source, total, rate, levels, look))


def _by_rows(
    source: Iterable[Audio], total: int, rate: int, levels: NDArray[np.float32], function: Callable[[Audio, int, float], Audio]
) -> Iterator[Audio]:  # fmt: skip
    """`function` on each channel of a stretch with its surroundings."""
    margin = int(2 * (LONGEST_SEC + CONTEXT_SEC) * rate)  # what is near a gap may be a filled one

    def rows(window: Audio) -> Audio:
        return np.stack([function(row, rate, float(level)) for row, level in zip(window, levels, strict=True)])

    return with_context(source, total, max(1, int(SEGMENT_SEC * rate)), margin, rows)


def find(signal: Audio, rate: int, level: float) -> list[tuple[int, int]]:
    """The dropouts of `[T]`: samples `[begin, end)` of each. `level`: the active RMS."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], signal == 0, [False]]).astype(np.int8)))
    shortest, longest = max(8, int(SHORTEST_SEC * rate)), int(LONGEST_SEC * rate)
    edge, near = max(2, int(EDGE_SEC * rate)), int(NEAR_SEC * rate)
    sounding = np.abs(signal[signal != 0])
    if not len(sounding):
        return []
    least = max(level * 10 ** (LEAST_DB / 20), LEAST_STEPS * float(sounding.min()))

    def cut(side: Audio) -> bool:
        """Whether sound, the sample next to the gap first, ends abruptly there."""
        if len(side) < near:
            return False
        loud = _rms(side[:near])
        return loud > least and _rms(side[:edge]) > LEAST_RATIO * loud

    pairs = ((int(begin), int(end)) for begin, end in edges.reshape(-1, 2) if shortest <= end - begin <= longest)
    found = [
        (begin, end)
        for begin, end in pairs
        if cut(signal[max(0, begin - near) : begin][::-1]) and cut(signal[end : end + near])
    ]
    return found if len(found) <= max(MOST_PER_SEC, MOST_PER_SEC * len(signal) / rate) else []


def fill(signal: Audio, rate: int, level: float) -> Audio:
    """`[T]` without its dropouts; what is no dropout stays, bit by bit."""
    gaps = find(signal, rate, level)
    if not gaps:
        return signal
    out = signal.astype(np.float64)
    context, order = int(CONTEXT_SEC * rate), int(ORDER_SEC * rate)
    for begin, end in gaps:
        length = end - begin
        fade = np.cos(np.pi / 2 * (np.arange(length) + 0.5) / length) ** 2
        left = continued(out[max(0, begin - context) : begin], length, order)
        right = continued(out[end : end + context][::-1], length, order)[::-1]
        out[begin:end] = fade * left + (1 - fade) * right
    return out.astype(np.float32)


def continued(past: Floats, length: int, order: int) -> Floats:
    """The next samples `[length]` of a signal `[n]`, by the model of its past; zeros where there is too little of that."""
    if len(past) < LEAST_SAMPLES:
        return np.zeros(length)
    filters = burg(past, min(order, len(past) // 2))
    state = scipy_signal.lfiltic([1.0], filters, past[::-1][: len(filters) - 1])
    return np.asarray(scipy_signal.lfilter([1.0], filters, np.zeros(length), zi=state)[0], np.float64)


def _rms(signal: Audio) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))
