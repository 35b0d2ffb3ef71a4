"""Segment-wise processing of a stream with bounded memory: windows in, cross-faded consecutive blocks out. numpy only.

The arithmetic is that of demucs' `apply_model(split=True)`: segments start every `stride` samples, each is weighted by a triangle,
the weighted sum is divided by the sum of the weights, and a network that wants a longer input than the segment gets real context on
both sides where the recording has it. The number of segments that go through the network together, and the sizes of the blocks on
the way in, change nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]
Run = Callable[[Audio], Audio]


def triangle(length: int) -> Audio:
    """Weight of a segment `[length]`: 1 .. n//2, then n - n//2 .. 1, divided by its maximum. Never zero."""
    weight = np.concatenate([np.arange(1, length // 2 + 1), np.arange(length - length // 2, 0, -1)]).astype(np.float32)
    return weight / weight.max()


def centred(valid_length: Callable[[int], int]) -> Callable[[int], tuple[int, int]]:
    """Context of a network that takes `valid_length(n)` samples for a segment of n: half left, half (or one more) right."""

    def context(length: int) -> tuple[int, int]:
        missing = valid_length(length) - length
        return missing // 2, missing - missing // 2

    return context


def no_context(length: int) -> tuple[int, int]:
    return 0, 0


@dataclass(frozen=True)
class Plan:
    """Segments of a stream.

    Attributes:
        segment: samples per segment, >= 1.
        stride: samples from one segment's start to the next's, 1 .. segment.
        context: samples (left, right) that the network sees beside a segment of the given length; its output for them is dropped.
        edges: the context outside of the recording: `zeros`, or `cut` for a shorter window there (a causal
            recurrent network starts at the recording's start, not in silence before it).
        batch_size: windows that go through the network together. Windows of unequal length go apart.
    """

    segment: int
    stride: int
    context: Callable[[int], tuple[int, int]] = no_context
    edges: Literal["zeros", "cut"] = "zeros"
    batch_size: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= self.segment:
            raise ValueError(f"stride {self.stride} is outside 1..{self.segment} (the segment)")


class _Buffer:
    """The part `[start, end)` of a stream that is still needed."""

    def __init__(self, source: Iterable[Audio], total: int) -> None:
        self._source = iter(source)
        self._total = total
        self._start = 0
        self._held: Audio | None = None

    @property
    def _end(self) -> int:
        return self._start + (0 if self._held is None else self._held.shape[1])

    def _fill(self, end: int) -> Audio:
        parts = [] if self._held is None else [self._held]
        have = self._end
        while have < end:
            block = next(self._source, None)
            if block is None:
                raise ValueError(f"the stream ended after {have} of {self._total} samples")
            parts.append(block)
            have += block.shape[1]
        self._held = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return self._held

    def window(self, start: int, end: int, edges: str) -> Audio:
        """`[C, end - start]`, with zeros outside of the recording, or cut to it."""
        first, last = max(0, start), min(self._total, end)
        held = self._fill(last)
        inside = held[:, first - self._start : last - self._start]
        if edges == "cut" or (first == start and last == end):
            return inside
        return np.pad(inside, ((0, 0), (first - start, end - last)))

    def forget(self, before: int) -> None:
        before = min(before, self._end)
        if self._held is not None and before > self._start:
            self._held = self._held[:, before - self._start :].copy()
            self._start = before


class _Sum:
    """Weighted sum of overlapping segments, from the first unfinished sample on."""

    def __init__(self, segment: int) -> None:
        self._weight = triangle(segment)
        self._start = 0
        self._sum: Audio | None = None
        self._norm = np.zeros(0, np.float32)

    def add(self, offset: int, out: Audio) -> None:
        end = offset + out.shape[1] - self._start
        if self._sum is None:
            self._sum = np.zeros((out.shape[0], 0), np.float32)
        grow = end - self._sum.shape[1]
        if grow > 0:
            self._sum = np.pad(self._sum, ((0, 0), (0, grow)))
            self._norm = np.pad(self._norm, (0, grow))
        # a short last segment keeps the rising side of the triangle: its end overlaps nothing
        weight = self._weight[: out.shape[1]]
        self._sum[:, offset - self._start : end] += weight * out
        self._norm[offset - self._start : end] += weight

    def finished(self, before: int) -> Audio | None:
        """The samples before this one, which no later segment touches."""
        count = min(before - self._start, len(self._norm))
        if self._sum is None or count <= 0:
            return None
        block: Audio = self._sum[:, :count] / self._norm[:count]
        self._sum, self._norm = self._sum[:, count:].copy(), self._norm[count:].copy()
        self._start += count
        return block


def process(source: Iterable[Audio], total: int, plan: Plan, run: Run) -> Iterator[Audio]:
    """Pass a stream through a network segment by segment.

    Args:
        source: blocks `[C, n]`, any sizes, at least `total` samples in all.
        total: samples to process, >= 1.
        plan: segments, overlap and context.
        run: windows `[B, C, N]` -> outputs `[B, C_out, N]` of the same length.

    Yields:
        Consecutive finished blocks `[C_out, n]`, `total` samples in all. Held at any time: about `batch_size` windows.

    Raises:
        ValueError: the stream is shorter than `total`, or an output's length is not its window's.
    """
    buffer, result = _Buffer(source, total), _Sum(plan.segment)
    # Samples that a later window may still read before its segment's end. A short last segment reaches further back than a whole one,
    # but never by more than a whole window.
    reach = plan.segment + sum(plan.context(plan.segment))
    batch: list[tuple[int, int, int, Audio]] = []  # offset, length, left context, window

    def flush() -> None:
        if not batch:
            return
        windows = np.stack([window for *_, window in batch])
        outputs = run(windows)
        if outputs.shape[0] != windows.shape[0] or outputs.shape[-1] != windows.shape[-1]:
            raise ValueError(f"the network made {outputs.shape} of {windows.shape}")
        for (offset, length, left, _), output in zip(batch, outputs, strict=True):
            result.add(offset, output[:, left : left + length])
        batch.clear()

    for offset in range(0, total, plan.stride):
        length = min(plan.segment, total - offset)
        left, right = plan.context(length)
        window = buffer.window(offset - left, offset + length + right, plan.edges)
        if batch and (len(batch) >= plan.batch_size or batch[0][-1].shape != window.shape):
            flush()
            # segments from here on start at `offset`: all before it has its full weight
            if (block := result.finished(offset)) is not None:
                yield block
        # with `cut` the window begins at the recording's start at the earliest, so its left context may be shorter
        batch.append((offset, length, min(left, offset) if plan.edges == "cut" else left, window))
        buffer.forget(offset + plan.stride - reach)
    flush()
    if (block := result.finished(total)) is not None:
        yield block


def with_context(
    source: Iterable[Audio], total: int, segment: int, margin: int, function: Callable[[Audio], Audio]
) -> Iterator[Audio]:
    """A stream `[C, n]` stretch by stretch, each worked on with its surroundings; what `function` leaves alone stays, bit by bit.

    Args:
        segment: samples of a stretch. margin: samples of its surroundings on each side, zeros outside of the recording.
        function: `[C, segment + 2 margin]` to the same shape.
    """
    buffer = _Buffer(source, total)
    for start in range(0, total, segment):
        window = buffer.window(start - margin, start + segment + margin, "zeros")
        yield function(window)[:, margin : margin + min(segment, total - start)]
        buffer.forget(start + segment - margin)


def plan_of(total: int, window: int, overlap: int, hop: int, batch_size: int = 1) -> Plan:
    """Windows of one size, at most `window` samples, evenly over a recording.

    Args:
        total, window, overlap: samples, multiples of `hop`; the overlap is at most half of the window.

    Returns:
        A plan whose windows all have `segment` samples: the last reaches back where too little is left.
    """
    if total <= window:
        return Plan(total, total)
    count = -(-total // (window - overlap))
    stride = -(-total // (count * hop)) * hop
    segment = stride + overlap
    return Plan(segment, stride, lambda length: (segment - length, 0), batch_size=batch_size)
