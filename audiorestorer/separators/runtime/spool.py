"""A step of several over a recording: its result in a temporary file, so that what comes next can read it as often as it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.separators.runtime.streaming import Recording


class Spool:
    """Keeps the last two results of a recording's steps until it is closed: float32, on disk, so that memory does not grow.

    `folder`: for the files; None: the system's for temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder, self._files = folder, list[IO[bytes]]()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def after(self, recording: Recording, step: Callable[[Iterator[Audio]], Iterable[Audio]]) -> Recording:
        """The recording that a step makes of another, with the same rate, channels and length. The last but one is let go.

        Raises:
            AudioRestorerError: unreadable.
            OSError: no space left.
        """
        file = TemporaryFile(dir=self._folder)  # noqa: SIM115 - this object closes it
        self._files.append(file)
        for block in step(recording.open()):
            file.write(np.ascontiguousarray(block.T, np.float32).tobytes())
        for old in self._files[:-2]:
            old.close()
        del self._files[:-2]
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
