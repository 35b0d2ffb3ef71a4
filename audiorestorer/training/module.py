"""The Lightning side of training a mask network: module, data, and the checkpoint callback."""

from __future__ import annotations

import copy
import math
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from audiorestorer.datasets.mixtures import Mixer, MixtureDataset
from audiorestorer.losses.waveform import check_names, weighted
from audiorestorer.models.mask_unet import MaskUNet, MaskUNetConfig
from audiorestorer.training.settings import TrainSettings


class MaskModule(lightning.LightningModule):
    """Trains `network`; `average` is the moving average of its weights and statistics, which is what is saved."""

    def __init__(self, settings: TrainSettings) -> None:
        super().__init__()
        check_names(settings.losses)
        self.settings = settings
        self.network = MaskUNet(MaskUNetConfig(**settings.network.model_dump()))
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Loss of (mixture, target) `[B, 1, T]`, both divided by the mixture's RMS."""
        mixture, target = batch
        rms = mixture.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-6)
        with torch.autocast(mixture.device.type, enabled=False):
            mixture, target = mixture / rms, target / rms
        estimate = self.network(mixture).float()
        with torch.autocast(mixture.device.type, enabled=False):
            loss, parts = weighted(estimate, target, self.settings.losses)
        self.log("loss", loss.detach(), prog_bar=True)
        self.log_dict({name: part.detach() for name, part in parts.items()})
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """A step whose gradient is not finite moves nothing."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        if not all(bool(gradient.isfinite().all()) for gradient in gradients):
            for gradient in gradients:
                gradient.zero_()

    def on_train_batch_end(self, *_: Any) -> None:
        """Update the moving average (faster at the start)."""
        step = self.global_step
        decay = min(self.settings.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, now in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                if kept.is_floating_point():
                    kept.lerp_(now, 1 - decay)
                else:
                    kept.copy_(now)

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and a cosine to 1 % of the peak."""
        settings = self.settings
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.98)
        )

        def factor(step: int) -> float:
            if step < settings.warmup_steps:
                return (step + 1) / settings.warmup_steps
            share = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class MixtureData(lightning.LightningDataModule):
    """Epoch e is the mixer's epoch e, in order: a resumed run sees what the uninterrupted one would have."""

    def __init__(self, mixer: Mixer, settings: TrainSettings) -> None:
        super().__init__()
        self.mixer, self.settings = mixer, settings

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        settings = self.settings
        size = settings.steps_per_epoch * settings.batch_size * settings.devices
        dataset = MixtureDataset(self.mixer, self.trainer.current_epoch, size, settings.overfit_items)
        return DataLoader(dataset, settings.batch_size, shuffle=False, num_workers=settings.workers, drop_last=True)
