"""The one skeleton of all trainings: trainer, a checkpoint after each epoch, a loss curve, a line of progress, card and record."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from audiorestorer.devices import claim
from audiorestorer.errors import KEPT, AudioRestorerError, MachineError
from audiorestorer.files import read_csv, write_json, write_text_atomic
from audiorestorer.models import torch_files
from audiorestorer.training import runs
from audiorestorer.training.run_settings import RunSettings

LOG = logging.getLogger(__name__)
ENDED = re.compile(r"DataLoader worker \(pid.*(killed by signal|exited unexpectedly)", re.DOTALL)
IN_WORKER = re.compile(r"Caught \w+ in DataLoader worker")


@dataclass(frozen=True)
class Parts:
    """The module that a run trains, the data it trains on, and the callbacks that watch."""

    module: lightning.LightningModule
    data: lightning.LightningDataModule
    callbacks: Sequence[lightning.Callback]


def run(
    settings: RunSettings,
    inputs: Mapping[str, Any],
    build: Callable[[runs.RunFolder], Parts],
    save: Callable[[Any, dict[str, Any]], None],
    out: Path,
    work: Path,
    threads: int | None = None,
    stop_after: int | None = None,
    **devices: Any,
) -> Path | None:
    """Train, from the run's last state where there is one, and write a model and its record (`.json`: run folder, steps, last losses).

    Args:
        inputs: digests of what the run trains on and begins with, by name; with the settings they name the run.
        build: makes the parts; called when the run's folder is held and its seed is set.
        save: writes the trained module with its card; called when the training is complete, on the process that writes.
        out: the model file; appears when the training is complete.
        work: folder of the run folders (`training.runs`).
        threads: overrides the settings' (it is no part of what names the run).
        stop_after: leave after so many epochs of the whole run, as if killed (tests, pilots); then nothing is written to `out`.
        devices: Lightning's arguments beside those in the settings: devices, strategy.

    Returns:
        `out`, or None when `stop_after` came first.

    Raises:
        AudioRestorerError: another process trains the same; or see `fit`.
    """
    with runs.opened(work, settings.name, settings.digest(inputs)) as folder:
        begin(settings.seed, threads or settings.threads)
        parts = build(folder)
        curve = LossCurve(folder.logs / "loss.csv")
        epochs = min(settings.epochs, stop_after or settings.epochs)
        trainer = build_trainer(
            folder,
            [*parts.callbacks, curve],
            epochs=epochs,
            steps=settings.steps,
            accelerator=settings.accelerator,
            precision=settings.precision,
            **devices,
        )
        fit(trainer, parts.module, parts.data, folder)
        if epochs < settings.epochs or not trainer.is_global_zero:
            return None
        card = {"name": settings.name, "steps": settings.steps, "seed": settings.seed, "settings": settings.record()}
        save(parts.module, {**card, **inputs})
        losses = {name: value for name, value in curve.last().items() if math.isfinite(value)}
        record = {"name": settings.name, "run": str(folder.path), "steps": settings.steps, "losses": losses}
        write_json(out.with_suffix(".json"), record)
    return out


def begin(seed: int, threads: int) -> None:
    """Make this process ready to train: threads, seeds, a quiet Lightning."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its advertisements are no log
    torch.set_num_threads(threads)
    lightning.seed_everything(seed, workers=False, verbose=False)


