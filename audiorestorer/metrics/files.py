"""Streams to measure: an item's aligned files (`Files`) or signals in memory (`Signals`), and one of them as one channel (`Sound`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.dsp.delay import WHOLE, advanced
from audiorestorer.dsp.views import View, turned, view_of
from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics import Missing
from audiorestorer.metrics.examination import LENGTH_TOLERANCE_SEC, Examined, wrong_length


@dataclass(frozen=True)
class Files:
    """Paths of an item's mixture, output and reference (None: there is none), and what is known of them."""

    noisy: str
    output: str
    clean: str | None
    examined: Examined = Examined()

    @property
    def info(self) -> audio.AudioInfo:
        """The output's rate and channels, to which all others are brought, and its length, or that of what has a reference."""
        info = audio.probe(self.output)
        begin, end = self._part(info)
        return info if end - begin == info.frames else replace(info, frames=end - begin)

    def unmoved(self) -> Files:
        """The same for figures that need no reference: the whole of mixture and output."""
        return replace(self, examined=self.examined.unmoved())

    def stream(self, name: str) -> Iterator[audio.Audio]:
        """The blocks of `noisy`, `output` or `clean`, aligned with the output: its rate, channels and length.

        Where the reference is late or has another length, all three are cut to what all of them hold.

        Raises:
            Missing: no such file, not the same length, or a reference that is none.
        """
        path: str | None = getattr(self, name)
        if path is None:
            raise Missing("no clean reference (references)")
        if name == "clean" and self.examined.unlike is not None:
            raise Missing(self.examined.unlike)
        info = audio.probe(self.output)
        try:
            own = audio.probe(path)
        except AudioRestorerError as error:
            raise Missing(str(error)) from error
        moved = self.examined.moved
        if abs(own.duration_sec - info.duration_sec) > LENGTH_TOLERANCE_SEC and not (moved and name == "clean"):
            raise Missing(wrong_length(path, own, info))
        blocks = audio.resample_blocks(audio.blocks(path), own.sample_rate, info.sample_rate, own.channels)
        spread = self._with_channels(blocks, info.channels, name)
        if moved:
            begin, end = self._part(info)
            late = self._late(info) if name == "clean" else 0.0
            aligned = advanced(spread, begin + late, end - begin)
        else:
            aligned = audio.fit_length(spread, info.frames)
        return audio.rechunk(aligned, int(audio.BLOCK_SEC * info.sample_rate))

    def _part(self, info: audio.AudioInfo) -> tuple[int, int]:
        """The output's samples from and to which all files have something."""
        if self.clean is None or not self.examined.moved:
            return 0, info.frames
        late = self._late(info)
        own = audio.probe(self.clean)
        end = math.floor(own.frames * info.sample_rate / own.sample_rate - late)
        return max(0, math.ceil(-late)), min(info.frames, end)

    def _late(self, info: audio.AudioInfo) -> float:
        """The reference's delay in samples of the output; what is nearly a whole number is one."""
        late = self.examined.delay_sec * info.sample_rate
        return float(round(late)) if abs(late - round(late)) <= WHOLE else late

    def _with_channels(self, blocks: Iterator[Audio], channels: int, name: str) -> Iterator[Audio]:
        """Two channels become one, the view that holds the sound; one becomes two, in the output's polarity."""
        view = self.examined.clean_view if name == "clean" else self.examined.view
        turn = name == "clean" and self.examined.turned
        for block in blocks:
            fewer = turned(block, view) if channels == 1 else block
            for found in audio.to_channels([fewer], channels):
                yield turned(found, "side" if turn else "mid")


@dataclass(frozen=True)
class Signals:
    """`Files` in memory: signals `[C, T]` of one rate and shape. Their figures are those of their float32 WAVs."""

    noisy: Audio
    output: Audio
    clean: Audio
    sample_rate: int
    examined: Examined = Examined()

    @property
    def info(self) -> audio.AudioInfo:
        return info_of(self.output, self.sample_rate)

    def unmoved(self) -> Signals:
        return self

    def stream(self, name: str) -> Iterator[Audio]:
        return blocks_of(getattr(self, name), self.sample_rate)


