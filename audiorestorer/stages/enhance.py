"""enhance: mend a recording and make the band that it lacks (`separators.extension`), or regenerate it (`separators.enhancer`).
Where that changes the words, the version is taken in which nothing was made.

Two ways in: a shard of the pipeline, between postmask and loudness, and a folder of recordings (`enhance-folder IN OUT`). Finished
items lie in the store: a killed run goes on with the same line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiorestorer import audio
from audiorestorer.config import EnhanceSettings
from audiorestorer.digest import code_digest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json
from audiorestorer.formats.writing import Writer
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.metrics.context import EMBEDDED_RECOGNISER, Context
from audiorestorer.separators import ModelFiles
from audiorestorer.separators.enhancers import enhancer_of
from audiorestorer.separators.enhancing import RecordingEnhancer
from audiorestorer.separators.runtime.streaming import Recording
from audiorestorer.separators.word_gate import WordGate
from audiorestorer.stages.folder import delivered, describe, items_of
from audiorestorer.stages.job import Job
from audiorestorer.stages.network import NO_KEY
from audiorestorer.stages.shard import ItemResult, RejectItem, Stage, run_items, run_shard
from audiorestorer.store import Entry, sha256_file

ROWS = "enhance.jsonl"
LARGEST_SHARE = 0.5  # of the recording's energy, that a band above its own may hold: voices hold less above 2 kHz


@dataclass(frozen=True)
class Worker:
    """What a job loads once. `gate` None: no gate, or an enhancer that cannot change words."""

    enhancer: RecordingEnhancer
    gate: WordGate | None


@dataclass(frozen=True)
class Chosen:
    """Which version of a recording is taken: its file, its largest sample, and the row's fields."""

    path: Path
    peak: float
    row: dict[str, Any]


def run(
    in_manifest: Path,
    out_manifest: Path,
    config: EnhanceSettings,
    job: Job,
    model_json: Path,
    *,
    recogniser: Path | None = None,
    denoiser: Path | None = None,
) -> None:
    """Enhance a shard of the pipeline; the output is float32.

    Args:
        model_json, recogniser, denoiser: what `fetch-model` wrote; without a recogniser pocketsphinx, without a denoiser noise stays.

    Raises:
        AudioRestorerError: a model that cannot be used, or a recogniser that is configured and not given.
        StageFailed: an item failed in an unforeseen way.
    """
    model = ModelFiles.read(model_json)

    def process(worker: Worker, item: Item, folder: Path) -> ItemResult:
        chosen = enhance_item(worker, item, config.seed, folder)
        target = folder / "speech.wav"
        chosen.path.rename(target)
        return ItemResult({target.name: target}, chosen.row)

    other = ModelFiles.read(denoiser) if denoiser else None
    load = _loader(config, model, recogniser, job, other)
    stage = _stage("enhance", config, _weights(model, other), load, process, recogniser, describe=_described)
    run_shard(stage, read_manifest(in_manifest), out_manifest, job.store, [in_manifest])


def run_folder(
    source: Path,
    out: Path,
    model: Path | ModelFiles,
    config: EnhanceSettings,
    job: Job,
    *,
    recogniser: Path | None = None,
    denoiser: ModelFiles | None = None,
) -> list[Item]:
    """Enhance a file or a folder, in the input's sample format; where an integer one would clip, the whole is turned down.

    Args:
        source: a recording, or a folder of them (any nesting).
        out: a folder, made where absent, which mirrors the tree; of a single recording also the file to write.
        model: a checkpoint of this project, or a model of the registry. denoiser: of a model of kind extension; None: noise stays.

    Returns:
        The rows, also in `enhance.jsonl` in the output folder (beside a single output file: none): `output`, `enhanced`, `found` (of a
        model of kind extension: what was found and treated), of a recording that fell back to denoised `enhance_reason` and
        `enhance_wer`, and of a rejected one the reason.

    Raises:
        AudioRestorerError: nothing to do, an output that would replace an input, or a checkpoint that cannot be used.
        StageFailed: a recording failed in an unforeseen way; the others are done.
    """
    items = items_of(source, out, "enhance", job.store)

    def process(worker: Worker, item: Item, scratch: Path) -> ItemResult:
        chosen = enhance_item(worker, item, config.seed, scratch)
        kind, subtype = audio.output_format(audio.probe(item.noisy), _suffix(item))
        target = scratch / f"output{_suffix(item)}"
        gain_db = audio.write_below_full_scale(chosen.path, target, chosen.peak, format=kind, subtype=subtype)
        return ItemResult({target.name: target}, {**chosen.row, "gain_db": gain_db})

    load = _loader(config, model, recogniser, job, denoiser)
    stage = _stage("enhance-folder", config, _weights(model, denoiser), load, process, recogniser, _suffix)
    rows = delivered(run_items(stage, items, job.store), source, out, ROWS, job.store, stage.name)
    for item in rows:
        if item.found is not None:
            print(f"{item.output}: {', '.join(item.found) or 'nothing found'}", flush=True)
    count = sum(item.ok and bool(item.enhanced) for item in rows)
    print(f"{sum(item.ok for item in rows)} of {len(rows)} done, {count} of them enhanced", flush=True)
    return rows


