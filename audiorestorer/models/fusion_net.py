"""The fusion network in torch, for its training; what it computes: see `fusion`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.files import write_bytes_atomic
from audiorestorer.models import weights
from audiorestorer.models.band_split import BandSplit
from audiorestorer.models.fusion import ARCHITECTURE, FORMAT_VERSION, TOP_BINS, FusionConfig
from audiorestorer.models.mask_config import FEATURE_FLOOR, LEVEL_EPS, band_edges

START_OF_MIXTURE = -4.0  # logit of the mixture's weight before the training; the estimates begin with their mean
START_SCALE = 0.1  # of the last layers: the training begins near the mean


class FusionNet(nn.Module):
    """`forward`: `[B, 1 + n, T] -> [B, 1, T]`, the mixture first, then the estimates."""

    window: Tensor

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.config = config
        self.outputs = len(config.sources) + 1
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        edges = band_edges(config.bins, config.bands, config.sample_rate)
        sizes = config.band_width, config.band_hidden, config.rnn_hidden, config.rnn_layers
        self.split = BandSplit(edges, *sizes, features=config.features, outputs=self.outputs)
        count = len(config.sources)
        biases = torch.tensor(
            [*[-math.log(max(count - 1, 0.02))] * count, START_OF_MIXTURE]
        )  # the sigmoid of the first is 1 / count
        for layer in self.split.exits:
            assert isinstance(layer, nn.Linear)
            with torch.no_grad():
                layer.weight.mul_(START_SCALE)
                layer.bias.copy_(biases.repeat(len(layer.bias) // self.outputs))

    def spectra(self, signals: Tensor) -> Tensor:
        """`[B, C, T]` to `[B, C, F + 1, N]`, as `mask_arrays.spectrum`."""
        batch, channels, length = signals.shape
        n_fft, hop = self.config.n_fft, self.config.hop_length
        padded = functional.pad(signals.reshape(batch * channels, length), (n_fft // 2, n_fft // 2 + -length % hop))
        out = torch.stft(padded, n_fft, hop, window=self.window, center=False, return_complex=True)
        return out.reshape(batch, channels, *out.shape[1:])

    def features(self, spectra: Tensor) -> Tensor:
        """As `fusion.features`, of `[B, 1 + n, F, N]`."""
        sizes = (spectra.real.square() + spectra.imag.square() + 1e-20).sqrt()
        mean = sizes[:, :1].mean(dim=(2, 3), keepdim=True)
        scale = torch.where(mean <= LEVEL_EPS, torch.zeros_like(mean), 1 / mean.clamp_min(LEVEL_EPS))
        levels = torch.log(sizes * scale + FEATURE_FLOOR)
        views = [levels[:, 0] * 0.4 + 0.8, (levels[:, 0] - levels[:, 0].mean(dim=2, keepdim=True)) * 0.5]
        mixture = spectra[:, 0]
        for place in range(1, spectra.shape[1]):
            one = spectra[:, place]
            product = one.real * mixture.real + one.imag * mixture.imag
            views += [levels[:, place] * 0.4 + 0.8, product / (sizes[:, place] * sizes[:, 0]).clamp_min(1e-20)]
        return torch.stack(views, dim=1)

    def forward(self, signals: Tensor) -> Tensor:
        spectra = self.spectra(signals)
        logits = self.split(self.features(spectra[:, :, :-1]))
        batch, _, frames = logits.shape
        shares = torch.sigmoid(logits.float()).reshape(batch, self.config.bins, self.outputs, frames).transpose(1, 2)
        shares = torch.cat([shares, shares[:, :, -TOP_BINS:].mean(dim=2, keepdim=True)], dim=2)
        speech = (shares * torch.cat([spectra[:, 1:], spectra[:, :1]], dim=1)).sum(dim=1)
        return self.inverse(speech, signals.shape[-1])[:, None]

    def inverse(self, spectrum: Tensor, length: int) -> Tensor:
        """`[B, F + 1, N]` to `[B, T]`."""
        n_fft, hop = self.config.n_fft, self.config.hop_length
        frames = torch.fft.irfft(spectrum.transpose(1, 2), n=n_fft) * self.window
        total = (frames.shape[1] - 1) * hop + n_fft
        add = {"output_size": (1, total), "kernel_size": (1, n_fft), "stride": (1, hop)}
        audio = functional.fold(frames.transpose(1, 2), **add)[:, 0, 0]
        squares = self.window.square()[None, :, None].expand(1, n_fft, frames.shape[1])
        norm = functional.fold(squares, **add)[:, 0, 0]
        return (audio / norm.clamp_min(1e-8))[:, n_fft // 2 : n_fft // 2 + length]


def save_checkpoint(
    path: Path, model: FusionNet, card: dict[str, Any], storage: weights.Storage = "float16", mean_share: float = 0.0
) -> None:
    """Write a checkpoint that `fusion.load` reads (atomically). `card`: what it was made from; JSON types. `mean_share`: see
    `FusionConfig`."""
    metadata = {
        "architecture": ARCHITECTURE,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(asdict(replace(model.config, mean_share=mean_share)), sort_keys=True),
        "card": json.dumps(card, sort_keys=True),
    }
    write_bytes_atomic(path, weights.to_bytes(weights.packed(model.state_dict(), storage), metadata))
