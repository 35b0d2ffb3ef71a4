"""A network over a whole recording, in blocks: resampling, channels, normalisation, shifts, overlap-add. No torch import.

Memory does not depend on the recording's length: a statistics pass reads it once, then each member and shift reads it again; reading
and resampling are cheap beside a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.dsp.outliers import OutlierMeter, limited, without_outliers
from audiorestorer.dsp.overlap_add import Run, process
from audiorestorer.errors import AudioRestorerError
from audiorestorer.formats import layouts
from audiorestorer.separators import OUTSIDE, Loaded, Member, Separator

OVERLAP = 0.25  # of a segment, where nothing else is said
Open = Callable[[], Iterator[Audio]]
View = Callable[[Iterator[Audio]], Iterator[Audio]]
SHIFT_SEC = 0.5  # demucs' longest shift
DEMUCS_FLOOR, STD_FLOOR = 1e-8, 1e-3  # demucs.api; denoiser.demucs
CANCELS_DB = -15.0  # the mean of the channels to the channels: uncorrelated ones are at -3 dB, below this they cancel


@dataclass(frozen=True)
class Recording:
    """An input: `open()` gives its blocks `[C, n]` from the start, any number of times."""

    open: Open
    sample_rate: int
    channels: int
    frames: int

    @classmethod
    def of_file(cls, path: str) -> Recording:
        """Raises AudioRestorerError: unreadable."""
        info = audio.probe(path)
        return cls(lambda: audio.blocks(path), info.sample_rate, info.channels, info.frames)

    def frames_at(self, rate: int) -> int:
        """Samples at another rate, at least one."""
        return max(1, round(self.frames * rate / self.sample_rate))

    def at_rate(self, rate: int, total: int | None = None) -> Iterator[Audio]:
        """Its blocks at another rate: `total` samples, or `frames_at`."""
        blocks = audio.resample_blocks(self.open(), self.sample_rate, rate, self.channels)
        return audio.fit_length(blocks, self.frames_at(rate) if total is None else total)


@dataclass
class _Statistics:
    """The level of a recording, each `[C, 1]`: the network gets (audio limited to +-bound - mean) / scale, its output is multiplied by
    `back`.

    `bound` is infinite where no sample stands out.
    """

    mean: Audio
    scale: Audio
    back: Audio
    bound: Audio


def _moments(source: Iterator[Audio]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased deviation of each row, `[rows, 1]` (Chan's update: no cancellation at any length)."""
    count, mean, square = 0, np.zeros((1, 1)), np.zeros((1, 1))
    for block in source:
        n = block.shape[1]
        if not n:
            continue
        wide = block.astype(np.float64)
        block_mean = wide.mean(axis=1, keepdims=True)
        delta = block_mean - mean
        square = square + ((wide - block_mean) ** 2).sum(axis=1, keepdims=True) + delta**2 * (count * n / (count + n))
        mean = mean + delta * (n / (count + n))
        count += n
    return mean, np.sqrt(square / max(count - 1, 1))


def _robust_moments(open_source: Open, rows: int, rate: int, view: View) -> tuple[np.ndarray, np.ndarray, Audio]:
    """Moments of a view of the stream without its outliers, and the level from which on a sample is one, `[rows, 1]`."""
    meter = OutlierMeter(rows, rate)
    mean, std = _moments(view(meter.watched(open_source())))
    bound = meter.bound()
    if np.isfinite(bound).any():
        mean, std = _moments(view(without_outliers(open_source(), bound, rate)))
    return mean, std, bound


def _with_mono(source: Iterator[Audio]) -> Iterator[Audio]:
    return (np.concatenate([*audio.to_channels([block], 1), block]) for block in source)


