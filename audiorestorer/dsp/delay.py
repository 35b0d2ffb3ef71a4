"""A stream moved in time by any number of samples, also by a part of one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

REACH = 64  # samples on each side of the kernel: flat within 0.01 dB up to 0.95 of the Nyquist rate
WHOLE = 0.05  # share of a sample: a delay nearer to a whole number is rounded


def advanced(source: Iterable[NDArray[np.float32]], samples: float, length: int) -> Iterator[NDArray[np.float32]]:
    """`y(t) = x(t + samples)` for `length` samples of blocks `[C, n]`; zero where x has none."""
    whole = math.floor(samples + 0.5)
    part = samples - whole
    blocks = iter(source) if abs(part) <= WHOLE else _between(source, part)
    yield from _cut(blocks, whole, length)


def _cut(source: Iterable[NDArray[np.float32]], first: int, length: int) -> Iterator[NDArray[np.float32]]:
    """The samples `first` to `first + length` of a stream, with zeros before its begin and after its end."""
    place, done, channels = 0, 0, None
    for block in source:
        if channels is None:
            channels = block.shape[0]
            if first < 0 and length:
                done = min(-first, length)
                yield np.zeros((channels, done), np.float32)
        begin, end = max(first + done - place, 0), min(first + length - place, block.shape[1])
        if begin < end:
            yield block[:, begin:end]
            done += end - begin
        place += block.shape[1]
    if channels is not None and done < length:
        yield np.zeros((channels, length - done), np.float32)


def _between(source: Iterable[NDArray[np.float32]], part: float) -> Iterator[NDArray[np.float32]]:
    """`x(t + part)`, |part| < 1, by a windowed sinc."""
    places = np.arange(-REACH, REACH + 1) + part
    kernel = np.sinc(places) * (np.i0(8 * np.sqrt(np.clip(1 - (places / (REACH + 1)) ** 2, 0, 1))) / np.i0(8))
    kernel /= kernel.sum()
    held: NDArray[np.float32] | None = None
    for block in source:
        if held is None:
            held = np.zeros((block.shape[0], REACH), np.float32)
        held = np.concatenate([held, block], axis=1)
        if held.shape[1] > 2 * REACH:
            yield oaconvolve(held, kernel[None], mode="valid", axes=1).astype(np.float32)
            held = held[:, -2 * REACH :]
    if held is not None:
        held = np.concatenate([held, np.zeros((held.shape[0], REACH), np.float32)], axis=1)
        if held.shape[1] > 2 * REACH:
            yield oaconvolve(held, kernel[None], mode="valid", axes=1).astype(np.float32)
