"""The Lightning side of training a mask network: module and data."""

from __future__ import annotations

import copy
import math
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from audiorestorer.datasets.mixtures import Mixer, MixtureDataset
from audiorestorer.datasets.real import RealRecordings
from audiorestorer.datasets.restoration import (
    AdaptiveArtifactDataset,
    Analyse,
    DegradationMixer,
    FollowRecordings,
    MixedRestorationDataset,
    set_epoch,
)
from audiorestorer.errors import AudioRestorerError
from audiorestorer.losses.waveform import check_names, weighted
from audiorestorer.models.mask_unet import MaskUNet, MaskUNetConfig
from audiorestorer.training.curriculum import CurriculumScheduler
from audiorestorer.training.settings import TrainSettings
from audiorestorer.training.strategies import Batch, Strategies


class MaskModule(lightning.LightningModule):
    """Trains `network`; `average` is the moving average of its weights and statistics, which is what is saved.

    `strategies` are the losses on real recordings, None where there are no such examples.
    """

    def __init__(self, settings: TrainSettings) -> None:
        super().__init__()
        check_names(settings.losses)
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
            made = Batch(mixture, target, estimate, real[0])
            loss, parts = self.strategies.loss(self.network, made, self.global_step, self.current_epoch)
        else:
            with torch.autocast(mixture.device.type, enabled=False):
                loss, parts = weighted(estimate, target, self.settings.losses, self.settings.network.sample_rate)
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
        """A step whose gradient is not finite moves nothing."""
        gradients = [p.grad for p in self.trained() if p.grad is not None]
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
            self.trained(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.98)
        )

        def factor(step: int) -> float:
            if step < settings.warmup_steps:
                return (step + 1) / settings.warmup_steps
            length = settings.schedule_steps or settings.steps
            share = (step - settings.warmup_steps) / max(1, length - settings.warmup_steps)
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class MixtureData(lightning.LightningDataModule):
    """Epoch e is the mixer's epoch e, in order: a resumed run sees what the uninterrupted one would have."""

    def __init__(self, dataset: MixtureDataset | MixedRestorationDataset, settings: TrainSettings) -> None:
        super().__init__()
        self.dataset, self.settings = dataset, settings

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        set_epoch(self.dataset, self.trainer.current_epoch)
        settings, trainer = self.settings, self.trainer
        sampler: DistributedSampler[Any] | None = None
        if trainer.world_size > 1:  # Lightning's own would shuffle
            sampler = DistributedSampler(self.dataset, trainer.world_size, trainer.global_rank, shuffle=False)
        return DataLoader(
            self.dataset,
            settings.batch_size,
            shuffle=False,
            sampler=sampler,
            num_workers=settings.workers,
            drop_last=True,
        )


def dataset_of(
    settings: TrainSettings, mixer: Mixer, real: RealRecordings | None, analyse: Analyse | None = None
) -> MixtureDataset | MixedRestorationDataset:
    """An epoch's examples, as the strategies want them.

    Raises:
        AudioRestorerError: a strategy needs real recordings and there are none.
    """
    chosen = settings.strategies
    batch = settings.batch_size * settings.devices
    size = settings.steps_per_epoch * batch
    if real is None and (chosen.adaptive.enabled or chosen.uses_real):
        raise AudioRestorerError("strategies: they need real recordings: set real.folder, or give --real")
    dataset = MixtureDataset(mixer, 0, size, settings.overfit_items)
    if chosen.adaptive.enabled:
        assert real is not None and isinstance(mixer, DegradationMixer)
        follow, how = analyse or FollowRecordings(mixer.degradations), chosen.adaptive
        dataset = AdaptiveArtifactDataset(
            mixer, real, follow, size, how.every_epochs, how.recordings, how.share, settings.overfit_items
        )
    if not chosen.uses_real:
        return dataset
    assert real is not None
    change = chosen.curriculum
    first, last = (change.start, change.end) if change.enabled else (chosen.synthetic_ratio,) * 2
    ratio = CurriculumScheduler(first, last, settings.steps, change.shape)
    return MixedRestorationDataset(dataset, real, ratio, batch, settings.seed)
