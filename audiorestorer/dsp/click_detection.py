"""Detection of clicks: peaks of the AR(32) prediction error above a robust floor, block by block.

A sample is part of a click where its error exceeds all of
- `threshold` times the frame's standard deviation, by the median absolute deviation (clicks are too few to move it);
- `threshold` times a fixed floor below the recording's active level: in digital silence everything would be a click;
- `neighbour_ratio` times the median of the largest errors in the 10 ms cells around it: glottal pulses look like clicks, but they
  come in rows of like size.
Found clicks are taken out by least squares, and models and floors are made anew without them: a click hides its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio, rechunk
from audiorestorer.dsp.autoregression import Floats, Frames, fill, fit, prediction_error

CELL_SEC = 0.01  # longer than a pitch period above 100 Hz: each cell of voiced speech holds a glottal pulse
CELLS_AROUND = 9
HOP_CELLS = 2
BLOCK_CELLS = 100
MARGIN_CELLS = 12  # on each side of a block: the reach of frames and neighbour cells
MAD_TO_SIGMA = 1 / 0.6745  # for a Gaussian
EDGE_RATIO = 0.3  # a click goes on where its error stays above this share of the threshold
QUIET_SEC = 0.0003  # ... and ends where it has been below for so long
GUARD_SAMPLES = 2
MAX_WIDTH_SEC = 0.008
LEAST_LIMIT = 1e-9
DITHER_SEED = 0
WIDTH_LEVEL = 0.1  # a click's width ends where its waveform last exceeds this share of its peak


@dataclass(frozen=True)
class Detector:
    """Thresholds of the detection.

    Attributes:
        order: order of the model. frame_sec: length of the frame that it is fitted on.
        threshold: in standard deviations.
        neighbour_ratio: 0 leaves this condition out.
        floor_db: least standard deviation, dB above the recording's active RMS.
        passes: largest number of times that models and floors are estimated.
        dither_db: white noise, dB above the active RMS, that is added where clicks are searched (never to what comes out): it makes
            what clean speech shows independent of the recording's own hiss and bandwidth.
    """

    order: int = 32
    frame_sec: float = 0.046
    threshold: float = 5.0
    neighbour_ratio: float = 3.0
    floor_db: float = -45.0
    passes: int = 3
    dither_db: float | None = None


DETECTOR = Detector()


@dataclass(frozen=True)
class Clicks:
    """Clicks that were found, `[n]` each, in order of time.

    Attributes:
        places: sample of the largest error. starts, ends: samples `[start, end)` that are damaged.
        amplitudes: largest difference from the signal without the click, full scale 1. widths_sec: time between the first and the
            last difference above a tenth of that.
        errors: largest prediction error, full scale 1.
    """

    places: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    amplitudes: Floats
    widths_sec: Floats
    errors: Floats

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True)
class Block:
    """A finished stretch of a stream.

    Attributes:
        start: first sample. audio: `[C, n]` of the input. repaired: `[C, n]` without its clicks.
        clicks: those that lie in the block, with places counted in the stream.
        limits: `[C, cells]`, the error above which a sample of each 10 ms would have been taken for a click.
    """

    start: int
    audio: Audio
    repaired: Audio
    clicks: Clicks
    limits: Floats


def blocks(source: Iterable[Audio], sample_rate: int, level: float, detector: Detector = DETECTOR) -> Iterator[Block]:
    """Find clicks in a stream and take them out.

    Args:
        source: `[C, n]` blocks of any sizes; a click in one channel is a click.
        level: active RMS of the recording; the fixed floor lies `floor_db` from it.

    Yields:
        Consecutive blocks of about a second that make up the whole stream, whatever the sizes of the source's blocks.
    """
    cell = max(1, round(CELL_SEC * sample_rate))
    core, margin = BLOCK_CELLS * cell, MARGIN_CELLS * cell
    held: NDArray[np.float32] | None = None  # [2, C, n]: the input, and the signal that is searched
    start = past = 0  # `past` samples of `held` lie before `start`
    for both in _dithered(rechunk(source, core), level, detector.dither_db):
        held = both if held is None else np.concatenate([held, both], axis=2)
        while held.shape[2] - past >= core + margin:
            yield _finished(held[..., : past + core + margin], start, past, core, sample_rate, level, detector)
            cut = max(0, past + core - margin)
            held, past, start = held[..., cut:], past + core - cut, start + core
    while held is not None and held.shape[2] > past:
        length = min(core, held.shape[2] - past)
        yield _finished(held[..., : past + core + margin], start, past, length, sample_rate, level, detector)
        cut = max(0, past + length - margin)
        held, past, start = held[..., cut:], past + length - cut, start + length


def _dithered(source: Iterable[Audio], level: float, dither_db: float | None) -> Iterator[NDArray[np.float32]]:
    rng = np.random.default_rng(DITHER_SEED)
    for block in source:
        if dither_db is None:
            yield np.stack([block, block])
            continue
        noise = rng.standard_normal(block.shape[::-1], np.float32).T * np.float32(level * 10 ** (dither_db / 20))
        yield np.stack([block, block + noise])


def _finished(
    window: NDArray[np.float32], start: int, past: int, length: int, sample_rate: int, level: float, detector: Detector
) -> Block:
    cell = max(1, round(CELL_SEC * sample_rate))
    frames = Frames(max(round(detector.frame_sec * sample_rate), 2 * detector.order), HOP_CELLS * cell, detector.order)
    signal, searched = window.astype(np.float64)
    repaired, in_window, limits = _search(
        signal, searched, frames, cell, sample_rate, level * 10 ** (detector.floor_db / 20), detector
    )
    inside = (in_window.places >= past) & (in_window.places < past + length)
    shift = start - past
    clicks = Clicks(
        in_window.places[inside] + shift, in_window.starts[inside] + shift, in_window.ends[inside] + shift,
        in_window.amplitudes[inside], in_window.widths_sec[inside], in_window.errors[inside],
    )  # fmt: skip
    core = slice(past, past + length)
    middle = limits[:, past + cell // 2 : past + length : cell]
    return Block(start, window[0][:, core], repaired[:, core].astype(np.float32), clicks, middle)


def _search(
    signal: Floats, searched: Floats, frames: Frames, cell: int, sample_rate: int, floor: float, detector: Detector
) -> tuple[Floats, Clicks, Floats]:
    """The signal without its clicks, the clicks, and the limits `[C, T]`."""
    damaged = np.zeros(signal.shape[1], np.bool_)
    rest = searched
    for _ in range(max(1, detector.passes)):
        filters = [fit(channel, frames) for channel in rest]
        errors = np.stack([np.abs(prediction_error(x, f, frames.hop)) for x, f in zip(searched, filters, strict=True)])
        limits = np.stack([_limit(error, damaged, frames.hop, cell, floor, detector) for error in errors])
        before, damaged = damaged, _spans((errors / limits).max(axis=0), sample_rate)
        rest = np.stack([fill(x, damaged, f, frames.hop) for x, f in zip(searched, filters, strict=True)])
        if np.array_equal(before, damaged):
            break
    repaired = np.stack([fill(x, damaged, f, frames.hop) for x, f in zip(signal, filters, strict=True)])
    return repaired, _measured(searched - rest, damaged, errors, errors / limits, sample_rate), limits


def _limit(error: Floats, damaged: NDArray[np.bool_], hop: int, cell: int, floor: float, detector: Detector) -> Floats:
    """The error above which a sample is a click's, `[T]`."""
    length = len(error)
    clean = np.where(damaged, np.nan, error)
    sigma = _of_cells(clean, hop, _median) * MAD_TO_SIGMA
    limit = detector.threshold * np.maximum(np.repeat(sigma, hop)[:length], floor)
    if detector.neighbour_ratio:
        largest = _of_cells(np.where(damaged, 0.0, error), cell, _largest)
        side = CELLS_AROUND // 2
        around = np.lib.stride_tricks.sliding_window_view(np.pad(largest, side, mode="symmetric"), CELLS_AROUND)
        typical = np.repeat(np.median(around, axis=1), cell)[:length]
        limit = np.maximum(limit, detector.neighbour_ratio * typical)
    return np.asarray(np.maximum(limit, LEAST_LIMIT), np.float64)


