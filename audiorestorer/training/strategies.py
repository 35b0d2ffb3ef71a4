"""The losses of the strategies, which `MaskModule` adds to its supervised loss where real recordings are used."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audiorestorer.losses.consistency import consistency
from audiorestorer.losses.contrastive import contrastive
from audiorestorer.losses.remix import remix, remixed
from audiorestorer.losses.waveform import weighted
from audiorestorer.models.mask_unet import MaskUNet
from audiorestorer.training.settings import TrainSettings
from audiorestorer.training.steps import follow


@dataclass(frozen=True)
class Batch:
    """`mixture`, `target`, `estimate` `[B, 1, T]` at a mixture of RMS 1; `real` `[B]` bool: those without a target."""

    mixture: Tensor
    target: Tensor
    estimate: Tensor
    real: Tensor

    def rows(self, real: bool) -> tuple[Tensor, Tensor, Tensor]:
        """(mixture, target, estimate) of the real or of the synthetic examples."""
        rows = self.real if real else ~self.real
        return self.mixture[rows], self.target[rows], self.estimate[rows]


class Strategies(nn.Module):
    """Losses over a network, with what they need to learn or to remember: a head for embeddings, a teacher. Both are in checkpoints.

    Args:
        network: that is trained; its bottleneck is looked at, nothing in it changes.
    """

    def __init__(self, settings: TrainSettings, network: MaskUNet) -> None:
        super().__init__()
        self.settings, self.options = settings, settings.strategies
        pseudo = self.options.pseudo_label
        self.first_epoch = math.ceil(pseudo.start * settings.epochs)
        self.teacher = copy.deepcopy(network).requires_grad_(False).eval() if pseudo.enabled else None
        self.head: nn.Module | None = None
        self._bottom: Tensor | None = None
        if self.options.contrastive.enabled:
            width = 2 * settings.network.rnn_hidden
            self.head = nn.Sequential(
                nn.Linear(width, width), nn.SiLU(), nn.Linear(width, self.options.contrastive.size)
            )
            network.bottleneck.register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, __: Any, bottom: Tensor) -> None:
        self._bottom = bottom

    def begin_epoch(self, epoch: int, average: MaskUNet) -> None:
        """The teacher at its first epoch: a copy of the average; at each later one it moves towards it (an EMA)."""
        if self.teacher is None or epoch < self.first_epoch:
            return
        follow(self.teacher, average, 0.0 if epoch == self.first_epoch else self.options.pseudo_label.decay)

    def loss(self, network: MaskUNet, batch: Batch, step: int, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of all that is enabled, and each part unweighted; NaN for a part that this batch has no example of.

        To be called right after `network` made `batch.estimate`: the embeddings are of that pass.
        """
        options, bottom = self.options, self._bottom
        total, parts = self._synthetic(network, batch)
        missing = torch.full_like(total.detach(), torch.nan)
        terms: dict[str, tuple[float, Tensor | None]] = {}
        if options.mixed.enabled:
            terms["consistency"] = (options.mixed.consistency, self._consistency(batch))
        if self.head is not None and bottom is not None:
            with torch.autocast(bottom.device.type, enabled=False):
                embeddings = self.head(bottom.float().mean(dim=1))
                pairs = contrastive(embeddings, batch.real, options.contrastive.temperature)
            terms["contrastive"] = (options.contrastive.weight, pairs)
        if self.teacher is not None:
            terms["pseudo_label"] = (options.pseudo_label.weight, self._pseudo_label(network, batch, step, epoch))
        for name, (weight, value) in terms.items():
            total = total if value is None else total + weight * value
            parts[name] = missing if value is None else value
        self._bottom = None  # it would hold the last pass's graph
        return total, parts

    def _synthetic(self, network: MaskUNet, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Supervised loss and cycle: what a restored recording and its artefacts sum to must be restored as well."""
        mixed, losses, rate = self.options.mixed, self.settings.losses, self.settings.network.sample_rate
        mixture, target, estimate = batch.rows(real=False)
        nothing = batch.estimate.sum() * 0
        cycles = mixed.enabled and mixed.cycle > 0
        if not len(mixture):
            names = [*losses, "supervised", *(["cycle"] if cycles else [])]
            return nothing, {name: torch.full_like(nothing.detach(), torch.nan) for name in names}
        with torch.autocast(mixture.device.type, enabled=False):
            supervised, parts = weighted(losses, estimate, target, rate)
        total = supervised * (mixed.supervised if mixed.enabled else 1.0)
        parts["supervised"] = supervised
        if cycles:
            with torch.autocast(mixture.device.type, enabled=False):
                again = estimate + (mixture - target)
            restored = network(again).float()
            with torch.autocast(mixture.device.type, enabled=False):
                parts["cycle"], _ = weighted(losses, restored, target, rate)
            total = total + mixed.cycle * parts["cycle"]
        return total, parts

    def _consistency(self, batch: Batch) -> Tensor | None:
        mixture, _, estimate = batch.rows(real=True)
        if not len(mixture):
            return None
        with torch.autocast(mixture.device.type, enabled=False):
            return consistency(estimate, mixture)

    def _pseudo_label(self, network: MaskUNet, batch: Batch, step: int, epoch: int) -> Tensor | None:
        """The teacher's speech with another recording's noise (which one, the step says), for the student to split."""
        mixture, _, _ = batch.rows(real=True)
        if self.teacher is None or not len(mixture) or epoch < self.first_epoch:
            return None
        with torch.no_grad():
            speech = self.teacher(mixture).float()
            mixed, noise = remixed(speech, mixture - speech, 1 + step % max(1, len(mixture) - 1))
        estimate = network(mixed).float()
        with torch.autocast(mixture.device.type, enabled=False):
            return remix(estimate, mixed, speech, noise)
