"""`kind: roformer`: Mel-Band RoFormers and BS-RoFormers, in the files that their authors released.

The registry entry says the network's sizes under `network`, with the names of the released configurations, or its author's YAML is
among the files. A window is as long as the network's own; where windows meet is as for every other separator here. On a CPU it takes
several seconds for a second of audio: it is made for GPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from audiorestorer.models.band_layout import BandLayout
from audiorestorer.models.roformer import Roformer, layout
from audiorestorer.separators import ModelFiles, Options, Separator
from audiorestorer.separators.runtime.spectral import Transform, separator

PACKAGES = ("torch",)  # read before the run begins, without an import


def _parts(settings: Any) -> tuple[Transform, BandLayout, Callable[[], nn.Module]]:
    bands = layout(settings)
    window = settings.stft_win_length or settings.stft_n_fft
    scale = settings.stft_n_fft**0.5 if settings.stft_normalized else 1.0
    transform = Transform(settings.stft_n_fft, settings.stft_hop_length, window, scale=scale, zero_dc=settings.zero_dc)
    return transform, bands, lambda: Roformer(settings, list(bands.widths))


def _keep(network: Any, stems: list[int]) -> None:
    network.mask_estimators = nn.ModuleList([network.mask_estimators[index] for index in stems])


def load(model: ModelFiles, options: Options) -> Separator:
    """Raises AudioRestorerError: see `runtime.spectral.separator`."""
    return separator(model, options, _parts, _keep)
