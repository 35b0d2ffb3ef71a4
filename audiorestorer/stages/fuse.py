"""fuse: one estimate of the speech from the separators'.

`max`, `mean`: of their soft ratio masks, on the mixture. `average`: of the estimates themselves, with their phases. `learned`: a small
network weighs them in each bin (`models.fusion`); where a model takes part that it was not trained with, `average` takes its place.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.config import FuseSettings
from audiorestorer.digest import code_digest
from audiorestorer.dsp import stft
from audiorestorer.dsp.masks import Mask, fuse_max, fuse_mean, ratio_mask
from audiorestorer.dsp.overlap_add import Plan, process
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.stages.job import Job
from audiorestorer.stages.shard import ItemResult, Stage, run_shard
from audiorestorer.store import Entry

if TYPE_CHECKING:
    from audiorestorer.models.fusion import FusionConfig, Network

SEGMENT_SEC, CONTEXT_SEC, OVERLAP = 12.0, 1.0, 0.25  # of the windows that the fusion network sees
log = logging.getLogger("audiorestorer")
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


def fuse_item(fuser: Fuser | None, item: Item, settings: FuseSettings, folder: Path) -> ItemResult:
    """Write `speech.wav`, float32, exactly as long as the mixture. `fuser`: the network of method `learned`."""
    info = audio.probe(item.given)
    estimates: Estimates = item.estimates or []
    if settings.method in ("max", "mean"):
        out = _by_masks(item, estimates, settings, info.frames)
    else:
        streams = [audio.blocks(path) for path in (item.given, *(vocals for vocals, _ in estimates))]
        out = _averaged(streams[1:]) if fuser is None else fuser(streams, info)
    target = folder / "speech.wav"
    audio.write_blocks(target, out, info.sample_rate, info.channels, expected_frames=info.frames)
    return ItemResult({target.name: target}, {})


def _by_masks(item: Item, estimates: Estimates, settings: FuseSettings, frames: int) -> Iterator[Audio]:
    """V = M X with M the maximum or the mean of the masks."""
    paths = [path for pair in estimates for path in pair if path]
    fuse = fuse_max if settings.method == "max" else fuse_mean

    def function(mixture: stft.Spectrum, *stems: stft.Spectrum) -> stft.Spectrum:
        return mixture * fuse(separator_masks(mixture, stems, estimates, settings))

    streams = [audio.blocks(path) for path in (item.given, *paths)]
    return stft.process(streams, frames, settings.n_fft, settings.hop_length, function)


def _side_by_side(streams: Sequence[Iterable[Audio]]) -> Iterator[Audio]:
    """Streams of `[C, n]` blocks as one of `[streams, C, n]`."""
    size = 1 << 16
    for blocks in zip(*(audio.rechunk(stream, size) for stream in streams), strict=True):
        yield np.stack(blocks)


def _averaged(streams: Sequence[Iterable[Audio]]) -> Iterator[Audio]:
    for block in _side_by_side(streams):
        yield block.mean(axis=0, dtype=np.float32)


class Fuser:
    """The fusion network over whole recordings. `order`: the place of each of its sources among the separators."""

    def __init__(self, config: FusionConfig, network: Network, order: Sequence[int]) -> None:
        self.config, self.network, self.order = config, network, order

    def __call__(self, streams: Sequence[Iterable[Audio]], info: audio.AudioInfo) -> Iterator[Audio]:
        """Blocks `[C, n]` of the speech; `streams`: the mixture, then the estimates in the separators' order."""
        from audiorestorer.models.fusion import fused

        rate, channels, count = info.sample_rate, info.channels, len(streams)
        ordered = [streams[0], *(streams[1 + place] for place in self.order)]

        def run(windows: Audio) -> Audio:
            rows, _, length = windows.shape
            signals = windows.reshape(rows, count, channels, length).swapaxes(1, 2).reshape(-1, count, length)
            return fused(self.config, self.network, signals, rate).reshape(rows, channels, length)

        segment, context = round(SEGMENT_SEC * rate), round(CONTEXT_SEC * rate)
        plan = Plan(segment, round((1 - OVERLAP) * segment), lambda _: (context, context), "cut")
        stacked = (block.reshape(-1, block.shape[-1]) for block in _side_by_side(ordered))
        return process(stacked, info.frames, plan, run)


def fuser_of(model_json: Path | None, settings: FuseSettings, models: Sequence[str]) -> Fuser | None:
    """The network of method `learned`; None for the others, and where it was not trained with these models.

    Args:
        models: of the separators, in their order.

    Raises:
        AudioRestorerError: no fetched model, or one that cannot be used.
    """
    if settings.method != "learned":
        return None
    if model_json is None:
        raise AudioRestorerError(f"fuse: --model is needed: make it with `audiorestorer fetch-model {settings.model}`")
    from audiorestorer.models import fusion
    from audiorestorer.separators import ModelFiles

    config, network = fusion.load(ModelFiles.read(model_json).one(".safetensors"))
    if sorted(config.sources) != sorted(models):
        log.warning(
            "fuse: %s was trained with %s, not with %s: the estimates are averaged",
            settings.model, " and ".join(config.sources), " and ".join(models) or "models that are not named",
        )  # fmt: skip
        return None
    return Fuser(config, network, [models.index(name) for name in config.sources])


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
    return [item.given_sha256, item.estimates_sha256, accompaniments]


def _describe(entry: Entry, item: Item) -> Item:
    name = "speech.wav"
    row = item.model_dump(exclude={"stems", "estimates", "estimates_sha256"})
    return Item.model_validate({**row, "path": str(entry.files[name]), "sha256": entry.sha256[name]})


def run(
    in_manifests: list[Path],
    out_manifest: Path,
    config: FuseSettings,
    job: Job,
    model_json: Path | None = None,
    models: Sequence[str] = (),
) -> None:
    """Fuse a shard; one input manifest a separator.

    Args:
        model_json: record of the fusion network, for method `learned`.
        models: the separators' models in the order of the manifests.
    """
    is_learned = config.method == "learned"
    stage: Stage[Fuser | None] = Stage(
        name="fuse",
        settings={**config.model_dump(exclude={"model"}), **({"models": list(models)} if is_learned else {})},
        code=code_digest("stages.fuse"),
        weights=_digest(model_json) if is_learned else "",
        model=str(config.model) if is_learned else "",
        load=lambda: fuser_of(model_json, config, models),
        process=lambda fuser, item, folder: fuse_item(fuser, item, config, folder),
        describe=_describe,
        inputs=_inputs,
        in_work=lambda fuser: job.threads if fuser else 1,
    )
    run_shard(stage, join([read_manifest(path) for path in in_manifests]), out_manifest, job.store, in_manifests)


def _digest(model_json: Path | None) -> str:
    from audiorestorer.separators import ModelFiles

    return ModelFiles.read(model_json).digest if model_json else ""
