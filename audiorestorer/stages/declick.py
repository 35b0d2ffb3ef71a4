"""declick: clicks found by an AR model and filled, before the separators hear the recording (`dsp.click_repair`).

What the separators and the fusion take for the mixture is the repaired recording; the figures are still those of the recording itself.
"""

from __future__ import annotations

from pathlib import Path

from audiorestorer import audio
from audiorestorer.config import DeclickSettings
from audiorestorer.digest import code_digest
from audiorestorer.dsp import click_repair
from audiorestorer.dsp.active_level import active_level
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.stages.job import Job
from audiorestorer.stages.shard import ItemResult, Stage, run_shard
from audiorestorer.store import Entry

FILE = "declicked.wav"


def declick_item(item: Item, settings: DeclickSettings, folder: Path) -> ItemResult:
    """Write the repaired recording, float32, exactly as long as the input. It is read twice: the threshold goes by its level."""
    path = item.given
    info = audio.probe(path)
    level = active_level(audio.blocks(path), info.sample_rate)
    repair = click_repair.Repair(threshold=settings.threshold)
    out = click_repair.repair_blocks(audio.blocks(path), info.sample_rate, level, repair)
    audio.write_blocks(folder / FILE, out, info.sample_rate, info.channels, expected_frames=info.frames)
    return ItemResult({FILE: folder / FILE}, {})


def _describe(entry: Entry, item: Item) -> Item:
    path, sha256 = str(entry.files[FILE]), entry.sha256[FILE]
    return item.updated(path=path, sha256=sha256, mixture=path, mixture_sha256=sha256)


def run(in_manifest: Path, out_manifest: Path, config: DeclickSettings, job: Job) -> None:
    """Repair a shard."""
    stage: Stage[None] = Stage(
        name="declick",
        settings=config.model_dump(exclude={"enabled"}),
        code=code_digest("stages.declick"),
        load=lambda: None,
        process=lambda _, item, folder: declick_item(item, config, folder),
        describe=_describe,
    )
    run_shard(stage, read_manifest(in_manifest), out_manifest, job.store, [in_manifest])
