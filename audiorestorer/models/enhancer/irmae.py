"""Autoencoder of mel-spectrograms with implicit rank minimisation (Jing et al. 2020, "Implicit Rank-Minimizing Autoencoder").

Linear layers in a row have the power of one, but gradient descent on them prefers codes of low rank. After training one layer does.
"""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from audiorestorer.models.enhancer.settings import IrmaeSettings


class _Residual(nn.Module):
    """Pre-activation residual block: for each dilation group norm, GELU, convolution of 3 taps."""

    def __init__(self, channels: int, groups: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for dilation in dilations:
            conv = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
            layers += [nn.GroupNorm(groups, channels), nn.GELU(), weight_norm(conv)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


class Irmae(nn.Module):
    """Mel values `[B, M, N]` to a code `[B, latent, N]` in (-1, 1), and back."""

    def __init__(self, n_mels: int, settings: IrmaeSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or IrmaeSettings()
        self.n_mels = n_mels
        widths = [settings.hidden] + [settings.latent] * settings.linears
        self.encoder = nn.Sequential(nn.Conv1d(n_mels, settings.hidden, 3, padding=1), *self._blocks())
        self.linears = nn.Sequential(*(nn.Conv1d(a, b, 1, bias=False) for a, b in itertools.pairwise(widths)))
        self.decoder = nn.Sequential(
            nn.Conv1d(settings.latent, settings.hidden, 3, padding=1),
            *self._blocks(),
            nn.Conv1d(settings.hidden, n_mels + settings.extra, 1),
        )
        self.head = nn.Sequential(
            nn.Conv1d(n_mels + settings.extra, settings.hidden, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(settings.hidden, n_mels, 1),
        )

    def _blocks(self) -> list[_Residual]:
        settings = self.settings
        return [_Residual(settings.hidden, settings.groups, settings.dilations) for _ in range(settings.blocks)]

    def encode(self, mel: Tensor) -> Tensor:
        """Code of mel values: `[B, M, N] -> [B, latent, N]`, not scaled by `z_scale`."""
        return torch.tanh(self.linears(self.encoder(mel)))

    def decode(self, code: Tensor) -> Tensor:
        """The vocoder's input for a code: `[B, latent, N] -> [B, M + extra, N]`."""
        out: Tensor = self.decoder(code)
        return out

    def to_mel(self, decoded: Tensor) -> Tensor:
        """Mel values of `decode`'s output: `[B, M + extra, N] -> [B, M, N]`."""
        out: Tensor = self.head(decoded)
        return out

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of `decode` and of `to_mel` for the code of mel values. The loss is the latter's MSE."""
        decoded = self.decode(self.encode(mel))
        return decoded, self.to_mel(decoded)

    def merged(self) -> Irmae:
        """The same function with one linear layer; this module stays as it is."""
        other = copy.deepcopy(self)
        weights = [layer.weight[:, :, 0].detach().double() for layer in self.linears]  # type: ignore[index]
        product = weights[0]
        for weight in weights[1:]:
            product = weight @ product
        layer = nn.Conv1d(product.shape[1], product.shape[0], 1, bias=False, device=product.device)
        layer.weight = nn.Parameter(product[:, :, None].to(self.linears[0].weight.dtype))  # type: ignore[arg-type]
        other.linears = nn.Sequential(layer)
        other.settings = self.settings.model_copy(update={"linears": 1})
        return other.train(self.training)
