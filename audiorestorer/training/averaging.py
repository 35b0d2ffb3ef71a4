"""What the trainings share whose model is a moving average of its weights, and of which each epoch has examples of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from audiorestorer.training.steps import clip_gradients, follow


class AveragedModule(lightning.LightningModule):
    """Trains `network`; `average` is the moving average of its weights and statistics, which is what is saved.

    `settings`: the run's; they have `clip_norm` and `ema_decay`.
    """

    def __init__(self, settings: Any, network: nn.Module) -> None:
        super().__init__()
        self.settings = settings
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False).eval()

    def begin_with(self, network: nn.Module) -> None:
        """Take the weights of another network of this shape, before the first step."""
        for own in (self.network, self.average):
            own.load_state_dict(network.state_dict())

    def trained(self) -> list[nn.Parameter]:
        """The parameters that the optimiser moves."""
        return list(self.network.parameters())

    def told(self, loss: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        """The loss of a step; it and its parts are logged."""
        self.log("loss", loss.detach(), prog_bar=True)
        self.log_dict({name: part.detach() for name, part in parts.items()})
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """A gradient that is not finite counts as 0."""
        if not clip_gradients(self.trained(), self.settings.clip_norm):
            optimizer.zero_grad(set_to_none=False)

    def on_train_batch_end(self, *_: Any) -> None:
        """Update the moving average (faster at the start)."""
        step = self.global_step
        follow(self.average, self.network, min(self.settings.ema_decay, (1 + step) / (10 + step)))


class EpochData(lightning.LightningDataModule):
    """Epoch e takes the examples of epoch e, in order: a resumed run sees what the uninterrupted one would have.

    `examples`: a data set with an attribute `epoch`. `settings`: the run's.
    """

    def __init__(self, examples: Any, settings: Any) -> None:
        super().__init__()
        self.examples, self.settings = examples, settings

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        self.examples.epoch = self.trainer.current_epoch
        size, workers = self.settings.batch_size, self.settings.workers
        return DataLoader(self.examples, size, shuffle=False, num_workers=workers, drop_last=True)
