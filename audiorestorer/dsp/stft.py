"""Short-time Fourier transform of streams: bounded memory, exact length, and the same result for any block size.

Spectra are `[C, N, F]` (channels, frames, bins), complex64. The window is a periodic Hann, twice; the overlap-add is divided
by the sum of its squares (Griffin & Lim 1984, eq. 6), so that an unchanged spectrum gives the signal back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio, rechunk

Spectrum = NDArray[np.complex64]
# Frames that go through the FFT together; fixed, so that results do not depend on the source's blocks
GROUP_FRAMES = 64


def hann(n_fft: int) -> NDArray[np.float32]:
    """Periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


def forward(frames: Audio) -> Spectrum:
    """The Fourier transform along the last axis. NumPy's takes five times as long in float32 as in float64."""
    spectrum: Spectrum = np.fft.rfft(frames.astype(np.float64), axis=-1).astype(np.complex64)
    return spectrum


def analyse(sources: Sequence[Iterable[Audio]], total: int, n_fft: int, hop_length: int) -> Iterator[list[Spectrum]]:
    """Spectra of aligned streams, a group of frames at a time.

    Args:
        sources: streams of `[C, n]` blocks, each `total` samples long.
        total: samples per channel.

    Yields:
        For each source `[C, N, F]`, N <= GROUP_FRAMES. Frame k starts at sample k * hop - (n_fft - hop); zeros outside.

    Raises:
        ValueError: a stream is longer or shorter than `total`.
    """
    if not total:
        return
    window = hann(n_fft)
    past = n_fft - hop_length
    frames = -(-(total + past) // hop_length)
    streams = [rechunk(_exactly(source, total), GROUP_FRAMES * hop_length) for source in sources]
    held: list[Audio | None] = [None] * len(streams)
    for first in range(0, frames, GROUP_FRAMES):
        count = min(GROUP_FRAMES, frames - first)
        group = []
        for index, stream in enumerate(streams):
            block = next(stream, None)
            before = held[index]
            if before is None:
                assert block is not None, "an empty stream has no spectrum"
                before = np.zeros((block.shape[0], past), np.float32)
            if block is None:
                block = np.zeros((before.shape[0], 0), np.float32)
            missing = max(0, count * hop_length - block.shape[1])
            joined = np.concatenate([before, block, np.zeros((block.shape[0], missing), np.float32)], axis=1)
            views = np.lib.stride_tricks.sliding_window_view(joined, n_fft, axis=1)[:, ::hop_length][:, :count]
            group.append(forward(views * window))
            held[index] = joined[:, count * hop_length : count * hop_length + past]
        yield group


def _exactly(source: Iterable[Audio], total: int) -> Iterator[Audio]:
    done = 0
    for block in source:
        done += block.shape[1]
        yield block
    if done != total:
        raise ValueError(f"a stream has {done} samples and the others {total}")


def synthesise(spectra: Iterable[Spectrum], total: int, n_fft: int, hop_length: int) -> Iterator[Audio]:
    """The inverse of `analyse`: overlap-add of frames to `[C, n]` blocks, `total` samples in all."""
    window = hann(n_fft)
    overlap = n_fft // hop_length
    past = n_fft - hop_length
    scale = (window / np.tile(np.square(window).reshape(overlap, hop_length).sum(axis=0), overlap)).astype(np.float32)
    tail: Audio | None = None
    position = -past
    for spectrum in spectra:
        frames = np.fft.irfft(spectrum, n_fft, axis=-1).astype(np.float32, copy=False) * scale
        channels, count, _ = frames.shape
        slots = np.zeros((channels, count + overlap - 1, hop_length), np.float32)
        if tail is not None:
            slots[:, : overlap - 1] = tail
        for part in range(overlap):
            slots[:, part : part + count] += frames[:, :, part * hop_length : (part + 1) * hop_length]
        tail = slots[:, count:]
        block = slots[:, :count].reshape(channels, count * hop_length)
        block = block[:, max(0, -position) : max(0, total - position)]
        position += count * hop_length
        if block.shape[1]:
            yield block


def process(
    sources: Sequence[Iterable[Audio]], total: int, n_fft: int, hop_length: int, function: Callable[..., Spectrum]
) -> Iterator[Audio]:
    """Analyse streams, call `function(*spectra)` on each group of frames and synthesise the spectra that it returns."""
    changed = (function(*group) for group in analyse(sources, total, n_fft, hop_length))
    return synthesise(changed, total, n_fft, hop_length)
