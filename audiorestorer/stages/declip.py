"""declip: samples that a limit cut off are made anew, before the separators hear the recording (`dsp.declipping`).

What the separators and the fusion take for the mixture is the mended recording; the figures are still those of the recording itself.
A recording in which no clipping is found goes on as it is: no file is written for it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audiorestorer import audio
from audiorestorer.config import DeclipSettings
from audiorestorer.digest import code_digest
from audiorestorer.dsp import declipping
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.stages.job import Job
from audiorestorer.stages.shard import ItemResult, Stage, run_shard
from audiorestorer.store import Entry

FILE = "declipped.wav"


def declip_item(item: Item, folder: Path) -> ItemResult:
    """Write the mended recording, float32, exactly as long as the input, and say how much was made anew; nothing where nothing was."""
    path = item.noisy
    info = audio.probe(path)
    limits = declipping.find(lambda: audio.blocks(path), info.channels)
    if not limits.any:
        return ItemResult({}, {})
    target = folder / FILE
    out = declipping.declipped(audio.blocks(path), info.frames, info.sample_rate, limits)
    audio.write_blocks(target, out, info.sample_rate, info.channels, expected_frames=info.frames)
    count = _differing(path, target)
    if not count:  # a square wave, or what is beyond repair
        return ItemResult({}, {})
    share = count / (info.frames * info.channels)
    note = f"{count} samples ({share:.2%}) were clipped and made anew before the speech was separated"
    return ItemResult({FILE: target}, {"notes": {"clipping": note}})


def _differing(first: str | Path, second: str | Path) -> int:
    """The number of samples that differ between two files of equal rate, channels and length."""
    size = int(audio.BLOCK_SEC * audio.probe(first).sample_rate)
    pairs = zip(*(audio.rechunk(audio.blocks(path), size) for path in (first, second)), strict=True)
    return sum(int(np.count_nonzero(one != other)) for one, other in pairs)


def _describe(entry: Entry, item: Item) -> Item:
    if not entry.files:
        return item
    path, sha256 = str(entry.files[FILE]), entry.sha256[FILE]
    return item.updated(**entry.row, path=path, sha256=sha256, mixture=path, mixture_sha256=sha256)


def run(in_manifest: Path, out_manifest: Path, config: DeclipSettings, job: Job) -> None:
    """Mend a shard."""
    stage: Stage[None] = Stage(
        name="declip",
        settings=config.model_dump(exclude={"enabled"}),
        code=code_digest("stages.declip"),
        load=lambda: None,
        process=lambda _, item, folder: declip_item(item, folder),
        describe=_describe,
    )
    run_shard(stage, read_manifest(in_manifest), out_manifest, job.store, [in_manifest])
