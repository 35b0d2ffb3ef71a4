"""Train a mask network from an experiment file and training audio; goes on from its last checkpoint after a kill."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import CSVLogger

from audiorestorer.datasets.bank import AudioBank
from audiorestorer.datasets.mixtures import Mixer
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.mask_unet import save_checkpoint
from audiorestorer.training.module import AtomicCheckpoint, MaskModule, MixtureData
from audiorestorer.training.settings import TrainSettings, load_settings

CHECKPOINT = "last.ckpt"


def run(
    config: Path | dict[str, Any],
    data: Path,
    out: Path,
    work: Path,
    threads: int | None = None,
    *,
    stop_after: int | None = None,
) -> Path | None:
    """Train and write one safetensors checkpoint.

    Args:
        config: experiment file, or its content.
        data: folder with `index.jsonl` (scripts/make_training_audio.py).
        out: the model file; appears when the training is complete.
        work: checkpoints and logs of unfinished runs, in a folder named by the settings and the data.
        threads: overrides the settings' (it is no part of what names the run).
        stop_after: leave after so many epochs of the whole run, as if killed (tests, pilots); then nothing is written to `out`.

    Returns:
        `out`, or None when `stop_after` came first.

    Raises:
        AudioRestorerError: bad settings or data, or another process trains the same model.
    """
    settings = load_settings(config)
    bank = AudioBank(Path(data), Path(work) / "cache", settings.network.sample_rate)
    folder = Path(work) / f"{settings.name}_{_digest(settings, Path(data))}"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        torch.set_num_threads(threads or settings.threads)
        lightning.seed_everything(settings.seed, workers=False, verbose=False)
        module = MaskModule(settings)
        mixer = Mixer(bank, settings.mixtures, settings.task, settings.seed)
        checkpoint = folder / CHECKPOINT
        epochs = settings.steps // settings.steps_per_epoch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # max_epochs, not max_steps: with the latter Lightning 2.6 does one step too many after each resume
            trainer = lightning.Trainer(
                accelerator="auto",
                devices=1,
                precision=settings.precision,
                max_epochs=min(epochs, stop_after or epochs),
                gradient_clip_val=settings.clip_norm,
                callbacks=[AtomicCheckpoint(checkpoint), _Progress(settings.steps)],
                logger=CSVLogger(str(folder), name="log"),
                log_every_n_steps=10,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                reload_dataloaders_every_n_epochs=1,
                num_sanity_val_steps=0,
            )
            resume = str(checkpoint) if checkpoint.exists() else None
            trainer.fit(module, datamodule=MixtureData(mixer, settings), ckpt_path=resume, weights_only=True)
        if trainer.global_step < settings.steps:
            return None
        card = {
            "name": settings.name,
            "steps": settings.steps,
            "seed": settings.seed,
            "settings": json.loads(settings.model_dump_json()),
            "data": _index_digest(Path(data)),
        }
        save_checkpoint(out, module.average, settings.task, card)
    return Path(out)


class _Progress(lightning.Callback):
    """One line an epoch."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        shown = "  ".join(f"{name} {float(value):.3f}" for name, value in trainer.callback_metrics.items())
        print(f"step {trainer.global_step}/{self.steps}  {shown}", flush=True)


def _index_digest(data: Path) -> str:
    return hashlib.sha256((data / "index.jsonl").read_bytes()).hexdigest()


def _digest(settings: TrainSettings, data: Path) -> str:
    """Names the work folder: another setting or other data never resumes this run (threads and workers do not matter)."""
    chosen = settings.model_dump_json(exclude={"threads", "workers"})
    return hashlib.sha256(f"{chosen}\n{_index_digest(data)}".encode()).hexdigest()[:12]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """A killed workflow can leave its training running: a second writer is refused. The lock dies with the process."""
    with open(folder / ".lock", "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AudioRestorerError(f"{folder}: another process is training this model") from None
        yield
