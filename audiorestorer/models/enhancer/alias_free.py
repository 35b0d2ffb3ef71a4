"""Periodic activation at twice the rate, so that the harmonics it makes do not fold back (Lee et al. 2023, "BigVGAN")."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

TAPS = 12  # at twice the rate
CUTOFF = 0.25  # of twice the rate: the Nyquist frequency of the rate
HALF_WIDTH = 0.3  # of the transition, of twice the rate
REACH = 3  # samples of the rate on each side
LEAST, LARGEST = 0.01, 50.0  # of alpha and beta


def kaiser_sinc() -> Tensor:
    """Low-pass of 12 taps `[12]`, sum 1: a sinc under a Kaiser window (attenuation and beta by Kaiser 1974)."""
    attenuation_db = 2.285 * (TAPS - 2) * 2 * math.pi * HALF_WIDTH + 7.95
    beta = 0.1102 * (attenuation_db - 8.7) if attenuation_db > 50 else 0.5842 * (attenuation_db - 21) ** 0.4
    time = torch.arange(TAPS, dtype=torch.float64) - (TAPS - 1) / 2
    window = torch.kaiser_window(TAPS, periodic=False, beta=beta, dtype=torch.float64)
    taps = window * torch.sinc(2 * CUTOFF * time)
    return (taps / taps.sum()).float()


class SnakeBeta(nn.Module):
    """x + sin^2(alpha x) / beta, alpha and beta a channel, learned as logarithms (BigVGAN, section 3.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.zeros(channels))
        self.log_beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, copies: int = 1) -> Tensor:
        """`[B, C * copies, T]`; `copies` neighbouring channels share their numbers."""
        alpha, beta = (
            value.exp().clamp(LEAST, LARGEST).repeat_interleave(copies)[None, :, None]
            for value in (self.log_alpha, self.log_beta)
        )
        return x + (alpha * x).sin().square() / beta


class AliasFree(nn.Module):
    """`SnakeBeta` between a doubling and a halving of the rate: `[B, C, T] -> [B, C, T]`, no delay.

    The doubled signal is held as two channels, its even and its odd samples: both filters are depthwise convolutions then, and
    nothing is stuffed with zeros.
    """

    up: Tensor
    down: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.activation = SnakeBeta(channels)
        taps = kaiser_sinc()
        # sample 2n + p of the doubled signal hears x(n - 3 .. n + 3); each phase has 6 of the 12 taps
        up = torch.zeros(2, 2 * REACH + 1)
        up[0, :6], up[1, 1:] = taps[1::2].flip(0), taps[0::2].flip(0)
        down = up.flip(1)
        self.register_buffer("up", 2 * up[:, None], persistent=False)
        self.register_buffer("down", down[None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        x = functional.pad(x, (REACH, REACH), mode="replicate")
        x = functional.conv1d(x, self.up.repeat(channels, 1, 1), groups=channels)
        x = self.activation(x, copies=2)
        x = functional.pad(x, (REACH, REACH), mode="replicate")
        return functional.conv1d(x, self.down.repeat(channels, 1, 1), groups=channels)


class AliasFreeBlock(nn.Module):
    """For each dilation, added to what came in: convolution, alias-free activation, convolution. `[B, C, T] -> [B, C, T]`."""

    def __init__(self, channels: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                weight_norm(nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)),
                AliasFree(channels),
                weight_norm(nn.Conv1d(channels, channels, 3, padding=1)),
            )
            for dilation in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x