def _statistics(network: Separator, open_source: Open, channels: int) -> _Statistics:
    zero, one = np.zeros((channels, 1), np.float32), np.ones((channels, 1), np.float32)
    if network.normalise == "none":
        return _Statistics(zero, one, one, one * np.float32(np.inf))
    if network.normalise == "demucs":
        mean, std, bound = _robust_moments(open_source, channels, network.sample_rate, _with_mono)
        pooled = float(np.sqrt(np.square(std[1:]).mean()))
        mono = pooled if std[0] < 10 ** (CANCELS_DB / 20) * pooled else std[:1]
        scale = (one * (mono + DEMUCS_FLOOR)).astype(np.float32)
        return _Statistics((one * mean[:1]).astype(np.float32), scale, scale, bound)
    _, std, bound = _robust_moments(open_source, channels, network.sample_rate, iter)
    return _Statistics(zero, (std + STD_FLOOR).astype(np.float32), std.astype(np.float32), bound)


def _stacked(index: int, member: Member, loaded: Loaded, names: Sequence[str]) -> Run:
    """A member as windows `[B, C, N]` -> `[B, stems x C, N]`; a one-channel network takes each channel by itself."""
    network = loaded.network

    def rows(given: Audio) -> Audio:  # [B, C, N] -> [B, stems, C, N]
        stems = member.run(given)
        return np.stack([np.asarray(stems[name]) for name in names], axis=1)

    fitting = partial(loaded.splitter, rows)

    def run(windows: Audio) -> Audio:
        batch, channels, length = windows.shape
        given = windows
        if network.channels == 1:
            # Channels become rows of the batch. Two equal channels are mono in disguise: once is enough.
            own = 1 if channels > 1 and (windows == windows[:, :1]).all() else channels
            given = windows[:, :own].reshape(batch * own, 1, length)
        missing = network.padded(length) - length
        if missing:
            given = np.pad(given, ((0, 0), (0, 0), (0, missing)), constant_values=OUTSIDE)
        out = fitting(given) if loaded.passes is None else loaded.passes.run(index, fitting, given)
        out = out[..., :length]
        if network.channels == 1:
            # [B x own, stems, 1, N] back to [B, stems, C, N]
            out = out.reshape(batch, own, len(names), length).swapaxes(1, 2)
            out = np.broadcast_to(out, (batch, len(names), channels, length)) if own < channels else out
        return out.reshape(batch, len(names) * channels, length)

    return run


def _skip(source: Iterator[Audio], count: int) -> Iterator[Audio]:
    for block in source:
        dropped = min(count, block.shape[1])
        count -= dropped
        if dropped < block.shape[1]:
            yield block[:, dropped:]


def at_network_rate(
    loaded: Loaded,
    open_source: Open,
    total: int,
    channels: int,
    *,
    overlap: float = OVERLAP,
    shifts: int = 0,
    seed: int = 0,
) -> Iterator[Audio]:
    """Estimates at the network's rate.

    Args:
        open_source: blocks `[C, n]` at the network's rate, C that of the recording.
        total: samples.
        overlap: of neighbouring segments, 0 .. 1.
        shifts: the estimate is the mean over so many passes, each with a lead of silence drawn from `seed` before the recording, so
            that the segments begin elsewhere; 0: one pass without.

    Yields:
        `[(stems + extras) x C, n]`, stems first, `total` samples in all.
    """
    network = loaded.network
    names = (*loaded.stems, *network.extras)
    # the channels that go through the network: a stereo network takes a mono recording twice
    inner = channels if network.channels == 1 else network.channels

    def prepared() -> Iterator[Audio]:
        return audio.to_channels(open_source(), inner)

    level = _statistics(network, prepared, inner)

    def one(index: int, member: Member, lead: int) -> Iterator[Audio]:
        normal = ((block - level.mean) / level.scale for block in limited(prepared(), level.bound))
        source = chain([np.zeros((inner, lead), np.float32)], normal) if lead else normal
        plan = member.plan(int((1 - overlap) * member.segment), loaded.rows)
        return _skip(process(source, total + lead, plan, _stacked(index, member, loaded, names)), lead)

    members = network.members(loaded.segment_sec)
    longest = int(SHIFT_SEC * network.sample_rate)
    draw = np.random.default_rng(seed)
    leads = [[int(lead) for lead in draw.integers(0, longest + 1, shifts)] if shifts else [0] for _ in members]
    # Every member and shift reads the recording anew; they advance block by block together, so that their sum needs no whole estimate.
    streams = [one(index, members[index], lead) for index, own in enumerate(leads) for lead in own]
    size = max(member.segment for member in members)
    counts = [network.mean_counts.get(name, 1) for name in names]
    back = np.concatenate([level.back] * len(names))
    offset = np.concatenate([level.mean * count for count in counts])
    for blocks in zip(*(audio.rechunk(stream, size) for stream in streams), strict=True):
        block = np.sum(blocks, axis=0, dtype=np.float32) / np.float32(max(shifts, 1)) * back + offset
        if inner != channels:  # a mono recording went in twice
            block = block.reshape(len(names), inner, -1).mean(axis=1, dtype=np.float32)
        yield block.astype(np.float32, copy=False)


