"""The training of a mask network, from settings and data to a checkpoint; goes on from its last state after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning

from audiorestorer.datasets.real import RealRecordings
from audiorestorer.datasets.restoration import Analyse
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint, save_checkpoint
from audiorestorer.store import sha256_file
from audiorestorer.training import callbacks, running, runs
from audiorestorer.training.data import Data, MixtureData, dataset_of, mixers, real_recordings
from audiorestorer.training.module import MaskModule
from audiorestorer.training.monitoring import Monitoring
from audiorestorer.training.settings import TrainSettings, check_same


def fit(
    settings: TrainSettings,
    data: Data,
    out: Path,
    work: Path,
    threads: int | None = None,
    stop_after: int | None = None,
    analyse: Analyse | None = None,
) -> Path | None:
    """Train and write one safetensors checkpoint, and beside it its record.

    Args:
        settings: of the run.
        data: what to train on.
        out, work, threads, stop_after: see `running.run`.
        analyse: recordings to the distribution of their degradations (`strategies.adaptive`); None: this project's analysis.

    Returns:
        `out`, or None when `stop_after` came first.

    Raises:
        AudioRestorerError: bad data (before anything is trained), or another process trains the same model.
    """
    real = real_recordings(settings, data)
    settings = settings.for_real() if real else settings
    mixer, held_out = mixers(settings, data, work)
    dataset = dataset_of(settings, mixer, real, analyse)
    begin = initial(settings)

    def build(folder: runs.RunFolder) -> running.Parts:
        module = MaskModule(settings)
        if begin is not None:
            module.begin_with(begin)
        watching: list[lightning.Callback] = [
            callbacks.DataAudit(folder.audit, mixer, settings.data_audit, settings.overfit_items),
            callbacks.AudioDebug(folder.debug, held_out, settings.audio_debug),
            callbacks.PerceptualEval(folder.logs / "perceptual.csv", held_out, settings.perceptual_eval),
        ]
        if settings.restores:
            watching.append(Monitoring(folder.logs / "monitoring.csv", held_out, real, dataset, settings))
        return running.Parts(module, MixtureData(dataset, settings), watching)

    def save(module: Any, card: dict[str, Any]) -> None:
        save_checkpoint(out, module.average, settings.task, card, storage=settings.storage)

    inputs, devices = inputs_of(settings, data, real), {"devices": settings.devices, "strategy": settings.strategy}
    return running.run(settings, inputs, build, save, out, work, threads, stop_after, **devices)


def initial(settings: TrainSettings) -> MaskUNet | None:
    """The network that the training begins with; None for random weights.

    Raises:
        AudioRestorerError: no checkpoint of ours, or one of another network; names the file and the keys.
    """
    if settings.initial is None:
        return None
    path = Path(settings.initial)
    network, _ = load_checkpoint(path)
    check_same(network.config, settings, str(path))
    return network


def inputs_of(settings: TrainSettings, data: Data, real: RealRecordings | None = None) -> dict[str, str]:
    """Digests of what a run trains on and begins with, by name."""
    inputs = {"data": data.digest}
    if real:
        inputs["real"] = real.digest
    if settings.initial:
        inputs["initial"] = sha256_file(Path(settings.initial))
    return inputs
