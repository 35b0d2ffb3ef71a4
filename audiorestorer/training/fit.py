"""One training run, from settings and data to a checkpoint; goes on from its last state after a kill."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from audiorestorer.datasets.bank import AudioBank
from audiorestorer.datasets.manifest_mixer import ManifestBank, ManifestMixer
from audiorestorer.datasets.mixtures import Bank, Mixer, MixtureSettings
from audiorestorer.datasets.real import RealRecordings
from audiorestorer.datasets.restoration import Analyse, DegradationMixer
from audiorestorer.datasets.training_manifest import check_manifest, check_noise_manifest
from audiorestorer.devices import claim
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import write_text_atomic
from audiorestorer.models.mask_unet import save_checkpoint
from audiorestorer.store import sha256_file
from audiorestorer.training import callbacks, runs
from audiorestorer.training.module import MaskModule, MixtureData, dataset_of
from audiorestorer.training.monitoring import Monitoring
from audiorestorer.training.settings import TrainSettings

HELD_OUT_SEED = (
    20_000  # added to the run's seed: the held-out items are the same at every epoch and in every run of that seed
)


@dataclass(frozen=True)
class Data:
    """What to train on: either `folder` (with `index.jsonl`), or `manifest` with, if wanted, `noise` (a manifest) and `rooms`.

    `real`: degraded recordings without a clean side, a folder or a manifest, beside either; else the settings' `real.folder`.
    """

    folder: Path | None = None
    manifest: Path | None = None
    noise: Path | None = None
    rooms: Path | None = None
    real: Path | None = None

    def __post_init__(self) -> None:
        if (self.folder is None) == (self.manifest is None):
            raise AudioRestorerError("give either a training folder (--data) or a manifest (--manifest)")
        if self.manifest is None and (self.noise or self.rooms):
            raise AudioRestorerError("--noise and --rooms go with --manifest")

    @property
    def digest(self) -> str:
        files = [self.folder / "index.jsonl"] if self.folder else [self.manifest, self.noise]
        parts = [sha256_file(path) if path else "" for path in files]
        return hashlib.sha256("\n".join([*parts, str(self.rooms or "")]).encode()).hexdigest()


def fit(
    settings: TrainSettings,
    data: Data,
    out: Path,
    work: Path,
    threads: int | None = None,
    stop_after: int | None = None,
    analyse: Analyse | None = None,
) -> Path | None:
    """Train and write one safetensors checkpoint, and beside it its record (`.json`: run folder, steps, last losses).

    Args:
        settings: of the run.
        data: what to train on.
        out: the model file; appears when the training is complete.
        work: folder of the run folders (`training.runs`).
        threads: overrides the settings' (it is no part of what names the run).
        stop_after: leave after so many epochs of the whole run, as if killed (tests, pilots); then nothing is written to `out`.
        analyse: recordings to the distribution of their degradations (`strategies.adaptive`); None: this project's analysis.

    Returns:
        `out`, or None when `stop_after` came first.

    Raises:
        AudioRestorerError: bad data (before anything is trained), or another process trains the same model.
    """
    real = real_recordings(settings, data)
    mixer, held_out = _mixers(settings, data, work)
    dataset = dataset_of(settings, mixer, real, analyse)
    with runs.opened(work, settings.name, digest(settings, data, real)) as folder:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its advertisements are no log
        torch.set_num_threads(threads or settings.threads)
        lightning.seed_everything(settings.seed, workers=False, verbose=False)
        module = MaskModule(settings)
        curve = callbacks.LossCurve(folder.logs / "loss.csv")
        watching: list[lightning.Callback] = [
            callbacks.DataAudit(folder.audit, mixer, settings.data_audit, settings.overfit_items),
            callbacks.AudioDebug(folder.debug, held_out, settings.audio_debug),
            callbacks.PerceptualEval(folder.logs / "perceptual.csv", held_out, settings.perceptual_eval),
        ]
        if settings.restores:
            watching.append(Monitoring(folder.logs / "monitoring.csv", held_out, real, dataset, settings))
        trainer = _trainer(settings, folder, [*watching, curve], min(settings.epochs, stop_after or settings.epochs))
        resume = str(folder.checkpoint) if folder.checkpoint.exists() else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.fit(module, datamodule=MixtureData(dataset, settings), ckpt_path=resume, weights_only=True)
        if trainer.global_step < settings.steps or not trainer.is_global_zero:
            return None
        _save(out, settings, data, real, module, folder, curve)
    return out


def _save(
    out: Path,
    settings: TrainSettings,
    data: Data,
    real: RealRecordings | None,
    module: MaskModule,
    folder: runs.RunFolder,
    curve: callbacks.LossCurve,
) -> None:
    """The model and its record."""
    card = {
        "name": settings.name,
        "steps": settings.steps,
        "seed": settings.seed,
        "settings": json.loads(settings.record()),
        "data": data.digest,
        **({"real": real.digest} if real else {}),
    }
    save_checkpoint(out, module.average, settings.task, card)
    losses = dict(zip(curve.names, curve.rows[-1][1:], strict=True)) if curve.rows else {}
    losses = {name: value for name, value in losses.items() if math.isfinite(value)}
    record = {"name": settings.name, "run": str(folder.path), "steps": settings.steps, "losses": losses}
    write_text_atomic(out.with_suffix(".json"), json.dumps(record, indent=2) + "\n")


def real_recordings(settings: TrainSettings, data: Data) -> RealRecordings | None:
    """Those that the data or the settings name; None where neither does."""
    source = data.real or (Path(settings.real.folder) if settings.real.folder else None)
    if source is None:
        return None
    return RealRecordings.of(source, settings.network.sample_rate, settings.real.hold_out, settings.real.min_sec)


def _mixers(settings: TrainSettings, data: Data, work: Path) -> tuple[Mixer, Mixer]:
    """The training split's mixer, and the valid split's of the callbacks' item length, with no augmentation of the target."""
    rate, chosen = settings.network.sample_rate, settings.mixtures
    seconds = max(settings.audio_debug.seconds, settings.perceptual_eval.seconds)
    calm = chosen.model_copy(
        update={"segment_sec": seconds, "pure_speech": 0.0, "no_speech": 0.0, "curriculum": [], "band_limit": 0.0}
    )
    if settings.overfit_items:
        calm = chosen
    split, seed = ("train", settings.seed) if settings.overfit_items else ("valid", settings.seed + HELD_OUT_SEED)
    if data.folder:
        bank = AudioBank(data.folder, work / "cache", rate)
        if settings.degradations is not None:
            return _degrading(settings, bank, calm, seed, split)
        return (
            Mixer(bank, chosen, settings.task, settings.seed, epochs=settings.epochs),
            Mixer(bank, calm, settings.task, seed, split),
        )
    assert data.manifest is not None
    splits = ("train",) if settings.overfit_items else ("train", "valid")
    rows = check_manifest(data.manifest, sample_rate=None if chosen.resample else rate, splits=splits)
    noises = check_noise_manifest(data.noise, splits=splits) if data.noise else []
    bases = data.manifest.parent, data.noise.parent if data.noise else None
    files = ManifestBank(rows, bases[0], rate, noises, bases[1], data.rooms)
    if settings.degradations is not None:
        return _degrading(settings, files, calm, seed, split)
    return (
        ManifestMixer(files, chosen, settings.task, settings.seed, epochs=settings.epochs),
        ManifestMixer(files, calm, settings.task, seed, split),
    )