def enhance_item(worker: Worker, item: Item, seed: int, folder: Path) -> Chosen:
    """Write both versions of a recording into `folder`, float32, and choose one. The noise depends on its content and on `seed`.

    Raises:
        RejectItem: unreadable, empty, or not finite.
    """
    path = item.path or item.noisy
    try:
        found: list[str] = []
        peaks, share = _written(worker.enhancer, Recording.of_file(path), _seed_of(item, seed), folder, found)
    except AudioRestorerError as error:
        raise RejectItem(str(error)) from error
    files = {name: folder / f"{name}.wav" for name in peaks}
    anew = worker.enhancer.may_change_words
    row: dict[str, Any] = {"enhanced": "enhanced" in files if anew else bool(found)}
    if not anew:
        row["found"] = found
    if not anew and share > LARGEST_SHARE:
        row.update(
            enhanced=False, enhance_reason=f"what was made holds {share:.0%} of the energy: speech holds less there"
        )
    elif row["enhanced"] and worker.gate is not None:
        verdict = worker.gate.judge(str(files["denoised"]), str(files["enhanced"]), item.transcript)
        row.update(enhanced=not verdict.changed, enhance_wer=verdict.wer)
        if verdict.reason:
            row["enhance_reason"] = verdict.reason
    name = "enhanced" if row["enhanced"] and "enhanced" in files else "denoised"
    return Chosen(files[name], peaks[name], row)


def _written(
    enhancer: RecordingEnhancer, recording: Recording, seed: int, folder: Path, found: list[str]
) -> tuple[dict[str, float], float]:
    """Write `denoised.wav` and `enhanced.wav`; the largest sample of each, and the energy of their difference to the first's."""
    rate = enhancer.output_rate(recording.sample_rate)
    frames = round(recording.frames * rate / recording.sample_rate)
    peaks: dict[str, float] = {}
    writers: dict[str, Writer] = {}
    energy, change = 0.0, 0.0
    with ExitStack() as stack:
        for blocks in enhancer.stream(recording, seed, found, folder):
            for name, block in blocks.items():
                if name not in writers:
                    writer = Writer(
                        folder / f"{name}.wav", rate, recording.channels, expected_frames=frames
                    )  # fmt: skip
                    writers[name] = stack.enter_context(writer)
                writers[name].write(block)
                peaks[name] = max(peaks.get(name, 0.0), float(np.abs(block).max(initial=0.0)))
            energy += float(np.square(blocks["denoised"], dtype=np.float64).sum())
            if "enhanced" in blocks:
                change += float(np.square(blocks["enhanced"] - blocks["denoised"], dtype=np.float64).sum())
    return peaks, change / energy if energy else 0.0


def _described(entry: Entry, item: Item) -> Item:
    return describe(entry, item).updated(unenhanced=item.path)


def _suffix(item: Item) -> str:
    return Path(item.output or "").suffix.lower()


def _seed_of(item: Item, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{item.sha256}".encode()).digest()[:6], "little")


def _loader(
    config: EnhanceSettings, model: Path | ModelFiles, recogniser: Path | None, job: Job, denoiser: ModelFiles | None
) -> Callable[[], Worker]:
    """Raises AudioRestorerError: a recogniser is configured and not given."""
    gated = config.max_wer is not None and not config.denoise_only
    if gated and recogniser is None and config.recogniser != EMBEDDED_RECOGNISER:
        raise AudioRestorerError(f"enhance: --recogniser is needed: the fetched model {config.recogniser!r}")

    def load() -> Worker:
        enhancer = enhancer_of(model, config, job.device, job.threads, denoiser)
        if not (gated and config.max_wer and enhancer.may_change_words):
            return Worker(enhancer, None)
        context = Context(read_json(recogniser) if recogniser else None, device=enhancer.device, threads=job.threads)
        return Worker(enhancer, WordGate.load(context, config.max_wer))

    return load


def _stage(
    name: str,
    config: EnhanceSettings,
    weights: str,
    load: Callable[[], Worker],
    process: Callable[[Worker, Item, Path], ItemResult],
    recogniser: Path | None,
    suffix: Callable[[Item], str | None] = lambda item: None,
    describe: Callable[[Entry, Item], Item] = describe,
) -> Stage[Worker]:
    """`suffix`: of the output's name, where the output's format follows it."""
    judge = [read_json(recogniser)["digest"] if recogniser else EMBEDDED_RECOGNISER] if config.max_wer else []
    return Stage(
        name=name,
        settings=[config.model_dump(exclude=NO_KEY), *judge],
        code=code_digest("stages.enhance", *([_recogniser_module(recogniser)] if judge else [])),
        weights=weights,
        load=load,
        process=process,
        describe=describe,
        inputs=lambda item: [item.sha256, item.transcript if judge else None, suffix(item)],
    )


def _recogniser_module(recogniser: Path | None) -> str:
    return f"metrics.recognisers.{read_json(recogniser)['kind'] if recogniser else EMBEDDED_RECOGNISER}"


def _weights(model: Path | ModelFiles, denoiser: ModelFiles | None) -> str:
    """A digest of the models; raises AudioRestorerError: unreadable."""
    try:
        own = model.digest if isinstance(model, ModelFiles) else sha256_file(model)
    except OSError as error:
        raise AudioRestorerError(f"{model}: cannot read: {error.strerror}") from error
    return f"{own}:{denoiser.digest}" if denoiser else own
