"""A step of several over a recording: its result in a temporary file, so that what comes next can read it as often as it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.separators.runtime.streaming import Recording


class Spool:
    """Keeps the results of a recording's steps until it is closed: float32, on disk, so that memory does not grow."""

    def __init__(self) -> None:
        self._files = ExitStack()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def after(self, recording: Recording, step: Callable[[Iterator[Audio]], Iterable[Audio]]) -> Recording:
        """The recording that a step makes of another, with the same rate, channels and length. The step before it is let go.

        Raises:
            AudioRestorerError: unreadable.
            OSError: no space left.
        """
        file = self._files.enter_context(TemporaryFile())  # noqa: SIM115 - the stack closes it
        for block in step(recording.open()):
            file.write(np.ascontiguousarray(block.T, np.float32).tobytes())
        return replace(recording, open=lambda: _read(file, recording.channels, recording.sample_rate))


def _read(file: IO[bytes], channels: int, rate: int) -> Iterator[Audio]:
    """Blocks `[C, n]`; several readers can take turns."""
    size, place = int(audio.BLOCK_SEC * rate) * channels * 4, 0
    while True:
        file.seek(place)
        content = file.read(size)
        if not content:
            return
        place += len(content)
        yield np.ascontiguousarray(np.frombuffer(content, np.float32).reshape(-1, channels).T)
