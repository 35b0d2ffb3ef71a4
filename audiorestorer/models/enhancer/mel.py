"""Mel-spectrograms of the enhancer, and the running normaliser of their values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.models.enhancer.settings import FeatureSettings

LINEAR_HZ = 200 / 3  # per Slaney mel below the break
BREAK_HZ = 1000.0  # above it mels are logarithmic
LOG_STEP = math.log(6.4) / 27  # of the frequency's logarithm per mel above the break
LEAST_DB, SPAN_DB = -80.0, 95.0
TINY_POWER = 1e-14  # a magnitude has no gradient at 0; this is 60 dB below the floor
MOMENTUM = 0.01
LEAST_VARIANCE = 1e-6


def slaney_filters(sample_rate: int, n_fft: int, n_mels: int) -> Tensor:
    """Triangles that are even in Slaney's mels from 0 Hz to Nyquist, each of area 1 in Hz (Auditory Toolbox, 1998): `[M, F]`."""
    top_hz = sample_rate / 2
    break_mel = BREAK_HZ / LINEAR_HZ
    top = break_mel + math.log(top_hz / BREAK_HZ) / LOG_STEP if top_hz > BREAK_HZ else top_hz / LINEAR_HZ
    mels = torch.linspace(0, top, n_mels + 2, dtype=torch.float64)
    edges = torch.where(mels < break_mel, mels * LINEAR_HZ, BREAK_HZ * ((mels - break_mel) * LOG_STEP).exp())
    bins = torch.linspace(0, top_hz, n_fft // 2 + 1, dtype=torch.float64)
    low, peak, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = torch.minimum((bins - low) / (peak - low), (high - bins) / (high - peak)).clamp_min(0)
    return (triangles * 2 / (high - low)).float()


def sharpened(audio: Tensor, preemphasis: float) -> Tensor:
    """Pre-emphasis: y(n) = x(n) - p x(n - 1), `[B, T]`."""
    return torch.cat([audio[:, :1], audio[:, 1:] - preemphasis * audio[:, :-1]], dim=1)


def values(mel: Tensor, floor: float) -> Tensor:
    """Mel magnitudes as numbers: 0 at -80 dB, 1 at 15 dB, none below the floor."""
    return (20 * torch.log10(mel.clamp_min(floor)) - LEAST_DB) / SPAN_DB


class MelSpectrogram(nn.Module):
    """Audio `[B, T]` to mel values `[B, M, N]`, N = ceil(T / hop): 0 at -80 dB and below, 1 at 15 dB. Not normalised."""

    window: Tensor
    filters: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("window", torch.hann_window(settings.n_fft), persistent=False)
        filters = slaney_filters(settings.sample_rate, settings.n_fft, settings.n_mels)
        self.register_buffer("filters", filters, persistent=False)

    def frames(self, length: int) -> int:
        """Number of frames of `length` samples."""
        return -(-length // self.settings.hop_length)

    def forward(self, audio: Tensor) -> Tensor:
        settings = self.settings
        audio = audio.float()
        sharp = sharpened(audio, settings.preemphasis)
        half, length = settings.n_fft // 2, audio.shape[1]
        # frames are centred on multiples of the hop; the one after the last sample is not made
        end = (self.frames(length) - 1) * settings.hop_length + half
        sharp = functional.pad(sharp, (half, max(0, end - length)))
        spectrum = torch.stft(
            sharp, settings.n_fft, settings.hop_length, window=self.window, center=False, return_complex=True
        )[..., : self.frames(length)]
        magnitude = (spectrum.real.square() + spectrum.imag.square() + TINY_POWER).sqrt()
        return values(self.filters @ magnitude, settings.floor)


class Normaliser(nn.Module):
    """(x - mean) / std with two running numbers. Only `update` changes them: learned in one stage, fixed in the next."""

    mean: Tensor
    variance: Tensor
    updates: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("variance", torch.ones(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Move towards this batch by `MOMENTUM`; the first batch sets both. A batch that is not finite changes nothing."""
        mean, variance = x.float().mean(), x.float().var(correction=0)
        if not bool((mean + variance).isfinite()):
            return
        share = 1.0 if int(self.updates) == 0 else MOMENTUM
        self.mean.lerp_(mean, share)
        self.variance.lerp_(variance, share)
        self.updates += 1

    def _std(self) -> Tensor:
        return self.variance.clamp_min(LEAST_VARIANCE).sqrt()

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self._std()

    def inverse(self, x: Tensor) -> Tensor:
        """The inverse of `forward`."""
        return x * self._std() + self.mean
