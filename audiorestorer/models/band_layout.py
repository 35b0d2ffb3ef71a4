"""How networks over bands see a spectrum: which of its bins each band holds, there and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BandLayout:
    """Bands of a spectrum of `channels` channels and `bins` bins; a bin may be in several.

    Attributes:
        places: `[K]`: where in `[channels x bins]` each complex number that the network sees stands, band after band.
        widths: real numbers of each band, 2 K in all: the real part and the imaginary part side by side.
        mean: a bin's mask is the mean of its bands'; otherwise their sum.
    """

    places: Tensor
    widths: Sequence[int]
    channels: int
    bins: int
    mean: bool

    def split(self, spectrum: Tensor) -> Tensor:
        """`[B, C, F, T]` complex to `[B, T, 2 K]`."""
        chosen = torch.view_as_real(spectrum.flatten(1, 2)[:, self.places.to(spectrum.device)])
        return chosen.transpose(1, 2).flatten(2)

    def masked(self, spectrum: Tensor, masks: Tensor) -> Tensor:
        """A spectrum `[B, C, F, T]` times the masks `[B, S, T, 2 K]` of S stems: `[B, S, C, F, T]`."""
        places = self.places.to(masks.device)
        values = torch.view_as_complex(masks.float().unflatten(-1, (-1, 2)).contiguous()).transpose(
            2, 3
        )  # [B, S, K, T]
        joined = values.new_zeros(*values.shape[:2], self.channels * self.bins, values.shape[-1])
        joined.index_add_(2, places, values)
        if self.mean:
            joined /= torch.bincount(places, minlength=joined.shape[2]).clamp_min(1)[:, None]
        return spectrum[:, None] * joined.unflatten(2, (self.channels, self.bins))