def _degrading(
    settings: TrainSettings, bank: Bank, calm: MixtureSettings, seed: int, split: str
) -> tuple[DegradationMixer, DegradationMixer]:
    """The same two for restoration."""
    assert settings.degradations is not None
    return (
        DegradationMixer(bank, settings.mixtures, settings.degradations, settings.seed),
        DegradationMixer(bank, calm, settings.degradations, seed, split),
    )


def _trainer(
    settings: TrainSettings, folder: runs.RunFolder, watching: list[lightning.Callback], epochs: int
) -> lightning.Trainer:
    if settings.accelerator != "cpu" and settings.devices == 1:
        claim("auto")
    bar = sys.stderr.isatty()
    every = [
        *watching,
        TQDMProgressBar(refresh_rate=5) if bar else callbacks.Progress(settings.steps),
        callbacks.AtomicCheckpoint(folder.checkpoint),  # last: it holds what the others did
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # max_epochs, not max_steps: with the latter Lightning 2.6 does one step too many after each resume
        return lightning.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=settings.strategy,
            precision=settings.precision,
            max_epochs=epochs,
            gradient_clip_val=settings.clip_norm,
            callbacks=every,
            logger=TensorBoardLogger(str(folder.logs), name="", version="tensorboard"),
            log_every_n_steps=10,
            enable_checkpointing=False,
            enable_progress_bar=bar,
            enable_model_summary=False,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
        )


def digest(settings: TrainSettings, data: Data, real: RealRecordings | None = None) -> str:
    """Names the run: another setting or other data never resumes this run (threads and workers do not matter)."""
    lines = [settings.record(frozenset({"threads", "workers"})), data.digest, *([real.digest] if real else [])]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
