"""denoise: out = wet * D(V) + (1 - wet) * V, aligned to the sample; the band above the denoiser's Nyquist is not thrown away.

`high_band`: `keep` adds that band of V to D(V) in full and the post-mask leaves it alone; `mask` adds it for the post-mask to judge
(a `checkpoint` denoiser scales it by its own top gain first); `drop` leaves it out of D(V).
"""

from __future__ import annotations

from pathlib import Path

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.config import DenoiseSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.separators import Loaded
from audiorestorer.separators.runtime.streaming import Recording, estimates
from audiorestorer.stages.job import Job
from audiorestorer.stages.network import network_stage
from audiorestorer.stages.shard import ItemResult, RejectItem, run_shard
from audiorestorer.store import Entry


def mix(block: dict[str, Audio], wet: float, high_band: str) -> Audio:
    """One block `[C, n]` of the output from what `separators.runtime.streaming.estimates` gives."""
    denoised = block["vocals"]
    if high_band == "keep":
        denoised = denoised + block["high"]
    elif high_band == "mask":
        denoised = denoised + (block["top_gain"] * block["high"] if "top_gain" in block else block["high"])
    out: Audio = wet * denoised + (1 - wet) * block["input"]
    return out.astype("float32", copy=False)


def denoise_item(loaded: Loaded, item: Item, settings: DenoiseSettings, folder: Path) -> ItemResult:
    """Write `denoised.wav`, float32, exactly as long as the input.

    Raises:
        RejectItem: the speech has no samples or cannot be read.
    """
    try:
        recording = Recording.of_file(item.path or item.noisy)
    except AudioRestorerError as error:
        raise RejectItem(str(error)) from error
    if not recording.frames:
        raise RejectItem("empty: no samples")
    path = folder / "denoised.wav"
    audio.write_blocks(
        path,
        (
            mix(block, settings.wet, settings.high_band)
            for block in estimates(loaded, recording, overlap=settings.overlap)
        ),
        recording.sample_rate,
        recording.channels,
        expected_frames=recording.frames,
    )
    return ItemResult({path.name: path}, {"denoiser_nyquist_hz": loaded.network.sample_rate / 2})


def run(
    in_manifest: Path,
    out_manifest: Path,
    config: DenoiseSettings,
    job: Job,
    model_json: Path | None,
) -> None:
    """Denoise a shard; with no model the rows pass through untouched.

    Raises:
        AudioRestorerError: no fetched model, or one that cannot be used.
        StageFailed: an item failed in an unforeseen way.
    """
    items = read_manifest(in_manifest)
    if config.model is None:
        write_manifest(out_manifest, items)
        return

    def describe(entry: Entry, item: Item) -> Item:
        name = "denoised.wav"
        return item.updated(
            path=str(entry.files[name]),
            sha256=entry.sha256[name],
            high_band=config.high_band,
            denoiser_nyquist_hz=entry.row["denoiser_nyquist_hz"],
        )

    stage = network_stage(
        "denoise", config, model_json, ("vocals",),
        lambda loaded, item, folder: denoise_item(loaded, item, config, folder), describe,
        job,
    )  # fmt: skip
    run_shard(stage, items, out_manifest, job.store, [in_manifest])
