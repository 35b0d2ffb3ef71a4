"""Conditional flow matching in the autoencoder's code (Lipman et al. 2023; Tong et al. 2023, straight paths of width 1e-4).

From psi_0 (noise mixed with the code of what was heard) to psi_1 (the code of clean speech) along psi_t = t psi_1 + (1 - t) psi_0;
a network learns the velocity psi_1 - psi_0, a solver follows it. Codes are scaled by `z_scale` here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.enhancer import noise, solvers
from audiorestorer.models.enhancer.settings import FlowSettings

PATH_WIDTH = 1e-4  # standard deviation around the path in training
TIME_DECADES = 4.0  # the embedding's angular frequencies run from 1 to 10^4
LEAST_VARIANCE = 1e-5
MOMENTUM = 0.01


class ConditionNorm(nn.Module):
    """Each mel band to mean 0 and variance 1 by running statistics, which training learns.

    An instance norm, which this replaces, makes the output depend on where a recording is cut.
    """

    def __init__(self, n_mels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(n_mels, eps=LEAST_VARIANCE, momentum=MOMENTUM, affine=False)

    def forward(self, mel: Tensor) -> Tensor:
        out: Tensor = self.norm(mel)
        return out


def time_embedding(time: Tensor, frequencies: int) -> Tensor:
    """Sine and cosine of t 10^p, p even in [0, 4]: `[B] -> [B, 2 * frequencies]`."""
    powers = torch.linspace(0, TIME_DECADES, frequencies, dtype=torch.float32, device=time.device)
    angle = time.float()[:, None] * 10**powers
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class _Layer(nn.Module):
    """Dilated convolution with a gate (van den Oord et al. 2016, eq. 2); gives the residual path and the skip path."""

    def __init__(self, settings: FlowSettings, n_mels: int, dilation: int) -> None:
        super().__init__()
        hidden, pad = settings.hidden, dilation * (settings.kernel // 2)
        self.dilated = nn.Conv1d(hidden, 2 * hidden, settings.kernel, padding=pad, dilation=dilation)
        self.local = nn.Conv1d(n_mels, 2 * hidden, 1)
        self.time = nn.Linear(2 * settings.frequencies, hidden)
        self.out = nn.Conv1d(hidden, 2 * hidden, 1)

    def forward(self, x: Tensor, condition: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """`condition`: output of `local` for the mels, `[B, 2 * hidden, N]`; it is the same at every time."""
        both = self.dilated(x + self.time(time)[:, :, None]) + condition
        value, gate = both.chunk(2, dim=1)
        residual, skip = self.out(value.tanh() * gate.sigmoid()).chunk(2, dim=1)
        return (x + residual) / math.sqrt(2), skip


class VectorField(nn.Module):
    """Velocity `[B, latent, N]` of a code at a time, given mels."""

    activation = staticmethod(functional.gelu)  # before the last convolution

    def __init__(self, latent: int, n_mels: int, settings: FlowSettings) -> None:
        super().__init__()
        self.settings = settings
        self.norm = ConditionNorm(n_mels)
        self.entry = nn.Conv1d(latent, settings.hidden, 1)
        self.layers = nn.ModuleList(
            _Layer(settings, n_mels, 2 ** (number % settings.cycle)) for number in range(settings.layers)
        )
        self.exit = nn.Conv1d(settings.hidden, latent, 1)

    def condition(self, mel: Tensor) -> list[Tensor]:
        """The addend of each layer for mel values `[B, M, N]`: computed once per window, not once per evaluation."""
        normed = self.norm(mel.float()).to(self.entry.weight.dtype)
        return [layer.local(normed) for layer in self.layers]  # type: ignore[operator]

    def forward(self, x: Tensor, time: Tensor, condition: list[Tensor]) -> Tensor:
        """Args: `x` `[B, latent, N]`; `time` `[B]`, warped; `condition` from the method of that name."""
        kind = self.entry.weight.dtype
        embedded = time_embedding(time, self.settings.frequencies).to(kind)
        x = self.entry(x.to(kind))
        total = torch.zeros_like(x)
        for layer, local in zip(self.layers, condition, strict=True):
            x, skip = layer(x, local, embedded)
            total = total + skip
        out: Tensor = self.exit(self.activation(total / math.sqrt(len(self.layers)))).float()
        return out


class Flow(nn.Module):
    """The flow: `loss` trains it, `sample` follows it."""

    def __init__(self, latent: int, n_mels: int, settings: FlowSettings | None = None) -> None:
        super().__init__()
        self.latent = latent
        self.field = VectorField(latent, n_mels, settings or FlowSettings())

    def loss(
        self, target: Tensor, heard: Tensor, mel: Tensor, tau: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """L1 between the field and the path's velocity, at one random time per item (uniform in t before the warp).

        Args:
            target: code of clean speech, `[B, latent, N]`, scaled.
            heard: code of the degraded speech, the same.
            mel: condition `[B, M, N]`, normalised mel values.
            tau: `[B]`, share of noise in psi_0; the paper draws it from U(0, 1).
            generator: source of the noise and the times, on the CPU; None: the global one.
        """
        start = self.mixed(heard, torch.randn(target.shape, generator=generator).to(target), tau)
        time = solvers.warp(torch.rand(len(target), generator=generator)).to(target)
        share = time[:, None, None]
        x = share * target + (1 - share) * start
        x = x + PATH_WIDTH * torch.randn(target.shape, generator=generator).to(target)
        return (self.field(x, time, self.field.condition(mel)) - (target - start)).abs().mean()

    @staticmethod
    def mixed(heard: Tensor, drawn: Tensor, tau: Tensor) -> Tensor:
        """psi_0 = tau N(0, 1) + (1 - tau) code of what was heard; `tau` `[B]`."""
        share = tau.to(heard)[:, None, None]
        return share * drawn + (1 - share) * heard

    def sample(
        self,
        heard: Tensor,
        mel: Tensor,
        *,
        seeds: Sequence[int],
        nfe: int = 64,
        solver: str = "midpoint",
        tau: float = 0.5,
        starts: Sequence[int] | None = None,
    ) -> Tensor:
        """Code of the restored speech: `[B, latent, N]`, scaled.

        Args:
            heard: code of the degraded speech, `[B, latent, N]`, scaled.
            mel: condition, `[B, M, N]`.
            seeds: one per item.
            nfe: evaluations of the field; midpoint takes nfe // 2 steps, rk4 nfe // 4.
            starts: see `noise.seeded`.

        Raises:
            AudioRestorerError: no such solver, too few evaluations, tau outside [0, 1], or not one seed per item.
        """
        if not 0 <= tau <= 1:
            raise AudioRestorerError(f"tau {tau}: must lie in [0, 1]")
        if len(seeds) != len(heard):
            raise AudioRestorerError(f"{len(seeds)} seeds for {len(heard)} items")
        times = solvers.grid(nfe, solver)
        drawn = noise.seeded(seeds, self.latent, heard.shape[2], heard, starts)
        start = self.mixed(heard, drawn, torch.full((len(heard),), tau))
        condition = self.field.condition(mel)
        return solvers.solve(lambda time, x: self.field(x, time.expand(len(x)), condition), start, times, solver)
