"""Losses, audio and spectrograms of fixed validation examples, written after each epoch of an enhancer's training."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from matplotlib.image import imsave
from numpy.typing import NDArray
from torch import Tensor

from audiorestorer import audio
from audiorestorer.datasets.enhancement.mixing import EnhancementDataset
from audiorestorer.files import write_bytes_atomic, write_csv
from audiorestorer.training.enhancer.module import Batch, EnhancerModule
from audiorestorer.training.enhancer.settings import EnhancerTrainSettings
from audiorestorer.training.running import batches_done, due, epoch_name, rows_before


def batches(dataset: EnhancementDataset, count: int, size: int, device: torch.device) -> Iterator[Batch]:
    """The first so many examples."""
    for begin in range(0, count, size):
        rows = [dataset[index] for index in range(begin, min(count, begin + size))]
        mixture, distorted, clean = (torch.from_numpy(np.stack(part)).to(device) for part in zip(*rows, strict=True))
        yield mixture, distorted, clean


class HeldOutExamples(lightning.Callback):
    """`valid.csv`: a row per epoch, means over the examples. `samples/epXXX/itemNN_<what>.{wav,png}`, and the same for TensorBoard."""

    def __init__(self, logs: Path, dataset: EnhancementDataset, settings: EnhancerTrainSettings) -> None:
        self.logs, self.dataset, self.settings = logs, dataset, settings

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero or not isinstance(pl_module, EnhancerModule):
            return
        training = pl_module.training
        pl_module.eval()
        with torch.no_grad():
            self._measure(trainer, pl_module)
            if due(trainer, self.settings.samples.every_epochs):
                self._write(trainer, pl_module)
        pl_module.train(training)

    def _measure(self, trainer: lightning.Trainer, module: EnhancerModule) -> None:
        settings = self.settings
        totals: dict[str, list[float]] = {}
        for number, batch in enumerate(batches(self.dataset, settings.valid_items, settings.batch_size, module.device)):
            for name, value in module.held_out(batch, number).items():
                totals.setdefault(name, []).append(value * len(batch[0]))
        means = {name: sum(values) / settings.valid_items for name, values in totals.items()}
        for logger in trainer.loggers:
            logger.log_metrics({f"valid/{name}": value for name, value in means.items()}, batches_done(trainer))
        path, epoch = self.logs / "valid.csv", trainer.current_epoch + 1
        earlier = rows_before(path, epoch)
        row: dict[str, Any] = {"epoch": epoch, "step": batches_done(trainer)}
        row |= {name: f"{value:.6f}" for name, value in means.items()}
        names = list(dict.fromkeys(name for each in (*earlier, row) for name in each))
        write_csv(path, names, [*earlier, row])

    def _write(self, trainer: lightning.Trainer, module: EnhancerModule) -> None:
        folder, rate = self.logs / "samples" / epoch_name(trainer.current_epoch + 1), module.enhancer.sample_rate
        items = self.settings.samples.items
        for batch in batches(self.dataset, items, items, module.device):
            for name, signals in module.samples(batch).items():
                pictures = module.enhancer.mel(signals).clamp(0, 1)
                for number in range(len(signals)):
                    title = f"item{number:02d}_{name}"
                    signal, picture = signals[number].float().cpu(), pictures[number].cpu()
                    audio.write(folder / f"{title}.wav", signal[None].numpy(), rate)
                    write_bytes_atomic(folder / f"{title}.png", png(picture.numpy()))
                    self._log(trainer, title, signal, picture, rate)

    @staticmethod
    def _log(trainer: lightning.Trainer, title: str, signal: Tensor, picture: Tensor, rate: int) -> None:
        for logger in trainer.loggers:
            board: Any = getattr(logger, "experiment")  # noqa: B009 - unknown to the base class
            board.add_audio(title, signal.clamp(-1, 1), batches_done(trainer), sample_rate=rate)
            board.add_image(title, picture.flip(0)[None], batches_done(trainer))


def png(picture: NDArray[np.float32]) -> bytes:
    """Mel values `[M, N]`, 0 to 1, as a picture with the low frequencies below."""
    file = io.BytesIO()
    imsave(file, picture, vmin=0, vmax=1, cmap="magma", origin="lower", format="png")
    return file.getvalue()
