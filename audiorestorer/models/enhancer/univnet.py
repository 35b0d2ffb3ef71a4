"""Vocoder: UnivNet (Jang et al. 2021), noise shaped by kernels that are predicted from each frame, with alias-free blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from audiorestorer.models.enhancer import noise
from audiorestorer.models.enhancer.alias_free import AliasFreeBlock
from audiorestorer.models.enhancer.lvc import linear, lvc_made
from audiorestorer.models.enhancer.settings import VocoderSettings

SLOPE = 0.2  # of the leaky activations
PREDICTOR_SLOPE = 0.1
PREDICTOR_TAPS = 3  # frames that a kernel is predicted from after the predictor's residual layers
RESIDUALS = 3


class KernelPredictor(nn.Module):
    """Kernels of a stage's location-variable convolutions, from the condition's frames.

    The last convolution makes layers x O x C x K numbers per frame, in this order: one layer's kernels of one frame lie together.
    """

    def __init__(self, condition: int, settings: VocoderSettings, slope: float = PREDICTOR_SLOPE) -> None:
        super().__init__()
        hidden, channels = settings.predictor_hidden, settings.channels
        self.slope = slope
        self.shape = (2 * channels, channels, settings.kernel)
        self.numbers = math.prod(self.shape)
        layers = len(settings.dilations)
        self.entry = weight_norm(nn.Conv1d(condition, hidden, 5, padding=2))
        self.residuals = nn.ModuleList(
            nn.Sequential(
                weight_norm(nn.Conv1d(hidden, hidden, 3, padding=1)),
                nn.LeakyReLU(slope),
                weight_norm(nn.Conv1d(hidden, hidden, 3, padding=1)),
                nn.LeakyReLU(slope),
            )
            for _ in range(RESIDUALS)
        )
        self.kernels = weight_norm(nn.Conv1d(hidden, layers * self.numbers, PREDICTOR_TAPS))
        self.bias = weight_norm(nn.Conv1d(hidden, layers * 2 * channels, PREDICTOR_TAPS))

    def forward(self, condition: Tensor) -> Tensor:
        """Features that kernels are made of: `[B, condition, N] -> [B, N, hidden * 3]`, each frame with its neighbours."""
        x = functional.leaky_relu(self.entry(condition), self.slope)
        for residual in self.residuals:
            x = x + residual(x)
        around = functional.pad(x, (1, 1)).unfold(2, PREDICTOR_TAPS, 1)
        return around.permute(0, 2, 1, 3).flatten(2)


class Stage(nn.Module):
    """Upsampling, location-variable convolutions with gates (UnivNet, figure 1), and an alias-free block."""

    slope = PREDICTOR_SLOPE
    block_kind: type[AliasFreeBlock] = AliasFreeBlock

    def __init__(self, condition: int, stride: int, settings: VocoderSettings) -> None:
        super().__init__()
        channels = settings.channels
        self.predictor = KernelPredictor(condition, settings, self.slope)
        odd = stride % 2
        self.up = weight_norm(
            nn.ConvTranspose1d(channels, channels, 2 * stride, stride, padding=stride // 2 + odd, output_padding=odd)
        )
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation))
            for dilation in settings.dilations
        )
        self.block = self.block_kind(channels, settings.alias_free, settings.alias_free_taps)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        out: Tensor = self.block(self.convolved(self.upsampled(x), condition))
        return out

    def upsampled(self, x: Tensor) -> Tensor:
        out: Tensor = self.up(functional.leaky_relu(x, SLOPE))
        return out

    def convolved(self, x: Tensor, condition: Tensor) -> Tensor:
        """Through the location-variable convolutions."""
        frames = self.predictor(condition)
        # weight norm computes a weight at each access
        weights, biases = self.predictor.kernels, self.predictor.bias
        tables = (weights.weight.flatten(1), weights.bias, biases.weight.flatten(1), biases.bias)
        for number, conv in enumerate(self.convs):
            y = functional.leaky_relu(conv(functional.leaky_relu(x, SLOPE)), SLOPE, inplace=True)
            x = x + self._variable(y, frames, number, tables)
        return x

    def _variable(self, x: Tensor, frames: Tensor, number: int, tables: tuple[Tensor, ...]) -> Tensor:
        """Location-variable convolution and gate of one layer: `[B, C, T] -> [B, C, T]`. Its kernels are made as they are used."""
        predictor = self.predictor
        size, outputs = predictor.numbers, predictor.shape[0]
        kernels, kernel_bias = (table[number * size : (number + 1) * size] for table in tables[:2])
        biases, bias_bias = (table[number * outputs : (number + 1) * outputs] for table in tables[2:])

        def make(item: int, begin: int, end: int) -> tuple[Tensor, Tensor]:
            inputs = frames[item, begin:end]
            weights = linear(inputs, kernels, kernel_bias).view(-1, *predictor.shape)
            return weights, functional.linear(inputs, biases, bias_bias)

        return lvc_made(x, frames.shape[1], size, predictor.shape[2], make, finish=_gated)


def _gated(x: Tensor) -> Tensor:
    """`[n, 2 C, hop] -> [n, C, hop]`."""
    gate, value = x.chunk(2, dim=1)
    return gate.sigmoid() * value.tanh()


class UnivNet(nn.Module):
    """Condition `[B, condition, N]` to audio `[B, N * hop]` in [-1, 1]."""

    stage_kind: type[Stage] = Stage
    padding_mode: Literal["zeros", "reflect"] = "zeros"  # of the first and the last convolution

    def __init__(self, condition: int, settings: VocoderSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or VocoderSettings()
        self.entry = weight_norm(
            nn.Conv1d(settings.noise, settings.channels, 7, padding=3, padding_mode=self.padding_mode)
        )
        self.stages = nn.ModuleList(self.stage_kind(condition, stride, settings) for stride in settings.strides)
        self.exit = weight_norm(nn.Conv1d(settings.channels, 1, 7, padding=3, padding_mode=self.padding_mode))

    @property
    def hop_length(self) -> int:
        return math.prod(self.settings.strides)

    def forward(self, condition: Tensor, drawn: Tensor) -> Tensor:
        """Audio of a condition; `drawn`: Gaussian noise `[B, noise, N]`."""
        x = self.entry(drawn)
        for stage in self.stages:
            x = stage(x, condition)
        out: Tensor = self.exit(functional.leaky_relu(x, SLOPE))
        return out[:, 0].float().tanh()

    def synthesise(self, condition: Tensor, seeds: Sequence[int], starts: Sequence[int] | None = None) -> Tensor:
        """`forward` with noise by one seed per item; the ends are repeated by `pad_frames` on both sides and cut off again.

        `starts`: see `noise.seeded`.
        """
        pad = self.settings.pad_frames
        padded = functional.pad(condition, (pad, pad), mode="replicate") if pad else condition
        firsts = [first - pad for first in starts or [0] * len(seeds)]
        drawn = noise.seeded(seeds, self.settings.noise, padded.shape[2], padded, firsts)
        audio = self(padded, drawn)
        return audio[:, pad * self.hop_length : audio.shape[1] - pad * self.hop_length]


def fold_weight_norm(module: nn.Module) -> nn.Module:
    """Replace normed weights by plain ones, in place: the same function, for inference."""
    for part in module.modules():
        if parametrize.is_parametrized(part, "weight"):
            with torch.no_grad():
                parametrize.remove_parametrizations(part, "weight")
    return module
