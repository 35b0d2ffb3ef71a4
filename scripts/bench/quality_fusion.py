"""Fusions that no stage has: bounds made of the reference, and weights learned on recordings that are not measured.

`oracle`: in each cell the mask that is nearer to the ideal ratio mask (no choice among the masks is better). `ideal`: that mask
itself (no real mask in [0, 1] is better). `learned`: in each of `BANDS` bands of equal width in mel, non-negative weights of the
masks that bring the masked mixtures of data/pilot nearest to their references (least squares of the complex spectra).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from audiorestorer import audio
from audiorestorer.config import FuseSettings
from audiorestorer.dsp import stft
from audiorestorer.dsp.masks import Mask, ratio_mask
from audiorestorer.stages.fuse import Estimates, separator_masks
from scripts.bench.quality_sets import Clip

BOUNDS = ("oracle", "ideal")
LEARNED = "learned"
BANDS = 24
TOP_HZ = 11_025.0  # the pilots' half rate: the last band goes on above it
Weights = NDArray[np.float64]  # `[BANDS, separators]`


def band_of(bins: int, rate: int) -> NDArray[np.int64]:
    """The band of each bin of an STFT, `[F]`."""
    hertz = np.arange(bins) * rate / 2 / (bins - 1)
    mel, top = (np.log10(1 + value / 700) for value in (hertz, TOP_HZ))
    return np.minimum((mel / top * BANDS).astype(np.int64), BANDS - 1)


def chosen_mask(bound: str, masks: Sequence[Mask], ideal: Mask) -> Mask:
    """The mask of a bound. Raises KeyError: unknown."""
    if bound == "ideal":
        return ideal
    if bound != "oracle":
        raise KeyError(bound)
    stacked = np.stack(masks)
    nearest = np.abs(stacked - ideal).argmin(axis=0)
    return np.take_along_axis(stacked, nearest[None], axis=0)[0]


def _streams(clip: Clip, pairs: Estimates) -> list[Iterator[audio.Audio]]:
    files = [audio.blocks(path) for pair in pairs for path in pair if path]
    return [iter([clip.noisy]), iter([clip.truth]), *files]


def fuse_otherwise(
    clip: Clip, kind: str, pairs: Estimates, settings: FuseSettings, folder: Path, weights: Weights | None = None
) -> Path:
    """The file of the speech fused by a bound, or by learned weights."""

    def function(mixture: stft.Spectrum, truth: stft.Spectrum, *stems: stft.Spectrum) -> stft.Spectrum:
        masks = separator_masks(mixture, stems, pairs, settings)
        if weights is None:
            return mixture * chosen_mask(kind, masks, ratio_mask(truth, mixture - truth, settings.eps))
        each = weights[band_of(mixture.shape[-1], clip.rate)].astype(np.float32)
        return mixture * np.clip(sum(mask * each[:, index] for index, mask in enumerate(masks)), 0, 1)

    out = stft.process(_streams(clip, pairs), clip.noisy.shape[1], settings.n_fft, settings.hop_length, function)
    target = folder / "speech.wav"
    audio.write_blocks(target, out, clip.rate, 1, expected_frames=clip.noisy.shape[1])
    return target


def normal_equations(clip: Clip, pairs: Estimates, settings: FuseSettings) -> tuple[Weights, Weights]:
    """Normal equations of a clip: products of the masked mixtures `[BANDS, n, n]`, and with the reference `[BANDS, n]`."""
    count = len(pairs)
    squares, products = np.zeros((BANDS, count, count)), np.zeros((BANDS, count))
    for mixture, truth, *stems in stft.analyse(
        _streams(clip, pairs), clip.noisy.shape[1], settings.n_fft, settings.hop_length
    ):
        parts = np.stack([mixture * mask for mask in separator_masks(mixture, stems, pairs, settings)]).astype(
            np.complex128
        )
        bands = band_of(mixture.shape[-1], clip.rate)
        for band in range(BANDS):
            x = parts[..., bands == band].reshape(count, -1)
            squares[band] += (x @ x.conj().T).real
            products[band] += (x @ truth[..., bands == band].reshape(-1).conj()).real
    return squares, products


def least_squares(squares: Weights, products: Weights) -> Weights:
    """The non-negative weights that solve each band's normal equations; a band without sound gets the mean."""
    out = np.full(products.shape, 1 / products.shape[1])
    for band, (square, product) in enumerate(zip(squares, products, strict=True)):
        if np.trace(square) > 0:
            root = np.linalg.cholesky(square + 1e-9 * np.trace(square) * np.eye(len(square)))
            out[band] = nnls(root.T, np.linalg.solve(root, product))[0]
    return out
