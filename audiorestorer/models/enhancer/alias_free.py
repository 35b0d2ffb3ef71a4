"""Periodic activation at twice the rate, so that fewer of its harmonics fold back (Lee et al. 2023, "BigVGAN").

Measured for a tone of amplitude 0.5, level of the folded second harmonic to the tone; the activation alone gives -13 dB. 12 taps
cannot do more: the filter passes the tone's image, too, and the product of both lies where the folded harmonic does.

    tone, share of the rate     0.26    0.30    0.34    0.38    0.42
    12 taps (published)          -20     -23     -24     -21     -16 dB
    24 taps                      -21     -39     -60     -42     -26 dB
    48 taps                      -24     -78     -81     -68     -67 dB
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

CUTOFF = 0.25  # of twice the rate: the Nyquist frequency of the rate
TRANSITION = 3.6  # half-width of the transition times the taps: 12 taps need 0.3 of twice the rate
CHANNELS = 16
LEAST, LARGEST = 0.01, 50.0  # of alpha and beta


def kaiser_sinc(count: int) -> Tensor:
    """Low-pass of so many taps, sum 1: a sinc under a Kaiser window; attenuation and beta by Kaiser (1974): `[count]`."""
    attenuation_db = 2.285 * (count - 2) * 2 * math.pi * TRANSITION / count + 7.95
    beta = 0.1102 * (attenuation_db - 8.7)  # holds above 50 dB; 12 taps have 51
    time = torch.arange(count, dtype=torch.float64) - (count - 1) / 2
    shape = torch.special.i0(beta * (1 - (2 * time / (count - 1)).square()).clamp_min(0).sqrt())
    taps = shape * torch.sinc(2 * CUTOFF * time)
    return (taps / taps.sum()).float()


def phases(filtered: Tensor) -> Tensor:
    """A filter's taps `[count]` as two, `[2, count / 2 + 1]`: sample 2n + p of the doubled signal hears x(n - reach .. n + reach), and
    each phase p has every other tap."""
    half = len(filtered) // 2
    out = torch.zeros(2, half + 1)
    out[0, :-1], out[1, 1:] = filtered[1::2].flip(0), filtered[0::2].flip(0)
    return out


class SnakeBeta(nn.Module):
    """x + sin^2(alpha x) / beta, one alpha and beta per channel, learned as logarithms (BigVGAN, section 3.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.zeros(channels))
        self.log_beta = nn.Parameter(torch.zeros(channels))

    def numbers(self) -> tuple[Tensor, Tensor]:
        """alpha and beta, `[C, 1]` each."""
        alpha, beta = (value.exp().clamp(LEAST, LARGEST)[:, None] for value in (self.log_alpha, self.log_beta))
        return alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T]`."""
        return _snake(x, *self.numbers())


def _snake(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.addcdiv(x, (alpha * x).sin().square(), beta)


class AliasFree(nn.Module):
    """`SnakeBeta` between a doubling and a halving of the rate: `[B, C, T] -> [B, C, T]`, no delay.

    The doubled signal is held as two, its even and its odd samples: both filters are depthwise convolutions then, and nothing is
    stuffed with zeros.
    """

    up: Tensor
    down: Tensor

    def __init__(self, channels: int, taps: int = 12) -> None:
        """`taps`: taps of the filters at twice the rate; a multiple of 4, 12 or more."""
        super().__init__()
        self.activation = SnakeBeta(channels)
        self.reach = taps // 4
        filtered = phases(kaiser_sinc(taps))
        self.register_buffer("up", 2 * filtered, persistent=False)
        self.register_buffer("down", filtered.flip(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        alpha, beta = self.activation.numbers()
        if torch.is_grad_enabled() or x.device.type != "cpu":
            return self._channels(x, alpha, beta)
        # few channels at a time stay in the cache: a third of the time on a CPU
        parts = zip(*(value.split(CHANNELS, dim) for value, dim in ((x, 1), (alpha, 0), (beta, 0))), strict=True)
        return torch.cat([self._channels(*part) for part in parts], dim=1)

    def _channels(self, x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        channels = x.shape[1]
        x = functional.pad(x, (self.reach, self.reach), mode="replicate")
        out = []
        doubled = [
            _snake(functional.conv1d(x, up.expand(channels, 1, -1), groups=channels), alpha, beta) for up in self.up
        ]
        for y, down in zip(self.padded(doubled), self.down, strict=True):
            out.append(functional.conv1d(y, down.expand(channels, 1, -1), groups=channels))
        return out[0] + out[1]

    def padded(self, doubled: list[Tensor]) -> list[Tensor]:
        """The even and the odd samples of the doubled signal, each with its ends repeated by the filter's reach."""
        return [functional.pad(y, (self.reach, self.reach), mode="replicate") for y in doubled]


class AliasFreeBlock(nn.Module):
    """For each dilation, a residual path of convolution, alias-free activation, convolution. `[B, C, T] -> [B, C, T]`."""

    activation: type[AliasFree] = AliasFree

    def __init__(self, channels: int, dilations: tuple[int, ...], taps: int = 12) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                weight_norm(nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)),
                self.activation(channels, taps),
                weight_norm(nn.Conv1d(channels, channels, 3, padding=1)),
            )
            for dilation in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x
