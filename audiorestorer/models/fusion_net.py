"""The fusion network in torch, for its training; what it computes: see `fusion`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiorestorer.files import write_bytes_atomic
from audiorestorer.models import torch_files, weights
from audiorestorer.models.band_split import BandNet
from audiorestorer.models.fusion import ARCHITECTURE, FORMAT_VERSION, TOP_BINS, FusionConfig, described
from audiorestorer.models.mask_config import FEATURE_FLOOR, LEVEL_EPS

START_OF_MIXTURE = -4.0  # logit of the mixture's weight before the training; the estimates begin with their mean
START_SCALE = 0.1  # of the last layers: the training begins near the mean


class FusionNet(BandNet):
    """`forward`: `[B, 1 + n, T] -> [B, 1, T]`, the mixture first, then the estimates."""

    config: FusionConfig

    def __init__(self, config: FusionConfig) -> None:
        super().__init__(config)
        self.outputs = len(config.sources) + 1
        self.split = self.over_bands(config.features, self.outputs)
        count = len(config.sources)
        biases = torch.tensor(
            [*[-math.log(max(count - 1, 0.02))] * count, START_OF_MIXTURE]
        )  # the sigmoid of the first is 1 / count
        for layer in self.split.exits:
            assert isinstance(layer, nn.Linear)
            with torch.no_grad():
                layer.weight.mul_(START_SCALE)
                layer.bias.copy_(biases.repeat(len(layer.bias) // self.outputs))

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


def load_checkpoint(path: Path) -> FusionNet:
    """The network of a checkpoint, float32, `eval`.

    Raises:
        AudioRestorerError: no such checkpoint, or weights that do not fit; names file and reason.
    """
    state, raw = weights.read(path)
    config, _ = described(path, raw)
    network = torch_files.loaded(lambda: FusionNet(config), state, str(path))
    assert isinstance(network, FusionNet)
    return network
