"""One training of the enhancer, from settings, data and what was trained before to a checkpoint; goes on after a kill."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiorestorer.datasets.enhancement.mixing import EnhancementDataset, EnhancementFolder
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.enhancer.checkpoint import load_checkpoint, save_checkpoint
from audiorestorer.models.enhancer.enhancer import Enhancer
from audiorestorer.store import sha256_file
from audiorestorer.training import running, runs
from audiorestorer.training.enhancer.epoch_samples import HeldOutExamples, batches
from audiorestorer.training.enhancer.module import DenoiserModule, EnhancementData, EnhancerModule
from audiorestorer.training.enhancer.settings import EnhancerTrainSettings, Stage1Settings, Stage2Settings
from audiorestorer.training.enhancer.stages import Stage1Module, Stage2Module

ORDER = "denoiser, stage 1 (ae), stage 2 (cfm)"


def fit(
    settings: EnhancerTrainSettings,
    data: Path,
    out: Path,
    work: Path,
    previous: Sequence[Path] = (),
    threads: int | None = None,
    stop_after: int | None = None,
) -> Path | None:
    """Train and write one checkpoint of the parts that this training is about, and beside it its record.

    Args:
        settings: of the run.
        data: folder with fg/, bg/ and rir/.
        previous: checkpoints of the trainings before this one.
        out, work, threads, stop_after: see `running.run`.

    Returns:
        `out`, or None when `stop_after` came first.

    Raises:
        AudioRestorerError: bad data, a training that must come before is missing or of another configuration (all before anything
            is trained), or another process trains the same.
    """
    folder = EnhancementFolder(data, settings.networks.features.sample_rate, settings.data, settings.seed)
    example_count = settings.steps_per_epoch * settings.batch_size
    training = EnhancementDataset(folder, "train", example_count, settings.seed)
    held_out = EnhancementDataset(folder, "valid", max(settings.valid_items, settings.samples.items), settings.seed)

    def build(run: runs.RunFolder) -> running.Parts:
        module = module_of(settings, enhancer_of(settings, previous))
        return running.Parts(
            module, EnhancementData(training, settings), [HeldOutExamples(run.logs, held_out, settings)]
        )

    def save(module: EnhancerModule, card: dict[str, Any]) -> None:
        examples = EnhancementDataset(folder, "train", example_count, settings.seed)
        count = min(example_count, settings.scale_items) if isinstance(settings, Stage1Settings) else 0
        module.finish(batches(examples, count, settings.batch_size, module.device))
        save_checkpoint(out, module.enhancer, settings.parts, {**card, "skipped": int(module.skipped)})

    inputs = {"data": data_digest(folder), "previous": [sha256_file(path) for path in previous if path.exists()]}
    return running.run(settings, inputs, build, save, out, work, threads, stop_after, devices=1)


def module_of(settings: EnhancerTrainSettings, enhancer: Enhancer) -> EnhancerModule:
    """The module that trains by these settings."""
    if isinstance(settings, Stage1Settings):
        return Stage1Module(settings, enhancer)
    if isinstance(settings, Stage2Settings):
        return Stage2Module(settings, enhancer)
    return DenoiserModule(settings, enhancer)


def enhancer_of(settings: EnhancerTrainSettings, previous: Sequence[Path]) -> Enhancer:
    """The enhancer that a training begins with: what was trained before, and the rest as initialised.

    Raises:
        AudioRestorerError: parts that the training needs are in no file, or they are of another size.
    """
    if not settings.needs:
        return Enhancer(settings.networks)
    missing: Sequence[str] = settings.needs
    shown = ", ".join(map(str, previous)) or "none given"
    if previous:
        enhancer, metadata = load_checkpoint(*previous)
        missing = [part for part in settings.needs if part not in metadata["parts"]]
        if not missing and enhancer.settings != settings.networks:
            raise AudioRestorerError(f"{shown}: networks of another size than those of {settings.name}")
    if missing:
        raise AudioRestorerError(
            f"{settings.name}: needs trained {', '.join(missing)} (--previous: {shown}); the order is {ORDER}"
        )
    return enhancer


def data_digest(folder: EnhancementFolder) -> str:
    """Names and sizes of the data's files."""
    paths = sorted(path for part in ("fg", "bg", "rir") for path in (folder.root / part).rglob("*") if path.is_file())
    lines = [f"{path.relative_to(folder.root).as_posix()} {path.stat().st_size}" for path in paths]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
