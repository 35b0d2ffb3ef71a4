"""fuse: the separators' soft ratio masks, fused by maximum or mean, on the mixture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audiorestorer import audio
from audiorestorer.config import FuseSettings
from audiorestorer.digest import code_digest
from audiorestorer.dsp import stft
from audiorestorer.dsp.masks import Mask, fuse_max, fuse_mean, ratio_mask
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.stages.job import Job
from audiorestorer.stages.shard import ItemResult, Stage, run_shard
from audiorestorer.store import Entry

Estimates = list[tuple[str, str | None]]  # files of each separator: (vocals, accompaniment or None)


def separator_masks(
    mixture: stft.Spectrum, stems: Iterable[stft.Spectrum], estimates: Estimates, settings: FuseSettings
) -> list[Mask]:
    """Of each separator |V_i|^p / (|V_i|^p + |A_i|^p + eps).

    Args:
        mixture: X, `[C, N, F]`.
        stems: spectra of the files that `estimates` name, in their order; where there is no A_i, it is X - V_i.
    """
    rest = iter(stems)
    pairs = [(next(rest), next(rest) if accompaniment else None) for _, accompaniment in estimates]
    return [ratio_mask(v, mixture - v if a is None else a, settings.eps, settings.power) for v, a in pairs]


def fuse_item(item: Item, settings: FuseSettings, folder: Path) -> ItemResult:
    """Write `speech.wav`, float32, exactly as long as the mixture: V = M X with M the maximum or the mean of the masks."""
    info = audio.probe(item.noisy)
    estimates: Estimates = item.estimates or []
    paths = [path for pair in estimates for path in pair if path]
    fuse = fuse_max if settings.method == "max" else fuse_mean

    def function(mixture: stft.Spectrum, *stems: stft.Spectrum) -> stft.Spectrum:
        return mixture * fuse(separator_masks(mixture, stems, estimates, settings))

    streams = [audio.blocks(path) for path in (item.noisy, *paths)]
    out = stft.process(streams, info.frames, settings.n_fft, settings.hop_length, function)
    target = folder / "speech.wav"
    audio.write_blocks(target, out, info.sample_rate, info.channels, expected_frames=info.frames)
    return ItemResult({target.name: target}, {})


def join(manifests: list[list[Item]]) -> list[Item]:
    """One row an item from the rows of all separators; rejected by one is rejected.

    Returns:
        Rows with the field `estimates`: (vocals, accompaniment or None) a separator, and `estimates_sha256`.

    Raises:
        AudioRestorerError: the manifests do not hold the same items.
    """
    tables: list[dict[str, Item]] = [{item.id: item for item in rows} for rows in manifests]
    if any(table.keys() != tables[0].keys() for table in tables):
        raise AudioRestorerError("fuse: the separators' manifests do not hold the same items: run the separators again")
    joined = []
    for item_id, first in tables[0].items():
        rows = [table[item_id] for table in tables]
        bad = next((row for row in rows if not row.ok), None)
        if bad is not None:
            joined.append(bad)
            continue
        estimates = [((row.stems or {})["vocals"], (row.stems or {}).get("accompaniment")) for row in rows]
        joined.append(first.updated(estimates=estimates, estimates_sha256=[row.sha256 for row in rows]))
    return joined


def _inputs(item: Item) -> Any:
    # an accompaniment's file name in the store is the key of what made it
    accompaniments = [Path(path).name if path else None for _, path in item.estimates or ()]
    return [item.noisy_sha256, item.estimates_sha256, accompaniments]


def _describe(entry: Entry, item: Item) -> Item:
    name = "speech.wav"
    row = item.model_dump(exclude={"stems", "estimates", "estimates_sha256"})
    return Item.model_validate({**row, "path": str(entry.files[name]), "sha256": entry.sha256[name]})


def run(in_manifests: list[Path], out_manifest: Path, config: FuseSettings, job: Job) -> None:
    """Fuse a shard; one input manifest a separator."""
    stage: Stage[None] = Stage(
        name="fuse",
        settings=config.model_dump(),
        code=code_digest("stages.fuse"),
        load=lambda: None,
        process=lambda _, item, folder: fuse_item(item, config, folder),
        describe=_describe,
        inputs=_inputs,
    )
    run_shard(stage, join([read_manifest(path) for path in in_manifests]), out_manifest, job.store, in_manifests)
