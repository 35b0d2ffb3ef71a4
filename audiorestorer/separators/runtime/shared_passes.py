"""Windows of several recordings through one network together, and what to do when they do not fit its memory. No torch import.

Recordings are processed in threads, one each; a thread that has a window to run waits here until a pass is full, or until every
thread waits. A pass always has the same number of rows, zeros fill it up: so the output of a window does not depend on its company,
and a run that was killed and goes on with fewer recordings gives the same bytes.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError

Rows = Callable[[Audio], Audio]  # [B, C, N] -> [B, ...]
FREE_SHARE = 0.8  # of a GPU's free memory: the allocator cannot use all of it
MOST_ROWS = 64


@dataclass
class _Call:
    windows: Audio
    outputs: list[Audio | None]
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.error is not None or all(row is not None for row in self.outputs)


@dataclass
class _Group:
    """The windows that wait for the same network and have the same length: rows as (call, index in it)."""

    run: Rows
    rows: list[tuple[_Call, int]] = field(default_factory=list)


class SharedPasses:
    """A network that threads share. `rows`: windows per pass."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._change = threading.Condition()
        self._members = self._pending = 0
        self._busy = False
        self._groups: dict[Hashable, _Group] = {}

    @contextmanager
    def member(self) -> Iterator[None]:
        """For as long as a thread has recordings to process: the others wait for its windows."""
        with self._change:
            self._members += 1
        try:
            yield
        finally:
            with self._change:
                self._members -= 1
                self._change.notify_all()

    def run(self, key: Hashable, run: Rows, windows: Audio) -> Audio:
        """Windows `[B, C, N]` through `run`, together with other threads' of the same key and shape."""
        call = _Call(windows, [None] * len(windows))
        with self._change:
            group = self._groups.setdefault((key, windows.shape[1:]), _Group(run))
            group.rows += [(call, index) for index in range(len(windows))]
            self._pending += 1
            self._change.notify_all()
            # Whoever finds the network idle and a pass ready runs that pass for all, be its own windows in it or not, until its own
            # call is done.
            while not call.done:
                ready = None if self._busy else self._ready()
                if ready is None:
                    self._change.wait()
                    continue
                part = ready.rows[: self.rows]
                del ready.rows[: self.rows]
                self._busy = True
                # The network runs without the lock, so that other threads can hand in windows meanwhile; `_busy` keeps them from it.
                self._change.release()
                try:
                    self._pass(ready.run, part)
                finally:
                    self._change.acquire()
                    self._busy = False
                    self._pending -= len({id(owner) for owner, _ in part if owner.done})
                    # a call that failed is done: its remaining windows are not run
                    ready.rows[:] = [row for row in ready.rows if row[0].error is None]
                    self._change.notify_all()
        if call.error is not None:
            raise call.error
        return np.stack([row for row in call.outputs if row is not None])

    def _ready(self) -> _Group | None:
        """A group with a full pass; the largest if all threads wait (one that is no member counts as one)."""
        largest = max(self._groups.values(), key=lambda group: len(group.rows))
        if len(largest.rows) >= self.rows or (largest.rows and self._pending >= self._members):
            return largest
        return None

    def _pass(self, run: Rows, part: list[tuple[_Call, int]]) -> None:
        windows = np.stack([call.windows[index] for call, index in part])
        missing = self.rows - len(part)
        if missing:
            windows = np.pad(windows, ((0, missing), (0, 0), (0, 0)))
        try:
            out = run(windows)
            for (call, index), row in zip(part, out, strict=False):
                call.outputs[index] = row
        except BaseException as error:
            for call, _ in part:
                call.error = error


class PassSplitter:
    """Runs passes in parts that fit the device's memory: halved where it has too little, and the size remembered."""

    def __init__(self) -> None:
        self.limit: int | None = None  # rows, once a pass did not fit

    def __call__(self, run: Rows, windows: Audio) -> Audio:
        """Windows `[B, C, N]` through `run`.

        Raises:
            AudioRestorerError: a single window does not fit.
        """
        done: list[Audio] = []
        while len(done) < len(windows):
            size = min(self.limit or len(windows), len(windows) - len(done))
            try:
                done += list(run(windows[len(done) : len(done) + size]))
            except RuntimeError as error:
                if type(error).__name__ != "OutOfMemoryError":  # torch's, for all devices
                    raise
                if size == 1:
                    raise AudioRestorerError(
                        f"the device's memory does not hold one window of {windows.shape[-1]} samples: give a smaller segment_sec,"
                        " or `device: cpu`"
                    ) from error
                self.limit = size // 2
            else:
                continue
            gc.collect()  # after the handler: the traceback holds what did not fit
            if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
                sys.modules["torch"].cuda.empty_cache()
        return np.stack(done)


def fitting_rows(peak_bytes: Callable[[int], int], free_bytes: int, most: int = MOST_ROWS) -> int:
    """Rows per pass that free memory holds, 1 .. `most`, by the memory that a pass of one row and one of two rows take."""
    one = peak_bytes(1)
    two = peak_bytes(2)
    each = max(two - one, 1)
    return int(max(1, min(most, 1 + (FREE_SHARE * free_bytes - one) // each)))