def _of_cells(values: Floats, size: int, function: Callable[[Floats], Floats]) -> Floats:
    """One number per `size` samples; the last cell is filled with NaN."""
    return function(np.pad(values, (0, -len(values) % size), constant_values=np.nan).reshape(-1, size))


def _largest(cells: Floats) -> Floats:
    return np.asarray(np.nanmax(cells, axis=1), np.float64)


def _median(cells: Floats) -> Floats:
    """Median of each row without its NaN; 0 where nothing else is left."""
    counts = np.sum(~np.isnan(cells), axis=1)
    ordered = np.sort(cells, axis=1)  # NaN last
    return np.where(counts > 0, ordered[np.arange(len(cells)), np.maximum(counts - 1, 0) // 2], 0.0)


def _spans(score: Floats, sample_rate: int) -> NDArray[np.bool_]:
    """Samples of clicks: around each peak above 1, as far as the score stays above EDGE_RATIO with short breaks."""
    damaged = np.zeros(len(score), np.bool_)
    quiet, longest = max(1, round(QUIET_SEC * sample_rate)), round(MAX_WIDTH_SEC * sample_rate)
    over = np.flatnonzero(score > EDGE_RATIO)
    if not len(over):
        return damaged
    for run in np.split(over, np.flatnonzero(np.diff(over) > quiet) + 1):
        hits = run[score[run] > 1]
        if len(hits):
            first, last = max(run[0], hits[0] - quiet), min(run[-1], hits[-1] + longest)
            damaged[max(0, first - GUARD_SAMPLES) : last + GUARD_SAMPLES + 1] = True
    return damaged


def _measured(
    difference: Floats, damaged: NDArray[np.bool_], errors: Floats, scores: Floats, sample_rate: int
) -> Clicks:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], damaged.astype(np.int8), [0]])))
    starts, ends = edges[::2], edges[1::2]
    places = np.zeros(len(starts), np.int64)
    sizes, widths, peak_errors = np.zeros((3, len(starts)))
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        channel, place = np.unravel_index(int(scores[:, start:end].argmax()), (len(scores), end - start))
        places[number], peak_errors[number] = start + place, errors[channel, start + place]
        shape = np.abs(difference[:, start:end]).max(axis=0)
        sizes[number] = shape.max()
        loud = np.flatnonzero(shape >= WIDTH_LEVEL * sizes[number])
        widths[number] = (loud[-1] - loud[0] + 1) / sample_rate
    return Clicks(places, starts, ends, sizes, widths, peak_errors)
