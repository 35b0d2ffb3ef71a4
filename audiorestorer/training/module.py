"""The Lightning side of training a mask network."""

from __future__ import annotations

import copy
from typing import Any

import lightning
import torch
from torch import Tensor

from audiorestorer.losses.waveform import weighted
from audiorestorer.models.mask_config import MaskUNetConfig
from audiorestorer.models.mask_unet import MaskUNet
from audiorestorer.training.settings import TrainSettings
from audiorestorer.training.steps import adamw_with_cosine, clip_gradients, follow
from audiorestorer.training.strategies import Batch, Strategies


class MaskModule(lightning.LightningModule):
    """Trains `network`; `average` is the moving average of its weights and statistics, which is what is saved.

    `strategies` are the losses on real recordings, None where there are no such examples.
    """

    def __init__(self, settings: TrainSettings) -> None:
        super().__init__()
        self.settings = settings
        self.network = MaskUNet(MaskUNetConfig(**settings.network.model_dump()))
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.strategies = Strategies(settings, self.network) if settings.strategies.uses_real else None

    def training_step(self, batch: tuple[Tensor, ...], _: int) -> Tensor:
        """Loss of (mixture, target) `[B, 1, T]`, both divided by the mixture's RMS; with strategies, real `[B]` stands beside them."""
        mixture, target, *real = batch
        rms = mixture.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-6)
        with torch.autocast(mixture.device.type, enabled=False):
            mixture, target = mixture / rms, target / rms
        estimate = self.network(mixture).float()
        if self.strategies is not None:
            examples = Batch(mixture, target, estimate, real[0])
            loss, parts = self.strategies.loss(self.network, examples, self.global_step, self.current_epoch)
        else:
            with torch.autocast(mixture.device.type, enabled=False):
                loss, parts = weighted(self.settings.losses, estimate, target, self.settings.network.sample_rate)
        self.log("loss", loss.detach(), prog_bar=True)
        self.log_dict({name: part.detach() for name, part in parts.items()})
        return loss

    def trained(self) -> list[torch.nn.Parameter]:
        """The parameters that the optimiser moves."""
        head = self.strategies.head if self.strategies is not None else None
        return [*self.network.parameters(), *(head.parameters() if head is not None else ())]

    def on_train_epoch_start(self) -> None:
        """The teacher moves at the start of an epoch: checkpoints are written at its end, before Lightning asks the module."""
        if self.strategies is not None:
            self.strategies.begin_epoch(self.current_epoch, self.average)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """A gradient that is not finite counts as 0."""
        if not clip_gradients(self.trained(), self.settings.clip_norm):
            optimizer.zero_grad(set_to_none=False)

    def on_train_batch_end(self, *_: Any) -> None:
        """Update the moving average (faster at the start)."""
        step = self.global_step
        follow(self.average, self.network, min(self.settings.ema_decay, (1 + step) / (10 + step)))

    def configure_optimizers(self) -> Any:
        settings = self.settings
        return adamw_with_cosine(settings, self.trained(), settings.weight_decay, settings.schedule_steps)
