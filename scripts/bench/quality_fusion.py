"""Fusions that no stage has: bounds made of the reference.

`oracle`: in each cell the mask that is nearer to the ideal ratio mask (no choice among the masks is better). `ideal`: that mask
itself (no real mask in [0, 1] is better).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from audiorestorer import audio
from audiorestorer.config import FuseSettings
from audiorestorer.dsp import stft
from audiorestorer.dsp.masks import Mask, ratio_mask
from audiorestorer.stages.fuse import Estimates, separator_masks
from scripts.bench.quality_sets import Clip

BOUNDS = ("oracle", "ideal")


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


def fuse_otherwise(clip: Clip, kind: str, pairs: Estimates, settings: FuseSettings, folder: Path) -> Path:
    """The file of the speech fused by a bound."""

    def function(mixture: stft.Spectrum, truth: stft.Spectrum, *stems: stft.Spectrum) -> stft.Spectrum:
        masks = separator_masks(mixture, stems, pairs, settings)
        return mixture * chosen_mask(kind, masks, ratio_mask(truth, mixture - truth, settings.eps))

    out = stft.process(_streams(clip, pairs), clip.noisy.shape[1], settings.n_fft, settings.hop_length, function)
    target = folder / "speech.wav"
    audio.write_blocks(target, out, clip.rate, 1, expected_frames=clip.noisy.shape[1])
    return target
