"""Run one checkpoint over a folder or a manifest, and measure it where clean references are known.

For whoever trains: the render half (`snakemake`) is for batches. Finished items lie in the store, so that a killed run goes on and a
changed input, checkpoint or option is done again. What is measured is what the model made, also where somebody has edited the copy of
it in the output folder: that copy is kept, and the log says so.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.devices import pick_device
from audiorestorer.digest import code_digest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import inside, read_lines, write_csv
from audiorestorer.folders import keep_apart, keep_inputs
from audiorestorer.intake.pairs import of_references, references_of
from audiorestorer.manifest import Item, output_names, unique_ids
from audiorestorer.metrics import triads
from audiorestorer.names import NOT_TEXT, as_text, is_text
from audiorestorer.separators import Loaded
from audiorestorer.separators.mask_network import Checkpoint
from audiorestorer.separators.runtime.streaming import Recording, estimates, full_band
from audiorestorer.stages.folder import delivered, describe
from audiorestorer.stages.job import Job
from audiorestorer.stages.shard import ItemResult, RejectItem, Stage, run_items
from audiorestorer.store import sha256_file
from audiorestorer.training.settings import check_network

log = logging.getLogger("audiorestorer")

COMMAND = "infer-batch"
ROWS = "infer.jsonl"
FIELDS = ("id", "input", "output", "seconds", *triads.FIGURES, "status", "reason")


@dataclass(frozen=True)
class _Job:
    """A recording, the name of its output below the output folder, and its reference."""

    id: str
    source: Path
    output: str
    clean: Path | None


def run(
    source: Path,
    checkpoint: Path,
    out: Path,
    *,
    config: Path | None = None,
    clean: Path | None = None,
    metrics_csv: Path | None = None,
    overlap: int | None = None,
    floor_db: float | None = None,
    job: Job | None = None,
) -> list[dict[str, Any]]:
    """Write each recording's output below `out`, in its input's rate and channels, exactly as long.

    Args:
        source: a folder (any nesting), or a JSONL manifest (rows with `noisy`, or `clean` and `noisy`, and `id`).
        config: experiment file; its network must be the checkpoint's.
        clean: folder of references with the inputs' relative names (the suffix may differ).
        metrics_csv: one row per file: the triads' figures, or the reason why there are none.
        overlap, floor_db: see `models.mask_arrays.speech_and_mask`; the floor in dB below the mixture.

    Returns:
        The rows of the CSV. Those of the items are in `infer.jsonl` in the output folder.

    Raises:
        AudioRestorerError: nothing to do, folders that overlap, an output that would replace an input, a checkpoint that cannot be
            used, or settings that are not the checkpoint's.
        StageFailed: a recording failed in an unforeseen way; the others are done.
    """
    source, out, job = Path(source), Path(out), job or Job()
    if not is_text(str(out)):
        raise AudioRestorerError(f"{as_text(str(out))}: {NOT_TEXT}")
    folders = {"--in": None if source.is_file() else source, "--clean": clean}
    keep_apart({**folders, "--checkpoint": checkpoint}, {"--metrics": metrics_csv})
    keep_apart(folders, {"--out": out, "--store": job.store})
    weights = Checkpoint(checkpoint, overlap, floor_db)
    if config is not None:
        check_network(weights.config, Path(config))
    recordings = _manifest_jobs(source, out) if source.is_file() else _folder_jobs(source, clean)
    written = [
        *(inside(out, one.output) for one in recordings),
        out / ROWS,
        *([Path(metrics_csv)] if metrics_csv else []),
    ]
    keep_inputs(written, [source, *(path for one in recordings for path in (one.source, one.clean) if path)])
    stage: Stage[Loaded] = Stage(
        name=COMMAND,
        settings={"overlap": overlap, "floor_db": floor_db},
        code=code_digest("stages.training.infer_batch", "separators.mask_network"),
        weights=sha256_file(checkpoint),
        load=lambda: Loaded(weights.load(pick_device(job.device, job.threads), job.threads)),
        in_work=lambda loaded: loaded.network.in_work,
        process=lambda separator, item, scratch: _restored(separator, item, scratch),
        describe=describe,
    )
    items = run_items(stage, [_item(one) for one in recordings], job.store)
    items = delivered(items, source.parent if source.is_file() else source, out, ROWS, job.store, COMMAND)
    rows = []
    for number, (one, item) in enumerate(zip(recordings, items, strict=True), 1):
        row = _row(one, item, out, measure=metrics_csv is not None)
        print(f"{number}/{len(recordings)} {one.id}: {row['status']} {row.get('reason', '')}".rstrip(), flush=True)
        rows.append(row)
    if metrics_csv:
        write_csv(metrics_csv, FIELDS, rows)
    _say(rows)
    return rows


def _item(job: _Job) -> Item:
    """The recording, looked into; what cannot be used is a rejected row."""
    path = str(job.source)
    item = Item(id=job.id, noisy=as_text(path), relative=as_text(path), output=as_text(job.output))
    try:
        info = audio.probe(job.source)
        if not info.frames:
            raise AudioRestorerError(f"{path}: empty: no samples")
    except AudioRestorerError as error:
        return item.rejected(str(error))
    if info.note:
        log.warning("%s: %s", as_text(path), info.note)
    return item.updated(path=path, sha256=sha256_file(path), duration=info.duration_sec)


def _restored(network: Loaded, item: Item, folder: Path) -> ItemResult:
    """Raises RejectItem: unreadable, or not finite."""
    target = folder / "speech.wav"
    try:
        info = audio.probe(item.noisy)
        speech: Iterator[Audio] = map(full_band, estimates(network, Recording.of_file(item.noisy)))
        audio.write_blocks(target, speech, info.sample_rate, info.channels, expected_frames=info.frames)
    except AudioRestorerError as error:
        raise RejectItem(str(error)) from error
    return ItemResult({target.name: target}, {})


def _row(job: _Job, item: Item, out: Path, *, measure: bool) -> dict[str, Any]:
    """The item's row of the CSV."""
    row: dict[str, Any] = {"id": job.id, "input": item.noisy, "output": as_text(str(out / job.output))}
    if not item.ok:
        return {**row, "status": "rejected", "reason": (item.reason or "").removeprefix(f"{COMMAND}: ")}
    row |= {"seconds": round(item.duration or 0.0, 3), "status": "ok"}
    if not measure:
        return row
    if job.clean is None:
        return {**row, "reason": "no clean reference"}
    return {**row, **_figures(job.source, Path(item.path or ""), job.clean)}


