"""Restore recordings with one checkpoint: music or speech, at the input's own rate, channels and sample format, exactly as long.

Each channel goes through the network by itself. The band above the network's Nyquist frequency, which it cannot see, is scaled by its
gain near the top of its own band (`separators.mask_network`). Finished items lie in the store: the same line goes on after a kill.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audiorestorer import audio
from audiorestorer.devices import pick_device
from audiorestorer.digest import code_digest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item
from audiorestorer.separators import Loaded
from audiorestorer.separators.mask_network import Checkpoint
from audiorestorer.separators.runtime.streaming import Recording, estimates, full_band
from audiorestorer.stages.folder import delivered, describe, items_of
from audiorestorer.stages.job import Job
from audiorestorer.stages.shard import ItemResult, RejectItem, Stage, run_items
from audiorestorer.store import sha256_file

ROWS = "restore.jsonl"


def run(
    source: Path,
    out: Path,
    checkpoint: Path,
    job: Job,
    *,
    wet: float = 1.0,
    overlap: int | None = None,
    floor_db: float | None = None,
) -> list[Item]:
    """Restore a file or a folder.

    Args:
        source: a recording, or a folder of them (any nesting).
        out: a folder, made where absent, which mirrors the tree; of a single recording also the file to write.
        wet: out = wet * restored + (1 - wet) * input.
        overlap, floor_db: see `models.mask_arrays.speech_and_mask`; the floor in dB below the input.

    Returns:
        The rows, also in `restore.jsonl` in the output folder (beside a single output file: none): `output`, and of a rejected
        recording the reason.

    Raises:
        AudioRestorerError: nothing to do, folders that overlap, an output that would replace an input, or a checkpoint that cannot be
            used.
        StageFailed: a recording failed in an unforeseen way; the others are done.
    """
    if not 0 <= wet <= 1:
        raise AudioRestorerError(f"wet {wet:g}: must lie in [0, 1]")
    weights = Checkpoint(checkpoint, overlap, floor_db)
    items = items_of(source, out, "restore", job.store)
    stage: Stage[Loaded] = Stage(
        name="restore",
        settings={"wet": wet, "overlap": overlap, "floor_db": floor_db},
        code=code_digest("stages.restore", "separators.mask_network"),
        weights=sha256_file(checkpoint),
        load=lambda: Loaded(weights.load(pick_device(job.device, job.threads), job.threads)),
        in_work=lambda loaded: loaded.network.in_work,
        process=lambda loaded, item, scratch: restore_item(loaded, item, wet, scratch),
        describe=describe,
        inputs=lambda item: [item.sha256, Path(item.output or "").suffix.lower()],
    )
    rows = delivered(run_items(stage, items, job.store), source, out, ROWS, job.store, stage.name)
    print(f"{sum(item.ok for item in rows)} of {len(rows)} restored", flush=True)
    return rows


def restore_item(loaded: Loaded, item: Item, wet: float, folder: Path) -> ItemResult:
    """Write the restored recording in its input's sample format; where an integer one would clip, the whole is turned down.

    Raises:
        RejectItem: unreadable, empty, or not finite.
    """
    info = audio.probe(item.noisy)
    kind, subtype = audio.output_format(info, Path(item.output or "").suffix.lower())
    whole, target = folder / "whole.wav", folder / f"restored{Path(item.output or '').suffix.lower()}"
    peak = 0.0

    def blocks() -> Iterator[audio.Audio]:
        nonlocal peak
        for block in estimates(loaded, Recording.of_file(item.noisy)):
            mixed = np.asarray(wet * full_band(block) + (1 - wet) * block["input"], np.float32)
            peak = max(peak, float(np.abs(mixed).max(initial=0.0)))
            yield mixed

    try:
        audio.write_blocks(whole, blocks(), info.sample_rate, info.channels, expected_frames=info.frames)
    except AudioRestorerError as error:
        raise RejectItem(str(error)) from error
    gain_db = audio.write_below_full_scale(whole, target, peak, format=kind, subtype=subtype)
    whole.unlink()
    return ItemResult({target.name: target}, {"gain_db": gain_db})
