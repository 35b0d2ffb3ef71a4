"""What stands around a mask network when it restores: the STFT, the features, the mask's use and the way back. NumPy alone.

`MaskUNet` has the same transforms in torch, for training. Here levels are taken over active frames (`models.activity`), and the mask
may be applied with more overlap than in training.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from audiorestorer.audio import Audio
from audiorestorer.dsp.stft import forward, hann
from audiorestorer.models import activity
from audiorestorer.models.mask_config import FEATURE_FLOOR, LEVEL_EPS, MaskUNetConfig

# features `[B, 2, F, N]` -> mask `[B, F, N]`; with taps `[B, 4, F, N]` -> mask and taps `[B, 1 + 2 taps, F, N]`
Network = Callable[[Audio], Audio]


def spectrum(audio: Audio, n_fft: int, hop_length: int) -> NDArray[np.complex64]:
    """`[B, T]` to a complex STFT `[B, F, N]`, N = ceil(T / hop) + 1: frame k is centred on sample k hop, with zeros outside."""
    rest = (-audio.shape[-1]) % hop_length
    padded = np.pad(audio, ((0, 0), (n_fft // 2, n_fft // 2 + rest)))
    return forward(framed(padded, n_fft, hop_length) * hann(n_fft)).transpose(0, 2, 1)


def framed(audio: Audio, size: int, hop_length: int) -> Audio:
    """The whole frames of `[B, T]`, `[B, N, size]`; a view."""
    return sliding_window_view(audio, size, axis=1)[:, ::hop_length]


def inverse(values: NDArray[np.complex64], n_fft: int, hop_length: int, length: int) -> Audio:
    """The inverse of `spectrum`: `[B, F, N]` to `[B, length]` (weighted overlap-add, Griffin & Lim 1984, eq. 6)."""
    frames = np.fft.irfft(values.transpose(0, 2, 1), n=n_fft, axis=2).astype(np.float32, copy=False) * hann(n_fft)
    squares = np.broadcast_to(np.square(hann(n_fft)), (1, frames.shape[1], n_fft))
    audio, norm = overlap_added(frames, hop_length), overlap_added(squares, hop_length)
    audio /= np.maximum(norm, np.float32(1e-8))
    return audio[:, n_fft // 2 : n_fft // 2 + length]


def overlap_added(frames: Audio, hop_length: int) -> Audio:
    """`[B, N, n_fft]` to `[B, (N - 1) hop + n_fft]`; n_fft is a multiple of the hop."""
    rows, count, n_fft = frames.shape
    parts = frames.reshape(rows, count, n_fft // hop_length, hop_length)
    out = np.zeros((rows, count + n_fft // hop_length - 1, hop_length), np.float32)
    for place in range(n_fft // hop_length):
        out[:, place : place + count] += parts[:, :, place]
    return out.reshape(rows, -1)


def features(magnitude: Audio, frame_weights: Audio | None = None) -> Audio:
    """Two views of `[B, F, N]`: log magnitude relative to the item's mean, and to each bin's mean over time: `[B, 2, F, N]`.

    `frame_weights`: `[B, N]`, of the frames in both means.
    """
    mean = _weighted(magnitude, frame_weights).mean(axis=(1, 2), keepdims=True)
    silent = mean <= LEVEL_EPS
    relative = np.where(silent, np.float32(0), magnitude / np.where(silent, np.float32(1), mean))
    level = np.log(relative + np.float32(FEATURE_FLOOR))
    contrast = level - _weighted(level, frame_weights).mean(axis=2, keepdims=True)
    return np.stack([level * np.float32(0.4) + np.float32(0.8), contrast * np.float32(0.5)], axis=1)


def _weighted(values: Audio, frame_weights: Audio | None) -> Audio:
    return values if frame_weights is None else values * frame_weights[:, None]


def speech_and_mask(
    config: MaskUNetConfig, network: Network, audio: Audio, overlap: int | None = None, floor: float = 0.0
) -> tuple[Audio, Audio]:
    """Speech `[B, T]` of a mixture `[B, T]` and its magnitude mask `[B, F, N]`, by one pass of the network.

    Args:
        overlap: frames that cover a sample when the mask is applied (n_fft / hop); more than in training smooth the effect of a
            changing mask. The network always sees the frames it was trained on; its mask is interpolated in time.
        floor: least mask.
    """
    length, shape, hop = audio.shape[-1], (config.n_fft, config.hop_length), config.hop_of(overlap)
    whole = spectrum(audio, *shape)
    limited = activity.unclicked(audio, *shape, config.sample_rate)
    seen = whole if limited is audio else spectrum(limited, *shape)
    views = features(np.abs(seen), activity.frame_weights(audio, *shape, config.sample_rate))
    if config.taps:
        values, mask = filtered(whole, network(np.concatenate([views, turns(seen)], axis=1)), floor)
        return inverse(values, *shape, length), np.minimum(mask, np.float32(config.mask_limit))
    mask = network(views)
    mask = np.maximum(mask, np.float32(floor))
    if hop == config.hop_length:
        return inverse(whole * mask, *shape, length), mask
    fine = spectrum(audio, config.n_fft, hop)
    between = _interpolated(mask, config.hop_length // hop)[:, :, : fine.shape[-1]]
    return inverse(fine * between, config.n_fft, hop, length), mask


def turns(values: NDArray[np.complex64]) -> Audio:
    """See `mask_filter.turns`; of a spectrum `[B, F, N]`."""
    last = np.concatenate([np.zeros_like(values[:, :, :1]), values[:, :, :-1]], axis=2)
    product = values * np.conj(last)
    size = np.sqrt(np.square(product.real) + np.square(product.imag) + np.float32(1e-20))
    return np.stack([product.real / size, product.imag / size], axis=1)


def filtered(values: NDArray[np.complex64], out: Audio, floor: float = 0.0) -> tuple[NDArray[np.complex64], Audio]:
    """A mixture's spectrum `[B, F, N]` to the speech's by mask and taps `[B, 1 + 2 taps, F, N]` (see `mask_filter.filtered`), and the
    share of each bin's magnitude that is left. Where less than `floor` would be left, `floor` of the mixture is."""
    frames, taps = values.shape[2], (out.shape[1] - 1) // 2
    speech = values * out[:, 0]
    around = np.pad(values, ((0, 0), (0, 0), (taps // 2, taps // 2)))
    for tap in range(taps):
        speech += (out[:, 1 + 2 * tap] + 1j * out[:, 2 + 2 * tap]) * around[:, :, tap : tap + frames]
    left = np.sqrt(np.square(np.abs(speech)) + np.float32(1e-20)) / np.sqrt(
        np.square(np.abs(values)) + np.float32(1e-20)
    )
    if floor > 0:
        speech, left = np.where(left < floor, np.float32(floor) * values, speech), np.maximum(left, floor)
    return speech.astype(np.complex64, copy=False), left.astype(np.float32, copy=False)


def _interpolated(mask: Audio, factor: int) -> Audio:
    """`[B, F, N]` to `[B, F, (N - 1) factor + 1]`, linear in time."""
    steps = np.arange(factor, dtype=np.float32) / np.float32(factor)
    between = mask[:, :, :-1, None] + np.diff(mask, axis=2)[..., None] * steps
    return np.concatenate([between.reshape(*mask.shape[:2], -1), mask[:, :, -1:]], axis=2)
