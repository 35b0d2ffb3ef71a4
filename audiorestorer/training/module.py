"""The Lightning side of training a mask network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audiorestorer.losses.waveform import weighted
from audiorestorer.models.mask_config import MaskUNetConfig
from audiorestorer.models.mask_unet import MaskUNet
from audiorestorer.training.averaging import AveragedModule
from audiorestorer.training.settings import TrainSettings
from audiorestorer.training.steps import adamw_with_cosine
from audiorestorer.training.strategies import Batch, Strategies


class MaskModule(AveragedModule):
    """Trains a mask network.

    `strategies` are the losses on real recordings, None where there are no such examples.
    """

    network: MaskUNet
    average: MaskUNet

    def __init__(self, settings: TrainSettings) -> None:
        super().__init__(settings, MaskUNet(MaskUNetConfig(**settings.network.model_dump())))
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
        return self.told(loss, parts)

    def trained(self) -> list[torch.nn.Parameter]:
        """The parameters that the optimiser moves."""
        head = self.strategies.head if self.strategies is not None else None
        return [*super().trained(), *(head.parameters() if head is not None else ())]

    def on_train_epoch_start(self) -> None:
        """The teacher moves at the start of an epoch: checkpoints are written at its end, before Lightning asks the module."""
        if self.strategies is not None:
            self.strategies.begin_epoch(self.current_epoch, self.average)

    def configure_optimizers(self) -> Any:
        settings = self.settings
        return adamw_with_cosine(settings, self.trained(), settings.weight_decay, settings.schedule_steps)
