"""The extension network in torch, for its training; what it computes: see `extension`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.files import write_bytes_atomic
from audiorestorer.models import weights
from audiorestorer.models.band_split import BandNet
from audiorestorer.models.extension import (
    ARCHITECTURE,
    CROSSING,
    FEATURES,
    FORMAT_VERSION,
    LEVEL_FLOOR,
    LEVEL_SCALE,
    LEVEL_SHIFT,
    LOG_RANGE,
    OUTPUTS,
    SILENT,
    ExtensionConfig,
)  # fmt: skip

START = (-4.0, 0.0)  # of the two outputs, before the training
START_SCALE = 0.1  # of the last layers


class ExtensionNet(BandNet):
    """`forward`: `[B, T]` at RMS 1, limits `[B]` in Hz and a carrier of noise `[B, F, N]` to the whole band `[B, T]`."""

    config: ExtensionConfig

    def __init__(self, config: ExtensionConfig) -> None:
        super().__init__(config)
        self.split = self.over_bands(FEATURES, OUTPUTS)
        for layer in self.split.exits:
            assert isinstance(layer, nn.Linear)
            with torch.no_grad():
                layer.weight.mul_(START_SCALE)
                layer.bias.copy_(torch.tensor(START).repeat(len(layer.bias) // OUTPUTS))

    def share_above(self, limits_hz: Tensor) -> Tensor:
        """As `extension.share_above`."""
        config = self.config
        frequency = torch.arange(config.bins, device=limits_hz.device) * (config.sample_rate / config.n_fft)
        limit = limits_hz[:, None]
        rise = ((frequency - limit * (1 - CROSSING)) / (limit * CROSSING)).clamp(0, 1)
        return (torch.sin(math.pi / 2 * rise) ** 2)[..., None]

    def frames(self, samples: int) -> int:
        """Frames of so many samples."""
        return -(-samples // self.config.hop_length) + 1

    def forward(self, audio: Tensor, limits_hz: Tensor, noise: Tensor) -> Tensor:
        bins, scale = self.config.bins, self.config.scale
        whole, rectified = self.spectra(torch.stack([audio, audio.abs()], dim=1)).unbind(dim=1)
        given, share = whole[:, :bins] / scale, self.share_above(limits_hz)
        size = given.abs()
        level = (torch.log(size * (1 - share) + LEVEL_FLOOR) + LEVEL_SHIFT) * LEVEL_SCALE
        out = self.split(torch.stack([level, (1 - share).expand_as(level)], dim=1))
        batch, _, frames = out.shape
        logarithm, logit = out.float().reshape(batch, bins, OUTPUTS, frames).unbind(dim=2)
        voicing = torch.sigmoid(logit)
        overtones = rectified[:, :bins] / rectified[:, :bins].abs().clamp_min(1e-12)
        carrier = voicing * overtones + (1 - voicing.square()).clamp_min(1e-6).sqrt() * noise
        loud = (size.square().mean(dim=1, keepdim=True).sqrt() / SILENT).clamp_max(1)
        wanted = logarithm.clamp(*LOG_RANGE).exp() * loud
        missing = (wanted.square() - size.square()).clamp_min(1e-12).sqrt() * (wanted > size)
        change = functional.pad(share * missing * carrier * scale, (0, 0, 0, 1))
        return audio + self.inverse(change, audio.shape[-1])


def save_checkpoint(
    path: Path, model: ExtensionNet, card: dict[str, Any], storage: weights.Storage = "float16"
) -> None:
    """Write a checkpoint that `extension.load` reads (atomically). `card`: what it was made from; JSON types."""
    metadata = {
        "architecture": ARCHITECTURE,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(asdict(model.config), sort_keys=True),
        "card": json.dumps(card, sort_keys=True),
    }
    write_bytes_atomic(path, weights.to_bytes(weights.packed(model.state_dict(), storage), metadata))
