"""Discriminators of the vocoder's training: over folded waveforms and over spectrograms of several resolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from audiorestorer.models.enhancer.settings import DiscriminatorSettings

SLOPE = 0.2
PERIOD_STRIDE = 3  # of all layers but the last two
TINY_POWER = 1e-9  # a magnitude has no gradient at 0


def _chain(layers: list[nn.Conv2d]) -> nn.Sequential:
    """Weight-normed convolutions, a leaky activation after each but the last."""
    parts: list[nn.Module] = []
    for layer in layers:
        parts += [weight_norm(layer), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*parts[:-1])


class PeriodDiscriminator(nn.Module):
    """Scores of a waveform folded to rows of `period` samples (Kong et al. 2020, "HiFi-GAN"): `[B, T] -> [B, n]`."""

    def __init__(self, period: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.period = period
        widths = (1, *channels)
        layers = [
            nn.Conv2d(a, b, (5, 1), (PERIOD_STRIDE if number < len(channels) - 1 else 1, 1), padding=(2, 0))
            for number, (a, b) in enumerate(zip(widths, channels, strict=False))
        ]
        self.layers = _chain([*layers, nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0))])

    def forward(self, audio: Tensor) -> Tensor:
        padded = functional.pad(audio, (0, -audio.shape[1] % self.period))
        scores: Tensor = self.layers(padded.reshape(len(audio), 1, -1, self.period))
        return scores.flatten(1)


class ResolutionDiscriminator(nn.Module):
    """Scores of a magnitude spectrogram (Jang et al. 2021, "UnivNet"): `[B, T] -> [B, n]`."""

    window: Tensor

    def __init__(self, n_fft: int, hop_length: int, window: int, channels: int) -> None:
        super().__init__()
        self.n_fft, self.hop_length, self.length = n_fft, hop_length, window
        wide = [nn.Conv2d(channels, channels, (3, 9), (1, 2), padding=(1, 4)) for _ in range(3)]
        self.layers = _chain(
            [
                nn.Conv2d(1, channels, (3, 9), padding=(1, 4)),
                *wide,
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.Conv2d(channels, 1, 3, padding=1),
            ]
        )
        self.register_buffer("window", torch.hann_window(window), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        spectrum = torch.stft(
            audio.float(),
            self.n_fft,
            self.hop_length,
            self.length,
            self.window,
            pad_mode="constant",
            return_complex=True,
        )
        magnitude = (spectrum.real.square() + spectrum.imag.square() + TINY_POWER).sqrt()
        scores: Tensor = self.layers(magnitude[:, None])
        return scores.flatten(1)


class Discriminators(nn.Module):
    """All discriminators: `[B, T]` to one tensor of scores per discriminator, multi-period ones first."""

    def __init__(self, settings: DiscriminatorSettings | None = None) -> None:
        super().__init__()
        settings = settings or DiscriminatorSettings()
        self.periods = nn.ModuleList(
            PeriodDiscriminator(period, settings.period_channels) for period in settings.periods
        )
        self.resolutions = nn.ModuleList(
            ResolutionDiscriminator(*resolution, settings.resolution_channels) for resolution in settings.resolutions
        )

    def forward(self, audio: Tensor) -> list[Tensor]:
        return [part(audio) for part in (*self.periods, *self.resolutions)]
