"""Denoiser: a U-Net over the spectrogram that gives a magnitude mask and a phase rotation for each bin."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.models.enhancer.settings import DenoiserSettings

GROUP_CHANNELS = 16  # channels per group of a norm
TINY = 1e-6  # added to squared lengths: below -60 dB of full scale a bin has no direction to speak of
START = (1.0, 1.0, 0.0)  # biases: most of the magnitude, no turn
SILENT_RMS = 1e-8  # of full scale (-160 dBFS)


def rms(audio: Tensor, silent: float = 1.0) -> Tensor:
    """RMS of each item of `[B, T]`; `silent` where it is at most -160 dBFS, so that one may divide by it: `[B, 1]`."""
    # the peak goes first: squares of extreme levels neither overflow nor vanish
    peak = audio.abs().amax(dim=1, keepdim=True)
    scaled = audio / peak.clamp_min(torch.finfo(torch.float32).tiny)
    level = peak * scaled.square().mean(dim=1, keepdim=True).sqrt()
    return torch.where(level > SILENT_RMS, level, torch.full_like(level, silent))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, channels // GROUP_CHANNELS), channels)


class _Residual(nn.Module):
    """Pre-activation residual block: twice (group norm, GELU, 3x3 convolution)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [_norm(channels), nn.GELU(), nn.Conv2d(channels, channels, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


class _Block(nn.Module):
    """3x3 convolution and two residual blocks."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), _Residual(outputs), _Residual(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class Denoiser(nn.Module):
    """Noisy speech to speech with less noise: `[B, T] -> [B, T]`, any length.

    Phase and magnitude of a bin are changed separately: out = m |X| e^(i(arg X + d)), 0 <= m <= 1. The input is scaled by `level` and
    the output back: give the level of a whole recording, and its windows do not depend on how it was cut.
    """

    window: Tensor

    def __init__(self, settings: DenoiserSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or DenoiserSettings()
        self.entry = nn.Conv2d(3, settings.hidden, 3, padding=1)
        widths = [settings.hidden * 2**level for level in range(settings.levels + 1)]
        pairs = list(zip(widths, widths[1:], strict=False))
        self.encoder = nn.ModuleList(_Block(small, large) for small, large in pairs)
        self.middle = nn.ModuleList(_Block(widths[-1], widths[-1]) for _ in range(settings.middle))
        self.decoder = nn.ModuleList(_Block(large, small) for small, large in reversed(pairs))
        last = nn.Conv2d(settings.hidden, 3, 1)
        with torch.no_grad():  # training begins near the identity, not at random phases
            last.bias.copy_(torch.tensor(START))  # type: ignore[union-attr]
        self.head = nn.Sequential(nn.Conv2d(settings.hidden, settings.hidden, 3, padding=1), nn.GELU(), last)
        self.register_buffer("window", torch.hann_window(settings.n_fft), persistent=False)

    def spectrum(self, audio: Tensor) -> Tensor:
        """`[B, T]` to `[B, F, N]` complex, N = ceil(T / hop) + 1."""
        settings = self.settings
        half, rest = settings.n_fft // 2, -audio.shape[1] % settings.hop_length
        audio = functional.pad(audio, (half, half + rest))
        return torch.stft(
            audio, settings.n_fft, settings.hop_length, window=self.window, center=False, return_complex=True
        )

    def inverse(self, spectrum: Tensor, length: int) -> Tensor:
        """The inverse of `spectrum`: `[B, length]`."""
        settings = self.settings
        return torch.istft(
            spectrum, settings.n_fft, settings.hop_length, window=self.window, center=True, length=length
        )

    def network(self, features: Tensor) -> Tensor:
        """`[B, 3, F, N]` to `[B, 3, F, N]`: magnitude in [0, 1], real and imaginary part of the rotation in [-1, 1]."""
        bins, frames = features.shape[2:]
        step = 2**self.settings.levels
        x = self.entry(functional.pad(features, (0, -frames % step, 0, -bins % step)))
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = x[:, :, ::2, ::2]
        for block in self.middle:
            x = block(x)
        for block in self.decoder:
            x = block(functional.interpolate(x, scale_factor=2.0, mode="nearest") + skips.pop())
        x = self.head(x)[:, :, :bins, :frames]
        return torch.cat([x[:, :1].sigmoid(), x[:, 1:].tanh()], dim=1)

    def forward(self, audio: Tensor, level: Tensor | None = None) -> Tensor:
        """Denoised audio.

        Args:
            level: `[B, 1]`, RMS of the recording that each item is cut from; None: of the item itself.
        """
        level = rms(audio) if level is None else level
        spectrum = self.spectrum((audio / level).float())
        magnitude = (spectrum.real.square() + spectrum.imag.square() + TINY).sqrt()
        unit = torch.stack([spectrum.real, spectrum.imag], dim=1) / magnitude[:, None]
        features = torch.cat([magnitude[:, None], unit], dim=1)
        factors = self.network(features.to(self.entry.weight.dtype)).float()
        turn = factors[:, 1:] / (factors[:, 1:].square().sum(dim=1, keepdim=True) + TINY).sqrt()
        turned = spectrum * torch.complex(turn[:, 0].contiguous(), turn[:, 1].contiguous())
        return self.inverse(factors[:, 0] * turned, audio.shape[1]) * level
