"""A mask and a complex filter over neighbouring frames in each bin, in torch; `mask_arrays` does the same in NumPy.

After Mack & Habets 2020 (Deep Filtering), eq. 2: with frames of 20 ms a voice's overtones share a bin with what lies between them,
and only a filter over several frames can tell them apart. The mask is added to the filter's middle tap, so the training begins as that
of a mask network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.models.band_split import BandSplit

START_SCALE = 0.1  # of the last layers' weights for the taps: they begin near zero


def start(split: BandSplit, outputs: int) -> None:
    """Set the last layers so that the taps begin near zero; the first of `outputs` is the mask's."""
    for layer in split.exits:
        assert isinstance(layer, nn.Linear)
        with torch.no_grad():
            layer.weight.view(-1, outputs, layer.in_features)[:, 1:].mul_(START_SCALE)
            layer.bias.view(-1, outputs)[:, 1:] = 0.0


def turns(real: Tensor, imaginary: Tensor) -> Tensor:
    """Cosine and sine of each bin's turn of phase since the frame before: `[B, F, N] -> [B, 2, F, N]`; 0 where there is no sound."""
    last_real, last_imaginary = (functional.pad(part[:, :, :-1], (1, 0)) for part in (real, imaginary))
    along = real * last_real + imaginary * last_imaginary
    across = imaginary * last_real - real * last_imaginary
    both = torch.stack([along, across], dim=1)
    return both / (both.square().sum(dim=1, keepdim=True) + 1e-20).sqrt()


def filtered(real: Tensor, imaginary: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """The speech's parts `[B, F, N]`: mask and taps `[B, 1 + 2 taps, F, N]` at work on those of the mixture."""
    frames, taps = real.shape[2], (out.shape[1] - 1) // 2
    mask, *parts = out.unbind(dim=1)
    kept_real, kept_imaginary = real * mask, imaginary * mask
    around = [functional.pad(part, (taps // 2, taps // 2)) for part in (real, imaginary)]
    for tap in range(taps):
        near_real, near_imaginary = (part[:, :, tap : tap + frames] for part in around)
        a, b = parts[2 * tap], parts[2 * tap + 1]
        kept_real = kept_real + a * near_real - b * near_imaginary
        kept_imaginary = kept_imaginary + a * near_imaginary + b * near_real
    return kept_real, kept_imaginary