def build_trainer(
    folder: runs.RunFolder, callbacks: Sequence[lightning.Callback], *, epochs: int, steps: int, **options: Any
) -> lightning.Trainer:
    """A trainer that checkpoints after each epoch, and logs for TensorBoard and the console.

    Args:
        callbacks: the run's own; their states are in the checkpoint.
        epochs: to train for; fewer than the run's leave it as if killed.
        steps: of the whole run, for the progress.
        options: Lightning's arguments: accelerator, precision, devices, strategy.
    """
    if options.get("accelerator", "auto") != "cpu" and options.get("devices", 1) == 1:
        claim("auto")
    bar = sys.stderr.isatty()
    every = [
        *callbacks,
        TQDMProgressBar(refresh_rate=5) if bar else Progress(steps),
        AtomicCheckpoint(folder.checkpoint, folder.checkpoint_before),  # last: it holds what the others did
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # max_epochs, not max_steps: with the latter Lightning 2.6 does one step too many after each resume
        return lightning.Trainer(
            max_epochs=epochs,
            callbacks=every,
            logger=TensorBoardLogger(str(folder.logs), name="", version="tensorboard"),
            log_every_n_steps=10,
            enable_checkpointing=False,
            enable_progress_bar=bar,
            enable_model_summary=False,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            **options,
        )


def fit(
    trainer: lightning.Trainer,
    module: lightning.LightningModule,
    data: lightning.LightningDataModule,
    folder: runs.RunFolder,
) -> None:
    """Train; from the run's last checkpoint where there is one.

    Raises:
        AudioRestorerError: the checkpoint is damaged, or names what could run code; or the data turned out to be bad.
        MachineError: a process that makes examples was ended from outside.
    """
    checkpoint = folder.resume_from()
    resume = resumable(checkpoint) if checkpoint else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        except AudioRestorerError as error:
            if not IN_WORKER.match(str(error)):
                raise
            said = str(error).rpartition("AudioRestorerError: ")[2]  # torch puts the worker's traceback before it
            raise AudioRestorerError(said.strip()) from error
        except Exception as error:
            ended = _worker_ended(error)
            if ended is None:
                raise
            raise MachineError(
                f"training: a process that makes examples was ended from outside ({ended}): mostly by the system, for want of memory"
                f" or of room in /dev/shm: free some, or set `workers: 0` in the experiment, {KEPT}"
            ) from error


def _worker_ended(error: BaseException) -> str | None:
    """Torch's words on a worker that was ended, if an error began there: Lightning's teardown may raise another one after it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RuntimeError) and ENDED.search(str(cause)):
            return " ".join(str(cause).split())[:200].rstrip(". ")
        if isinstance(cause, BrokenPipeError | ConnectionResetError):  # while it was being started
            return f"{type(cause).__name__} as it began"
        cause = cause.__context__
    return None


def resumable(checkpoint: Path) -> str | None:
    """The checkpoint to go on from; None where there is none.

    Raises:
        AudioRestorerError: it is damaged, or names what could run code.
    """
    if not checkpoint.exists():
        return None
    try:
        torch_files.read(checkpoint)
    except AudioRestorerError as error:
        raise AudioRestorerError(f"{error}. Delete it, and the training begins anew") from error
    return str(checkpoint)


def batches_done(trainer: lightning.Trainer) -> int:
    """Batches of the whole run so far, those before a resume too. (Lightning's `global_step` counts every optimiser.)"""
    return int(trainer.fit_loop.epoch_loop.total_batch_idx) + 1


def epoch_name(epoch: int) -> str:
    """`ep003`: epochs count from 1."""
    return f"ep{epoch:03d}"


def due(trainer: lightning.Trainer, every: int, *, last_too: bool = True) -> bool:
    """Whether this epoch's end is one of those at which something is written, on the process that writes.

    Args:
        every: epochs between two of them; 0: never.
        last_too: the last epoch is one of them in any case.
    """
    done = trainer.current_epoch + 1
    return bool(every and trainer.is_global_zero and (done % every == 0 or (last_too and done == trainer.max_epochs)))


def rows_before(path: Path, epoch: int, fields: Sequence[str] | None = None) -> list[dict[str, str]]:
    """A log's rows of earlier epochs: a resumed run repeats its epoch. Damaged rows are left out: a log must not stop a training.

    Args:
        fields: columns that each row must have; None: those of its header.
    """
    try:
        rows = read_csv(path) if path.exists() else []
    except AudioRestorerError as error:
        LOG.warning("%s: begun anew: %s", path, error)
        return []
    names = set(fields or (rows[0] if rows else ()))
    whole = [row for row in rows if set(row) == names and None not in row.values() and row["epoch"].isdecimal()]
    if len(whole) < len(rows):
        LOG.warning("%s: %d damaged rows are left out", path, len(rows) - len(whole))
    return [row for row in whole if int(row["epoch"]) < epoch]


class AtomicCheckpoint(lightning.Callback):
    """After each epoch, `last.ckpt` is replaced by the new state: a kill at any moment leaves a whole one. The last callback.

    The state of the epoch before stays beside it: a checkpoint that a disk damages costs an epoch, not the run.
    """

    def __init__(self, path: Path, before: Path) -> None:
        self.path, self.before = path, before

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        trainer.save_checkpoint(temporary)  # every process takes part, one writes
        if trainer.is_global_zero:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            if self.path.exists():
                os.replace(self.path, self.before)
            os.replace(temporary, self.path)


class LossCurve(lightning.Callback):
    """`loss.csv`: step, loss and its parts at every step; kept in the checkpoint: a resumed run's curve has no gap or overlap."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[list[float]] = []
        self.names: list[str] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        metrics = trainer.callback_metrics
        names = sorted({*self.names, *metrics})
        if names != self.names:  # a loss that takes part from now on
            known = [dict(zip(self.names, values, strict=True)) for _, *values in self.rows]
            steps = [row[0] for row in self.rows]
            self.rows = [[step, *(row.get(n, math.nan) for n in names)] for step, row in zip(steps, known, strict=True)]
            self.names = names
        self.rows.append([batches_done(trainer), *(float(metrics.get(name, math.nan)) for name in names)])

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            lines = [f"{int(step)},{','.join(f'{value:.9g}' for value in values)}" for step, *values in self.rows]
            write_text_atomic(self.path, "\n".join([",".join(["step", *self.names]), *lines]) + "\n")

    def last(self) -> dict[str, float]:
        """The last step's values by name; empty before the first."""
        return dict(zip(self.names, self.rows[-1][1:], strict=True)) if self.rows else {}

    def state_dict(self) -> dict[str, Any]:
        return {"names": self.names, "rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.names, self.rows = list(state_dict["names"]), [list(row) for row in state_dict["rows"]]


class Progress(lightning.Callback):
    """One line per epoch for logs (a terminal has Lightning's bar)."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            shown = "  ".join(f"{name} {float(value):.3f}" for name, value in trainer.callback_metrics.items())
            print(f"step {batches_done(trainer)}/{self.steps}  {shown}", flush=True)