def full_band(block: dict[str, Audio]) -> Audio:
    """The speech of one of `estimates`' blocks with the band above the network's Nyquist, scaled by the network's top gain; without
    that band where the network gives no such gain."""
    return block["vocals"] + block["top_gain"] * block["high"] if "top_gain" in block else block["vocals"]


def _in_pairs(
    loaded: Loaded, recording: Recording, overlap: float, shifts: int, seed: int
) -> Iterator[dict[str, Audio]]:
    """Of more channels than a network takes at a time: left and right together, the centre alone, and so on (`layouts.pairs`)."""
    groups = layouts.pairs(recording.channels)
    parts = [
        estimates(
            loaded, replace(recording, open=partial(_channels, recording, group), channels=len(group)), overlap=overlap, shifts=shifts,
            seed=seed,
        )
        for group in groups
    ]  # fmt: skip
    for blocks in zip(*parts, strict=True):
        yield {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _channels(recording: Recording, group: Sequence[int]) -> Iterator[Audio]:
    return (block[group] for block in recording.open())


def estimates(
    loaded: Loaded, recording: Recording, *, overlap: float = OVERLAP, shifts: int = 0, seed: int = 0
) -> Iterator[dict[str, Audio]]:
    """Estimates at the recording's own rate, aligned to the sample and exactly as long. `overlap` and the rest: see `at_network_rate`.

    Yields:
        Blocks `[C, n]` by name: the stems; `input`; `high`, the input's band above the network's Nyquist (zeros where there is none);
        and the network's extras (`top_gain`).

    Raises:
        AudioRestorerError: unreadable audio.
    """
    network, rate, channels = loaded.network, recording.sample_rate, recording.channels
    if network.channels > 1 and channels > network.channels:
        yield from _in_pairs(loaded, recording, overlap, shifts, seed)
        return
    total, at_rate = recording.frames_at(network.sample_rate), partial(recording.at_rate, network.sample_rate)

    names: list[str] = [*loaded.stems, *network.extras]
    blocks = at_network_rate(loaded, at_rate, total, channels, overlap=overlap, shifts=shifts, seed=seed)
    above = network.sample_rate < rate
    size = int(audio.BLOCK_SEC * network.sample_rate)
    if above:
        # The input goes down to the network's rate and back up beside the estimates: what it lost on the way is its band above.
        names.append("low")
        pairs = zip(audio.rechunk(blocks, size), audio.rechunk(at_rate(), size), strict=True)
        blocks = (np.concatenate(pair) for pair in pairs)
    back = audio.resample_blocks(blocks, network.sample_rate, rate, len(names) * channels)
    size = int(audio.BLOCK_SEC * rate)
    exact = audio.rechunk(audio.fit_length(back, recording.frames), size)
    for block, given in zip(exact, audio.rechunk(recording.open(), size), strict=True):
        if not np.isfinite(block).all():
            raise AudioRestorerError("the network's output holds NaN or infinite samples")
        out = {name: block[row * channels : (row + 1) * channels] for row, name in enumerate(names)}
        out["input"] = given
        out["high"] = given - out.pop("low") if above else np.zeros_like(given)
        if "top_gain" in out:
            out["top_gain"] = np.clip(out["top_gain"], 0.0, 1.0)
        yield out
