"""separate: speech out of music with one separator, in the recording's own rate, channels and length."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from audiorestorer.config import SeparatorSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.formats import layouts
from audiorestorer.formats.writing import Writer
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.separators import Loaded
from audiorestorer.separators.runtime.streaming import Recording, estimates, full_band
from audiorestorer.stages.job import Job
from audiorestorer.stages.network import network_stage
from audiorestorer.stages.shard import ItemResult, RejectItem, run_shard
from audiorestorer.store import Entry


def wanted_stems(settings: SeparatorSettings) -> tuple[str, ...]:
    return ("vocals", "accompaniment") if settings.accompaniment == "stems" else ("vocals",)


def separate_item(loaded: Loaded, item: Item, settings: SeparatorSettings, folder: Path) -> ItemResult:
    """Write `vocals.wav` (and `accompaniment.wav`), float32, exactly as long as the input.

    Raises:
        RejectItem: more than eight channels, no samples, or not readable.
    """
    try:
        recording = Recording.of_file(item.given)
    except AudioRestorerError as error:
        raise RejectItem(str(error)) from error
    if not 1 <= recording.channels <= layouts.MOST or not recording.frames:
        raise RejectItem(
            f"{recording.channels} channels, {recording.frames} samples; one to eight channels with sound are needed"
        )
    seed = int((item.sha256 or "0")[:15], 16)
    files = {f"{stem}.wav": folder / f"{stem}.wav" for stem in loaded.stems}
    with ExitStack() as stack:
        writers = {
            path.stem: stack.enter_context(
                Writer(path, recording.sample_rate, recording.channels, expected_frames=recording.frames)
            )
            for path in files.values()
        }
        for block in estimates(loaded, recording, overlap=settings.overlap, shifts=settings.shifts, seed=seed):
            block["vocals"] = full_band(block)
            for stem, writer in writers.items():
                writer.write(block[stem])
    return ItemResult(files, {})


def _describe(entry: Entry, item: Item) -> Item:
    stems = {name.removesuffix(".wav"): str(path) for name, path in entry.files.items()}
    return item.updated(path=stems["vocals"], sha256=entry.sha256["vocals.wav"], stems=stems)


def run(
    in_manifest: Path,
    out_manifest: Path,
    config: SeparatorSettings,
    job: Job,
    model_json: Path | None,
) -> None:
    """Separate a shard.

    Raises:
        AudioRestorerError: no fetched model, or one that cannot be used.
        StageFailed: an item failed in an unforeseen way.
    """
    stage = network_stage(
        f"separate/{config.name}", config, model_json, wanted_stems(config),
        lambda loaded, item, folder: separate_item(loaded, item, config, folder), _describe,
        job,
    )  # fmt: skip
    run_shard(stage, read_manifest(in_manifest), out_manifest, job.store, [in_manifest])
