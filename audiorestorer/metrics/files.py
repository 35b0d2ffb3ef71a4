"""The files of one item as aligned streams: mixture, output and, where there is one, the clean reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics import Missing

LENGTH_TOLERANCE_SEC = 0.1  # a lossy codec's padding; beyond it, two files are not the same recording
Values: TypeAlias = dict[str, float]
Reasons: TypeAlias = dict[str, str]


@dataclass(frozen=True)
class Files:
    """Paths of an item's mixture, output and reference (None: there is none)."""

    noisy: str
    output: str
    clean: str | None

    @property
    def info(self) -> audio.AudioInfo:
        """Of the output, whose rate, channels and length all others are brought to."""
        return audio.probe(self.output)

    def stream(self, name: str) -> Iterator[audio.Audio]:
        """The blocks of `noisy`, `output` or `clean`, aligned with the output: its rate, channels and length.

        Raises:
            Missing: no such file, or not the same length.
        """
        path: str | None = getattr(self, name)
        if path is None:
            raise Missing("no clean reference (references)")
        info = self.info
        try:
            own = audio.probe(path)
        except AudioRestorerError as error:
            raise Missing(str(error)) from error
        if abs(own.duration_sec - info.duration_sec) > LENGTH_TOLERANCE_SEC:
            raise Missing(f"{path}: {own.duration_sec:.2f} s, the output has {info.duration_sec:.2f} s")
        blocks = audio.resample_blocks(audio.blocks(path), own.sample_rate, info.sample_rate, own.channels)
        aligned = audio.fit_length(audio.to_channels(blocks, info.channels), info.frames)
        return audio.rechunk(aligned, int(audio.BLOCK_SEC * info.sample_rate))


def excerpts(stream: Iterator[Audio], info: audio.AudioInfo, seconds: float, count: int) -> list[Audio]:
    """The mean of a stream's channels, `[T]` each: whole where it is not longer than `count` windows, else that many, evenly spread.

    A bound on time and memory for metrics that need a signal in one piece.
    """
    size = int(seconds * info.sample_rate)
    if info.frames <= count * size:
        return [np.concatenate([block.mean(axis=0) for block in stream])]
    starts = [int(number * (info.frames - size) / max(1, count - 1)) for number in range(count)]
    windows = [np.zeros(size, np.float32) for _ in starts]
    position = 0
    for block in stream:
        mono = block.mean(axis=0)
        for start, window in zip(starts, windows, strict=True):
            begin, end = max(start, position), min(start + size, position + len(mono))
            if begin < end:
                window[begin - start : end - start] = mono[begin - position : end - position]
        position += len(mono)
    return windows


def mono_excerpt(path: str, rate: int, seconds: float, longest_sec: float) -> Audio:
    """`[T]` at `rate`: a file's channels' mean, or, of a file longer than `longest_sec`, windows of `seconds` evenly spread, joined.

    Raises:
        Missing: unreadable.
    """
    try:
        info = audio.probe(path)
        mono = audio.to_channels(audio.blocks(path), 1)
        resampled = audio.resample_blocks(mono, info.sample_rate, rate, 1)
        at_rate = replace(info, sample_rate=rate, frames=round(info.frames * rate / info.sample_rate), channels=1)
        return np.nan_to_num(np.concatenate(excerpts(resampled, at_rate, seconds, int(longest_sec / seconds))))
    except AudioRestorerError as error:
        raise Missing(str(error)) from error


def gather(values: Values, missing: Reasons, name: str, function: Callable[[], float]) -> None:
    """Put a metric into `values`, or the reason for its absence into `missing`."""
    try:
        value = float(function())
    except Missing as reason:
        missing[name] = str(reason)
        return
    if math.isfinite(value):
        values[name] = value
    else:
        missing[name] = "not a finite number: the signals hold NaN or infinity"
