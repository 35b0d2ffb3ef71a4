"""postmask: the beta-Wiener mask between the speech and what was removed from the mixture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audiorestorer import audio
from audiorestorer.config import PostmaskSettings
from audiorestorer.digest import code_digest
from audiorestorer.dsp import stft
from audiorestorer.dsp.wiener import apply_floor, beta_wiener
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.stages.job import Job
from audiorestorer.stages.shard import ItemResult, Stage, run_shard
from audiorestorer.store import Entry


def postmask_spectra(
    speech: stft.Spectrum, mixture: stft.Spectrum, settings: PostmaskSettings, keep_from_bin: int | None = None
) -> stft.Spectrum:
    """max(W, floor) V, with W = 1 from `keep_from_bin` on. Spectra are `[C, N, F]`."""
    mask = apply_floor(beta_wiener(speech, mixture, settings.beta, settings.eps), settings.floor)
    if keep_from_bin is not None:
        mask[..., keep_from_bin:] = 1
    return speech * mask


def postmask_item(item: Item, settings: PostmaskSettings, folder: Path) -> ItemResult:
    """Write `masked.wav`, float32, exactly as long as the input. A band that the denoiser's config says to keep is left alone."""
    info = audio.probe(item.given)
    keep_from = None
    if item.high_band == "keep" and item.denoiser_nyquist_hz is not None:
        keep_from = int(np.ceil(item.denoiser_nyquist_hz * settings.n_fft / info.sample_rate))
    out = stft.process(
        [audio.blocks(item.path or ""), audio.blocks(item.given)], info.frames, settings.n_fft, settings.hop_length,
        lambda speech, mixture: postmask_spectra(speech, mixture, settings, keep_from),
    )  # fmt: skip
    target = folder / "masked.wav"
    audio.write_blocks(target, out, info.sample_rate, info.channels, expected_frames=info.frames)
    return ItemResult({target.name: target}, {})


def _describe(entry: Entry, item: Item) -> Item:
    return item.updated(path=str(entry.files["masked.wav"]), sha256=entry.sha256["masked.wav"])


def run(in_manifest: Path, out_manifest: Path, config: PostmaskSettings, job: Job) -> None:
    """Post-mask a shard."""
    stage: Stage[None] = Stage(
        name="postmask",
        settings=config.model_dump(exclude={"enabled"}),
        code=code_digest("stages.postmask"),
        load=lambda: None,
        process=lambda _, item, folder: postmask_item(item, config, folder),
        describe=_describe,
        inputs=lambda item: [
            item.sha256,
            item.given_sha256,
            item.high_band,
            item.denoiser_nyquist_hz,
        ],
    )
    run_shard(stage, read_manifest(in_manifest), out_manifest, job.store, [in_manifest])
