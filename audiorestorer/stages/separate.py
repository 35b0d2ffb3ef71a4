"""separate: speech out of music with one separator, in the recording's own rate, channels and length."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from audiorestorer import audio
from audiorestorer.config import SeparatorSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.separators import Separator
from audiorestorer.separators.runtime.streaming import How, Recording, estimates, full_band
from audiorestorer.stages.job import Job
from audiorestorer.stages.network import network_stage
from audiorestorer.stages.shard import Made, RejectItem, run_shard
from audiorestorer.store import Entry

MAX_CHANNELS = 2


def wanted_stems(settings: SeparatorSettings) -> tuple[str, ...]:
    return ("vocals", "accompaniment") if settings.accompaniment == "stems" else ("vocals",)


def separate_item(network: Separator, item: Item, settings: SeparatorSettings, folder: Path) -> Made:
    """Write `vocals.wav` (and `accompaniment.wav`), float32, exactly as long as the input.

    Raises:
        RejectItem: more than two channels, no samples, or not readable.
    """
    try:
        recording = Recording.of_file(item.noisy)
    except AudioRestorerError as error:
        raise RejectItem(str(error)) from error
    if not 1 <= recording.channels <= MAX_CHANNELS or not recording.frames:
        raise RejectItem(
            f"{recording.channels} channels, {recording.frames} samples; mono or stereo with sound is needed"
        )
    stems = wanted_stems(settings)
    seed = int((item.sha256 or "0")[:15], 16)
    how = How(stems, settings.overlap, settings.segment_sec, settings.batch_size, settings.shifts, seed)
    files = {f"{stem}.wav": folder / f"{stem}.wav" for stem in stems}
    with ExitStack() as stack:
        writers = {
            stem: stack.enter_context(
                audio.Writer(
                    folder / f"{stem}.wav",
                    recording.sample_rate,
                    recording.channels,
                    expected_frames=recording.frames,
                )
            )
            for stem in stems
        }
        for block in estimates(network, recording, how):
            if "top_gain" in block:
                block["vocals"] = full_band(block)
            for stem, writer in writers.items():
                writer.write(block[stem])
    return Made(files, {})


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
        lambda network, item, folder: separate_item(network, item, config, folder), _describe, job,
    )  # fmt: skip
    run_shard(stage, read_manifest(in_manifest), out_manifest, job.store, [in_manifest])
