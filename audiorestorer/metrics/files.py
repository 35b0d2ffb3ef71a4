"""The files of one item as aligned streams: mixture, output and, where there is one, the clean reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from audiorestorer import audio
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
