"""Networks whose graphs take one recording at a time and begin with an empty memory."""

from __future__ import annotations

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.separators import Separator, Stems


class RowByRow(Separator):
    """Write `one`; `vocals` is the speech. Windows begin some seconds early: the memory has no input that one could begin with."""

    channels = 1
    segment_sec = 30.0
    context_sec = (5.0, 0.1)
    edges = "cut"
    cpu_rows = 1

    def one(self, audio: Audio) -> Audio:
        """The speech `[T]` of a recording `[T]`, aligned to the sample."""
        raise NotImplementedError

    def __call__(self, audio: Audio) -> Stems:
        """`[B, 1, T]` -> `vocals` `[B, 1, T]`."""
        return {"vocals": np.stack([self.one(row[0]) for row in audio])[:, None]}
