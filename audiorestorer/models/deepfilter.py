"""DeepFilterNet3's arithmetic around its three networks, in NumPy (Schroeter et al. 2023, arXiv:2305.08227).

A frame has two parts: gains for 32 ERB-spaced bands shape the envelope, and a filter over five frames ("deep filter")
restores the periodic part below 4.8 kHz. Axes: T samples, S frames of 10 ms, F = 481 bins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.mask_arrays import framed, overlap_added

Spectrum = NDArray[np.complex64]
Networks = Callable[
    [Audio, Audio], tuple[Audio, Audio]
]  # feat_erb [S, 32], feat_spec [2, S, 96] -> gains [S, 32], taps [S, 96, 10]

ERB_BREAK_HZ, ERB_LINEAR = 24.7, 9.265  # Glasberg & Moore 1990: bands are even on 9.265 ln(1 + f / (24.7 * 9.265))
LEVEL_START_DB = (-60.0, -90.0)  # of the lowest and the highest band, where a recording begins
SIZE_START = (0.001, 0.0001)  # of the lowest and the highest filtered bin
LEVEL_SCALE_DB = 40.0


@dataclass(frozen=True)
class DeepFilterConfig:
    """Sizes of the released network, from the `config.ini` in its archive.

    Attributes:
        bands, filtered: ERB bands of the gains, and bins of the deep filter (from 0 Hz).
        taps, ahead: frames of the deep filter, and how many of them lie in the future.
        seen_ahead: frames of the future that the networks see.
        least_bins: of a band. forget: how much of a running mean stays from frame to frame.
    """

    sample_rate: int = 48_000
    n_fft: int = 960
    hop_length: int = 480
    bands: int = 32
    filtered: int = 96
    taps: int = 5
    ahead: int = 2
    seen_ahead: int = 2
    least_bins: int = 2
    forget: float = 0.99

    @cached_property
    def widths(self) -> list[int]:
        """Bins of each ERB band; a band that would have too few takes them from the next."""
        bin_hz = self.sample_rate / self.n_fft
        top = ERB_LINEAR * np.log1p(self.sample_rate / 2 / (ERB_BREAK_HZ * ERB_LINEAR))
        edges = ERB_BREAK_HZ * ERB_LINEAR * np.expm1(top * np.arange(1, self.bands + 1) / self.bands / ERB_LINEAR)
        widths, last, owed = [], 0, 0
        for edge in np.floor(edges / bin_hz + 0.5).astype(int):
            width = int(edge) - last - owed
            owed = max(self.least_bins - width, 0)
            widths.append(width + owed)
            last = int(edge)
        widths[-1] += self.n_fft // 2 + 1 - sum(widths)
        return widths

    @cached_property
    def window(self) -> Audio:
        """Vorbis' window: the squares of neighbours add up to one."""
        n = np.arange(self.n_fft) + 0.5
        return np.sin(np.pi / 2 * np.sin(np.pi * n / self.n_fft) ** 2).astype(np.float32)


def analysed(config: DeepFilterConfig, audio: Audio) -> Spectrum:
    """`[T]`, T a multiple of the hop, to `[S, F]`: frame k ends with sample (k + 1) hop, and zeros lie before the first."""
    padded = np.pad(audio, (config.n_fft - config.hop_length, 0))
    frames = framed(padded[None], config.n_fft, config.hop_length)[0] * config.window
    out: Spectrum = np.fft.rfft(frames, axis=1).astype(np.complex64) * np.float32(
        2 * config.hop_length / config.n_fft**2
    )
    return out


def synthesised(config: DeepFilterConfig, spectrum: Spectrum) -> Audio:
    """`[S, F]` back to `[T]`, late by n_fft - hop samples."""
    scale = np.float32(config.n_fft**2 / (2 * config.hop_length))
    frames = np.fft.irfft(spectrum, n=config.n_fft, axis=1).astype(np.float32) * config.window * scale
    return overlap_added(frames[None], config.hop_length)[0, : len(frames) * config.hop_length]


def running_mean(values: Audio, start: Audio, forget: float) -> Audio:
    """Of `[S, n]` over frames: m_k = forget m_(k-1) + (1 - forget) x_k, from `start`."""
    out = np.empty_like(values)
    mean = start.astype(np.float32)
    for index, row in enumerate(values):
        mean = mean * np.float32(forget) + row * np.float32(1 - forget)
        out[index] = mean
    return out


def features(config: DeepFilterConfig, spectrum: Spectrum) -> tuple[Audio, Audio]:
    """What the networks see: levels of the bands `[S, 32]`, relative to their running means, and the lower bins `[2, S, 96]` (real and
    imaginary), divided by the roots of their running means of the magnitude."""
    begins = np.concatenate([[0], np.cumsum(config.widths)[:-1]])
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    level = 10 * np.log10(
        np.add.reduceat(power, begins, axis=1) / np.array(config.widths, np.float32) + np.float32(1e-10)
    )
    start = np.linspace(*LEVEL_START_DB, config.bands, dtype=np.float32)
    erb = (level - running_mean(level, start, config.forget)) / np.float32(LEVEL_SCALE_DB)
    lower = spectrum[:, : config.filtered]
    size = running_mean(np.abs(lower), np.linspace(*SIZE_START, config.filtered, dtype=np.float32), config.forget)
    unit = lower / np.sqrt(size)
    return erb, np.stack([unit.real, unit.imag])


def _moved(values: Audio, frames: int, axis: int) -> Audio:
    """Values some frames earlier, with zeros after the last."""
    after = [(0, 0)] * values.ndim
    after[axis] = (0, frames)
    return np.ascontiguousarray(np.pad(values, after).take(range(frames, frames + values.shape[axis]), axis))


def filtered(config: DeepFilterConfig, spectrum: Spectrum, gains: Audio, taps: Audio) -> Spectrum:
    """The speech `[S, F]`: below, the deep filter over the noisy spectrum; above, the noisy spectrum times the gains of its bands.

    `gains`: `[S, 32]`. `taps`: `[S, 96, 10]`, real and imaginary part of the oldest frame first.
    """
    out: Spectrum = spectrum * np.repeat(gains, config.widths, axis=1)
    before = config.taps - 1 - config.ahead
    padded = np.pad(spectrum[:, : config.filtered], ((before, config.ahead), (0, 0)))
    weights = taps.reshape(*taps.shape[:2], config.taps, 2)
    frames = len(spectrum)
    out[:, : config.filtered] = sum(
        padded[place : place + frames] * (weights[:, :, place, 0] + 1j * weights[:, :, place, 1])
        for place in range(config.taps)
    )
    return out


def enhanced(config: DeepFilterConfig, networks: Networks, audio: Audio) -> Audio:
    """Speech `[T]` of a recording `[T]` at the network's rate, aligned with it to the sample.

    Raises:
        AudioRestorerError: the networks' outputs have other shapes than the configuration says.
    """
    late = config.n_fft - config.hop_length
    rest = -(len(audio) + late) % config.hop_length
    spectrum = analysed(config, np.pad(audio, (0, late + rest)))
    erb, unit = features(config, spectrum)
    gains, taps = networks(_moved(erb, config.seen_ahead, 0), _moved(unit, config.seen_ahead, 1))
    wanted = (len(spectrum), config.bands), (len(spectrum), config.filtered, 2 * config.taps)
    if (gains.shape, taps.shape) != wanted:
        raise AudioRestorerError(f"the networks gave {gains.shape} and {taps.shape}, not {wanted[0]} and {wanted[1]}")
    return synthesised(config, filtered(config, spectrum, gains, taps))[late : late + len(audio)]
