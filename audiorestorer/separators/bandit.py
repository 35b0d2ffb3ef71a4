"""`kind: bandit`: Bandit v2, which was trained to take speech, music and effects of film sound apart, in its released files.

The registry entry says the network's sizes under `network`, with the names of the released configuration, or its author's YAML is
among the files. It is made for GPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from audiorestorer.models.band_layout import BandLayout
from audiorestorer.models.bandit import Bandit, layout, named
from audiorestorer.separators import ModelFiles, Options, Separator
from audiorestorer.separators.runtime.spectral import Transform, separator

PACKAGES = ("torch",)  # read before the run begins, without an import


def _parts(settings: Any) -> tuple[Transform, BandLayout, Callable[[], nn.Module]]:
    bands = layout(settings)
    window = settings.win_length or settings.n_fft
    # torchaudio's `normalized=True`, which the network was trained with: the root of the window's energy
    scale = float(torch.hann_window(window).square().sum().sqrt()) if settings.normalized else 1.0
    transform = Transform(settings.n_fft, settings.hop_length, window, settings.pad_mode, scale)
    return transform, bands, lambda: Bandit(settings, list(bands.widths))


def _keep(network: Any, stems: list[int]) -> None:
    names = list(network.mask_estim)
    network.mask_estim = nn.ModuleDict({names[index]: network.mask_estim[names[index]] for index in stems})


def load(model: ModelFiles, options: Options) -> Separator:
    """Raises AudioRestorerError: see `runtime.spectral.separator`."""
    return separator(model, options, _parts, _keep, named)
