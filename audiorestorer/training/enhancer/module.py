"""The Lightning side of the enhancer's trainings: what the three have in common, and the denoiser's.

All noise depends on (seed, step): a resumed run goes on as the uninterrupted one would have.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from audiorestorer.datasets.enhancement.distortions import Mono
from audiorestorer.datasets.enhancement.mixing import VALIDATION_EPOCH, EnhancementDataset
from audiorestorer.models.enhancer.denoiser import rms
from audiorestorer.models.enhancer.enhancer import REFERENCE_RMS, Enhancer
from audiorestorer.training.enhancer.settings import EnhancerTrainSettings, Stage2Settings
from audiorestorer.training.steps import clip_gradients

Batch = tuple[Tensor, Tensor, Tensor]  # mixture, distorted and clean speech, `[B, T]` each, at one scale


class StepRandom:
    """Random numbers of one step."""

    def __init__(self, seed: int, step: int, epoch: int = 0) -> None:
        self.rng = np.random.default_rng((seed, epoch, step))
        self.torch = torch.Generator().manual_seed(int(self.rng.integers(2**63)))

    def normal(self, like: Tensor, *shape: int) -> Tensor:
        """N(0, 1), in the type and on the device of `like`."""
        return torch.randn(shape, generator=self.torch).to(like)


def at_reference(batch: Batch) -> Batch:
    """The same with the mixture at the networks' level; what is silent stays."""
    mixture, distorted, clean = batch
    scale = REFERENCE_RMS / rms(mixture, silent=REFERENCE_RMS)
    return mixture * scale, distorted * scale, clean * scale


class EnhancerModule(lightning.LightningModule):
    """Trains `settings.parts` of `enhancer`; all else is frozen. A step whose gradient is not finite moves nothing, and is counted."""

    skipped: Tensor

    def __init__(self, settings: EnhancerTrainSettings, enhancer: Enhancer) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.settings = settings
        self.enhancer = enhancer.requires_grad_(False)
        # on a CPU a step takes a quarter less
        enhancer.denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for part in settings.parts:
            getattr(enhancer, part).requires_grad_(True)
        self.register_buffer("skipped", torch.zeros((), dtype=torch.int64))

    def losses(self, batch: Batch, random: StepRandom, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimise, and its parts by name."""
        raise NotImplementedError

    def samples(self, batch: Batch) -> dict[str, Tensor]:
        """Audio `[B, T]` to listen to, by name: what goes in, what comes out, what it should be."""
        raise NotImplementedError

    def finish(self, examples: Iterable[Batch]) -> None:
        """Do what is done once, when the training is complete."""

    def trained(self) -> list[nn.Parameter]:
        """The parameters that the first optimiser moves."""
        return [parameter for parameter in self.enhancer.parameters() if parameter.requires_grad]

    def step_of(self, batch_index: int) -> int:
        """Number of a batch in the whole run."""
        return int(self.current_epoch * self.settings.steps_per_epoch + batch_index)

    def on_train_epoch_start(self) -> None:
        self.train()  # a checkpoint's networks come as `eval`, and Lightning leaves that

    def training_step(self, batch: Batch, batch_index: int) -> None:
        step = self.step_of(batch_index)
        loss, parts = self.losses(batch, StepRandom(self.settings.seed, step), step)
        self.descend(0, loss, self.trained())
        self.log("loss", loss.detach(), prog_bar=True)
        self.log_dict({name: part.detach() for name, part in parts.items()})
        self.log("skipped", self.skipped.float())

    def on_train_batch_end(self, *_: Any) -> None:
        schedules = self.lr_schedulers()
        for schedule in schedules if isinstance(schedules, list) else [schedules]:
            schedule.step()  # type: ignore[union-attr]

    def descend(self, number: int, loss: Tensor, parameters: list[nn.Parameter]) -> None:
        """One step of an optimiser down a loss, where the gradient is finite."""
        optimisers = self.optimizers()
        optimiser = optimisers[number] if isinstance(optimisers, list) else optimisers
        optimiser.zero_grad()
        self.manual_backward(loss)
        if clip_gradients(parameters, self.settings.clip_norm):
            optimiser.step()
        else:
            self.skipped += 1

    @torch.no_grad()
    def held_out(self, batch: Batch, number: int) -> dict[str, float]:
        """Losses on a validation batch, with the same random numbers each time."""
        loss, parts = self.losses(batch, StepRandom(self.settings.seed, number, VALIDATION_EPOCH), self.settings.steps)
        return {name: float(value) for name, value in {"loss": loss, **parts}.items()}

    def configure_optimizers(self) -> Any:
        """Adam; the learning rate rises in a line, and falls in a line to 0."""
        optimisers = [torch.optim.Adam(group, lr=self.settings.learning_rate) for group in self.groups()]
        return optimisers, [torch.optim.lr_scheduler.LambdaLR(each, self.rate) for each in optimisers]

    def groups(self) -> list[list[nn.Parameter]]:
        """Parameters of each optimiser."""
        return [self.trained()]

    def rate(self, step: int) -> float:
        """Learning rate of a step, relative to the one in the settings."""
        settings = self.settings
        if step < settings.warmup_steps:
            first = settings.start_rate / settings.learning_rate
            return first + (1 - first) * step / settings.warmup_steps
        return max(0.0, (settings.steps - step) / max(1, settings.steps - settings.warmup_steps))


class DenoiserModule(EnhancerModule):
    """From the mixture to the distorted speech: L1 of the waveform, both at the level that brings the mixture to the reference."""

    def losses(self, batch: Batch, random: StepRandom, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        mixture, distorted, _ = at_reference(batch)
        return (self.enhancer.denoiser(mixture) - distorted).abs().mean(), {}

    def samples(self, batch: Batch) -> dict[str, Tensor]:
        mixture, distorted, _ = at_reference(batch)
        return {"mixture": mixture, "denoised": self.enhancer.denoiser(mixture), "distorted": distorted}


class KeptExamples(Dataset[tuple[Mono, Mono, Mono]]):
    """The first examples of epoch 0 again and again; each is made once."""

    def __init__(self, dataset: EnhancementDataset, count: int) -> None:
        self.dataset, self.count = dataset, count
        self._kept: dict[int, tuple[Mono, Mono, Mono]] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Mono, Mono, Mono]:
        number = index % self.count
        if number not in self._kept:
            self._kept[number] = self.dataset[number]
        return self._kept[number]


class EnhancementData(lightning.LightningDataModule):
    """Epoch e is the data set's epoch e, in order: a resumed run sees what the uninterrupted one would have."""

    def __init__(self, dataset: EnhancementDataset, settings: EnhancerTrainSettings) -> None:
        super().__init__()
        self.dataset, self.settings = dataset, settings
        fixed = settings.fixed_examples if isinstance(settings, Stage2Settings) else 0
        self.kept = KeptExamples(dataset, fixed) if fixed else None

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        size, workers = self.settings.batch_size, self.settings.workers
        if self.kept is not None:
            return DataLoader(self.kept, size, shuffle=False, num_workers=0)
        self.dataset.epoch = self.trainer.current_epoch
        return DataLoader(self.dataset, size, shuffle=False, num_workers=workers)