def _figures(noisy: Path, yhat: Path, clean: Path) -> dict[str, Any]:
    """The figures of a finished output; a reference that cannot be read is a reason, and the output stays good."""
    try:
        values, reason = triads.measure(noisy, yhat, clean)
    except AudioRestorerError as error:
        return {"reason": f"not measured: {error}"}
    return {**triads.rounded(values), "reason": reason if values else f"not measured: {reason}"}


def _folder_jobs(source: Path, clean: Path | None) -> list[_Job]:
    paths = audio.recordings(source)
    ids = unique_ids(list(paths))
    outputs = output_names({name: str(Path(name).with_suffix(".wav")) for name in paths})
    references = references_of(clean, list(paths))
    jobs = []
    for name, path in paths.items():
        jobs.append(_Job(ids[name], path, outputs[name], references.of.get(name)))
    for entry in of_references(references, list(paths), clean):
        print(entry["text"], flush=True)
    return jobs


def _manifest_jobs(manifest: Path, out: Path) -> list[_Job]:
    jobs, ids = [], set()
    for number, line in read_lines(manifest):
        try:
            row = json.loads(line)
            name = str(row["id"])
            source = manifest.parent / str(row["noisy"] or row["clean"])
        except (ValueError, KeyError, TypeError) as error:
            raise AudioRestorerError(f"{manifest}:{number}: needs id and noisy: {error}") from error
        if not is_text(name):
            raise AudioRestorerError(f"{manifest}:{number}: id: {as_text(name)!r} is not UTF-8 text")
        if name in ids:
            raise AudioRestorerError(f"{manifest}:{number}: id: {name!r} occurs twice")
        ids.add(name)
        clean = manifest.parent / str(row["clean"]) if row.get("noisy") and row.get("clean") else None
        jobs.append(_Job(name, source, str(inside(out, f"{name}.wav").relative_to(out)), clean))
    if not jobs:
        raise AudioRestorerError(f"{manifest}: no rows")
    return jobs


def _say(rows: list[dict[str, Any]]) -> None:
    done = sum(row["status"] == "ok" for row in rows)
    parts = [f"{done} of {len(rows)} done"]
    for name in ("delta_si_db", "delta_lsd_db", "residual_percent", "composite"):
        values = [row[name] for row in rows if name in row]
        if values:
            parts.append(f"median {name} {median(values):.2f} (n={len(values)})")
    print("; ".join(parts))