Source: TypeAlias = Files | Signals


def info_of(signal: Audio, sample_rate: int) -> audio.AudioInfo:
    """A signal `[C, T]` described as the float32 WAV that would hold it."""
    channels, frames = signal.shape
    return audio.AudioInfo(sample_rate, channels, frames, "WAV", "FLOAT")


def blocks_of(signal: Audio, sample_rate: int) -> Iterator[Audio]:
    """A signal `[C, T]` in the blocks in which its file would be read."""
    return audio.rechunk([signal.astype(np.float32, copy=False)], int(audio.BLOCK_SEC * sample_rate))


@dataclass(frozen=True)
class Sound:
    """A file, or a signal in memory, heard as one channel: `open()` gives its blocks `[1, n]` from the start, any number of times."""

    open: Callable[[], Iterator[Audio]]
    info: audio.AudioInfo
    transcript: str = ""

    @classmethod
    def of_file(cls, path: str, view: View | None = None, transcript: str | None = None) -> Sound:
        """The mean of the channels, or half of their difference. View None: what suits the file.

        Raises:
            Missing: unreadable.
        """
        try:
            info = audio.probe(path)
            heard = view_of_file(path) if view is None else view
        except AudioRestorerError as error:
            raise Missing(str(error)) from error
        return cls(
            lambda: audio.to_channels((turned(block, heard) for block in audio.blocks(path)), 1), info, transcript or ""
        )

    @classmethod
    def of_signal(cls, signal: Audio, sample_rate: int) -> Sound:
        """A signal `[1, T]`."""
        return cls(lambda: blocks_of(signal, sample_rate), info_of(signal, sample_rate))

    def at(self, rate: int) -> Iterator[Audio]:
        """Blocks `[1, n]` at another rate.

        Raises:
            Missing: unreadable.
        """
        try:
            yield from audio.resample_blocks(self.open(), self.info.sample_rate, rate, 1)
        except AudioRestorerError as error:
            raise Missing(str(error)) from error

    def excerpt(self, rate: int, seconds: float, longest_sec: float) -> Audio:
        """`[T]` at `rate`; of a sound longer than `longest_sec`, windows of `seconds`, evenly spread, joined.

        Raises:
            Missing: unreadable.
        """
        frames = round(self.info.frames * rate / self.info.sample_rate)
        at_rate = replace(self.info, sample_rate=rate, frames=frames, channels=1)
        return np.nan_to_num(np.concatenate(excerpts(self.at(rate), at_rate, seconds, int(longest_sec / seconds))))


def excerpts(
    stream: Iterator[Audio], info: audio.AudioInfo, seconds: float, count: int, view: View = "mid"
) -> list[Audio]:
    """A stream's channels as one signal, `[T]` each: whole where it is not longer than `count` windows, else that many, evenly spread.

    A bound on time and memory for metrics that need a signal in one piece.
    """
    size = int(seconds * info.sample_rate)
    if info.frames <= count * size:
        return [np.concatenate([turned(block, view).mean(axis=0) for block in stream])]
    starts = [int(number * (info.frames - size) / max(1, count - 1)) for number in range(count)]
    windows = [np.zeros(size, np.float32) for _ in starts]
    position = 0
    for block in stream:
        mono = turned(block, view).mean(axis=0)
        for start, window in zip(starts, windows, strict=True):
            begin, end = max(start, position), min(start + size, position + len(mono))
            if begin < end:
                window[begin - start : end - start] = mono[begin - position : end - position]
        position += len(mono)
    return windows


def view_of_file(path: str | Path) -> View:
    """The view that a file is best heard in; of any but two channels, the mean."""
    return view_of(audio.blocks(path)) if audio.probe(path).channels == 2 else "mid"
