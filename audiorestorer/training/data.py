"""The data of a mask network's training: recordings, the mixers over them, an epoch's examples, and Lightning's loader."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
from torch.utils.data import DataLoader, DistributedSampler

from audiorestorer.datasets.bank import AudioBank
from audiorestorer.datasets.manifest_mixer import ManifestBank, ManifestMixer
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
from audiorestorer.datasets.training_manifest import check_manifest, check_noise_manifest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.store import sha256_file
from audiorestorer.training.curriculum import CurriculumScheduler
from audiorestorer.training.settings import TrainSettings

# Added to the run's seed: the held-out items are the same at every epoch and in every run of that seed
HELD_OUT_SEED = 20_000
Examples = MixtureDataset | MixedRestorationDataset


@dataclass(frozen=True)
class Data:
    """Where the recordings are: either `folder` (with `index.jsonl`), or `manifest` with, if wanted, `noise` (a manifest) and `rooms`.

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


def real_recordings(settings: TrainSettings, data: Data) -> RealRecordings | None:
    """The recordings without a clean side that the data or the settings name; None where neither does."""
    source = data.real or (Path(settings.real.folder) if settings.real.folder else None)
    if source is None:
        return None
    return RealRecordings.of(source, settings.network.sample_rate, settings.real.hold_out, settings.real.min_sec)


def mixers(settings: TrainSettings, data: Data, work: Path) -> tuple[Mixer, Mixer]:
    """The training split's mixer, and the valid split's of the callbacks' item length, with no augmentation of the target."""
    varied = settings.mixtures
    seconds = max(settings.audio_debug.seconds, settings.perceptual_eval.seconds)
    calm = varied.model_copy(
        update={"segment_sec": seconds, "pure_speech": 0.0, "no_speech": 0.0, "curriculum": [], "band_limit": 0.0}
    )
    if settings.overfit_items:
        calm = varied
    split, seed = ("train", settings.seed) if settings.overfit_items else ("valid", settings.seed + HELD_OUT_SEED)
    bank = _bank(settings, data, work)
    if settings.degradations is not None:
        return (
            DegradationMixer(bank, varied, settings.degradations, settings.seed),
            DegradationMixer(bank, calm, settings.degradations, seed, split),
        )
    kind: type[Mixer] = ManifestMixer if isinstance(bank, ManifestBank) else Mixer
    return (
        kind(bank, varied, settings.task, settings.seed, epochs=settings.epochs),
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


def dataset_of(
    settings: TrainSettings, mixer: Mixer, real: RealRecordings | None, analyse: Analyse | None = None
) -> Examples:
    """An epoch's examples, as the strategies want them.

    Raises:
        AudioRestorerError: a strategy needs real recordings and there are none.
    """
    strategies = settings.strategies
    batch = settings.batch_size * settings.devices
    size = settings.steps_per_epoch * batch
    if real is None and (strategies.adaptive.enabled or strategies.uses_real):
        raise AudioRestorerError("strategies: they need real recordings: set real.folder, or give --real")
    dataset = MixtureDataset(mixer, 0, size, settings.overfit_items)
    if strategies.adaptive.enabled:
        assert real is not None and isinstance(mixer, DegradationMixer)
        follow, adaptive = analyse or FollowRecordings(mixer.degradations), strategies.adaptive
        dataset = AdaptiveArtifactDataset(
            mixer,
            real,
            follow,
            size,
            adaptive.every_epochs,
            adaptive.recordings,
            adaptive.share,
            settings.overfit_items,
        )
    if not strategies.uses_real:
        return dataset
    assert real is not None
    change = strategies.curriculum
    first, last = (change.start, change.end) if change.enabled else (strategies.synthetic_ratio,) * 2
    ratio = CurriculumScheduler(first, last, settings.steps, change.shape)
    return MixedRestorationDataset(dataset, real, ratio, batch, settings.seed)


class MixtureData(lightning.LightningDataModule):
    """Epoch e is the mixer's epoch e, in order: a resumed run sees what the uninterrupted one would have."""

    def __init__(self, dataset: Examples, settings: TrainSettings) -> None:
        super().__init__()
        self.dataset, self.settings = dataset, settings

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        set_epoch(self.dataset, self.trainer.current_epoch)
        sampler: DistributedSampler[Any] | None = None
        if self.trainer.world_size > 1:  # Lightning's own would shuffle
            world, rank = self.trainer.world_size, self.trainer.global_rank
            sampler = DistributedSampler(self.dataset, world, rank, shuffle=False)
        size, workers = self.settings.batch_size, self.settings.workers
        return DataLoader(self.dataset, size, shuffle=False, sampler=sampler, num_workers=workers, drop_last=True)
