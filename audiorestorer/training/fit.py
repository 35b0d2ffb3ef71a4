"""One training run, from settings and data to a checkpoint; goes on from its last state after a kill."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import lightning

from audiorestorer.datasets.bank import AudioBank
from audiorestorer.datasets.manifest_mixer import ManifestBank, ManifestMixer
from audiorestorer.datasets.mixtures import Mixer
from audiorestorer.datasets.real import RealRecordings
from audiorestorer.datasets.restoration import Analyse, DegradationMixer
from audiorestorer.datasets.training_manifest import check_manifest, check_noise_manifest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_json
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint, save_checkpoint
from audiorestorer.store import sha256_file
from audiorestorer.training import callbacks, running, runs
from audiorestorer.training.module import MaskModule, MixtureData, dataset_of
from audiorestorer.training.monitoring import Monitoring
from audiorestorer.training.settings import TrainSettings, check_same

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
    settings = settings.for_real() if real else settings
    mixer, held_out = _mixers(settings, data, work)
    dataset = dataset_of(settings, mixer, real, analyse)
    begin = initial(settings)
    with runs.opened(work, settings.name, digest(settings, data, real)) as folder:
        running.begin(settings.seed, threads or settings.threads)
        module = MaskModule(settings)
        if begin is not None:
            module.network.load_state_dict(begin.state_dict())
            module.average.load_state_dict(begin.state_dict())
        curve = running.LossCurve(folder.logs / "loss.csv")
        watching: list[lightning.Callback] = [
            callbacks.DataAudit(folder.audit, mixer, settings.data_audit, settings.overfit_items),
            callbacks.AudioDebug(folder.debug, held_out, settings.audio_debug),
            callbacks.PerceptualEval(folder.logs / "perceptual.csv", held_out, settings.perceptual_eval),
        ]
        if settings.restores:
            watching.append(Monitoring(folder.logs / "monitoring.csv", held_out, real, dataset, settings))
        trainer = running.trainer(
            folder,
            [*watching, curve],
            epochs=min(settings.epochs, stop_after or settings.epochs),
            steps=settings.steps,
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=settings.strategy,
            precision=settings.precision,
            gradient_clip_val=settings.clip_norm,
        )
        running.fit(trainer, module, MixtureData(dataset, settings), folder)
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
    curve: running.LossCurve,
) -> None:
    """The model and its record."""
    card = {
        "name": settings.name,
        "steps": settings.steps,
        "seed": settings.seed,
        "settings": json.loads(settings.record()),
        "data": data.digest,
        **({"real": real.digest} if real else {}),
        **({"initial": sha256_file(Path(settings.initial))} if settings.initial else {}),
    }
    save_checkpoint(out, module.average, settings.task, card, storage=settings.storage)
    losses = {name: value for name, value in curve.last().items() if math.isfinite(value)}
    record = {"name": settings.name, "run": str(folder.path), "steps": settings.steps, "losses": losses}
    write_json(out.with_suffix(".json"), record)


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


def real_recordings(settings: TrainSettings, data: Data) -> RealRecordings | None:
    """Those that the data or the settings name; None where neither does."""
    source = data.real or (Path(settings.real.folder) if settings.real.folder else None)
    if source is None:
        return None
    return RealRecordings.of(source, settings.network.sample_rate, settings.real.hold_out, settings.real.min_sec)


def _mixers(settings: TrainSettings, data: Data, work: Path) -> tuple[Mixer, Mixer]:
    """The training split's mixer, and the valid split's of the callbacks' item length, with no augmentation of the target."""
    chosen = settings.mixtures
    seconds = max(settings.audio_debug.seconds, settings.perceptual_eval.seconds)
    calm = chosen.model_copy(
        update={"segment_sec": seconds, "pure_speech": 0.0, "no_speech": 0.0, "curriculum": [], "band_limit": 0.0}
    )
    if settings.overfit_items:
        calm = chosen
    split, seed = ("train", settings.seed) if settings.overfit_items else ("valid", settings.seed + HELD_OUT_SEED)
    bank = _bank(settings, data, work)
    if settings.degradations is not None:
        return (
            DegradationMixer(bank, chosen, settings.degradations, settings.seed),
            DegradationMixer(bank, calm, settings.degradations, seed, split),
        )
    kind: type[Mixer] = ManifestMixer if isinstance(bank, ManifestBank) else Mixer
    return (
        kind(bank, chosen, settings.task, settings.seed, epochs=settings.epochs),
        kind(bank, calm, settings.task, seed, split),
    )


def _bank(settings: TrainSettings, data: Data, work: Path) -> AudioBank | ManifestBank:
    """The recordings; raises AudioRestorerError where they are not what the training needs."""
    rate = settings.network.sample_rate
    if data.folder:
        return AudioBank(data.folder, work / "cache", rate)
    assert data.manifest is not None
    splits = ("train",) if settings.overfit_items else ("train", "valid")
    rows = check_manifest(data.manifest, sample_rate=None if settings.mixtures.resample else rate, splits=splits)
    noises = check_noise_manifest(data.noise, splits=splits) if data.noise else []
    noise_base = data.noise.parent if data.noise else None
    return ManifestBank(rows, data.manifest.parent, rate, noises, noise_base, data.rooms)


def digest(settings: TrainSettings, data: Data, real: RealRecordings | None = None) -> str:
    """Names the run: another setting or other data never resumes this run (threads and workers do not matter)."""
    lines = [settings.record(frozenset({"threads", "workers"})), data.digest, *([real.digest] if real else [])]
    if settings.initial:
        lines.append(sha256_file(Path(settings.initial)))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
