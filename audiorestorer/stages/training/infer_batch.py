"""Run one checkpoint over a folder or a manifest, and measure it where clean references are known.

For whoever trains: the render half (`snakemake`) is for batches. Finished files are kept: `infer.jsonl` in the output folder says of
each what it was made from, so that a killed run goes on and a changed input, checkpoint or option is done again.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from audiorestorer import audio
from audiorestorer.devices import pick_device
from audiorestorer.digest import code_digest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import inside, read_lines, write_csv, write_text_atomic
from audiorestorer.folders import keep_apart, keep_inputs
from audiorestorer.intake.pairs import of_references, references_of
from audiorestorer.manifest import output_names, unique_ids
from audiorestorer.metrics import triads
from audiorestorer.models.mask_unet import load_checkpoint
from audiorestorer.names import as_text, is_text
from audiorestorer.separators import Loaded
from audiorestorer.separators.mask_network import MaskNetwork
from audiorestorer.separators.runtime.streaming import Recording, estimates, full_band
from audiorestorer.store import key_of, sha256_file
from audiorestorer.training.settings import check_network

log = logging.getLogger("audiorestorer")

INDEX = "infer.jsonl"
FIELDS = ("id", "input", "output", "seconds", *triads.FIGURES, "status", "reason")


@dataclass(frozen=True)
class _Job:
    id: str
    source: Path
    target: Path
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
    device: str = "auto",
    threads: int = 1,
) -> list[dict[str, Any]]:
    """Write each recording's output below `out`, in its input's rate and channels, exactly as long.

    Args:
        source: a folder (any nesting), or a JSONL manifest (rows with `noisy`, or `clean` and `noisy`, and `id`).
        config: experiment file; its network must be the checkpoint's.
        clean: folder of references with the inputs' relative names (the suffix may differ).
        metrics_csv: one row a file: the triads' figures, or the reason why there are none.
        overlap, floor_db: see `MaskUNet.speech_and_mask`; the floor in dB below the mixture.

    Returns:
        The rows of the CSV.

    Raises:
        AudioRestorerError: nothing to do, folders that overlap, an output that would replace an input, a checkpoint that cannot be
            used, or settings that are not the checkpoint's.
    """
    folders = {"--in": None if Path(source).is_file() else source, "--clean": clean}
    keep_apart({**folders, "--checkpoint": checkpoint}, {"--metrics": metrics_csv})
    keep_apart(folders, {"--out": out})
    network, metadata = load_checkpoint(checkpoint)
    if config is not None:
        check_network(network.config, Path(config))
    jobs = (
        _manifest_jobs(Path(source), Path(out))
        if Path(source).is_file()
        else _folder_jobs(Path(source), Path(out), clean)
    )
    targets = [job.target for job in jobs] + [Path(out) / INDEX] + ([Path(metrics_csv)] if metrics_csv else [])
    keep_inputs(targets, [Path(source), *(path for job in jobs for path in (job.source, job.clean) if path)])
    options = {
        "overlap": overlap,
        "floor_db": floor_db,
        "code": code_digest("stages.training.infer_batch", "separators.mask_network"),
    }
    weights = sha256_file(checkpoint)
    separator = MaskNetwork(network, int(metadata["sample_rate"]), pick_device(device, threads), overlap, floor_db)
    rows = []
    with _Finished(Path(out) / INDEX) as finished:
        for number, job in enumerate(jobs, 1):
            rows.append(_one(job, separator, finished, options, weights, measure=metrics_csv is not None))
            print(
                f"{number}/{len(jobs)} {job.id}: {rows[-1]['status']} {rows[-1].get('reason', '')}".rstrip(), flush=True
            )
    if metrics_csv:
        write_csv(metrics_csv, FIELDS, rows)
    _say(rows)
    return rows


class _Finished:
    """The index of finished files: read at the start, a line added after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys: dict[str, str] = {}

    def __enter__(self) -> _Finished:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else ():
            try:
                row = json.loads(line)
                self.keys[row["output"]] = row["key"]
            except (ValueError, KeyError, TypeError):
                continue  # the line on which a run was killed
        # written anew, so that lines are added to a file of this folder alone, whatever the name was linked to
        write_text_atomic(self.path, "".join(_line(output, key) for output, key in self.keys.items()))
        self._file = open(self.path, "a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, output: str, key: str) -> None:
        self._file.write(_line(output, key))
        self._file.flush()
        self.keys[output] = key


def _line(output: str, key: str) -> str:
    return json.dumps({"output": output, "key": key}) + "\n"


def _one(
    job: _Job, separator: MaskNetwork, finished: _Finished, options: dict[str, Any], weights: str, *, measure: bool
) -> dict[str, Any]:
    row: dict[str, Any] = {"id": job.id, "input": as_text(str(job.source)), "output": as_text(str(job.target))}
    try:
        info = audio.probe(job.source)
        if not info.frames:
            raise AudioRestorerError(f"{job.source}: empty: no samples")
        if info.note:
            log.warning("%s: %s", as_text(str(job.source)), info.note)
        key = key_of(content=sha256_file(job.source), settings=options, weights=weights)
        if not (finished.keys.get(row["output"]) == key and job.target.exists()):
            recording = Recording.of_file(str(job.source))
            spoken = (full_band(block) for block in estimates(Loaded(separator), recording))
            audio.write_blocks(job.target, spoken, info.sample_rate, info.channels, expected_frames=info.frames)
            finished.add(row["output"], key)
        row |= {"seconds": round(info.duration_sec, 3), "status": "ok"}
        if measure and job.clean is None:
            row["reason"] = "no clean reference"
        elif measure and job.clean is not None:
            row |= _figures(job.source, job.target, job.clean)
    except AudioRestorerError as error:
        row |= {"status": "rejected", "reason": str(error)}
    return row


def _figures(noisy: Path, yhat: Path, clean: Path) -> dict[str, Any]:
    """The figures of a finished output; a reference that cannot be read is a reason, and the output stays good."""
    try:
        values, reason = triads.measure(noisy, yhat, clean)
    except AudioRestorerError as error:
        return {"reason": f"not measured: {error}"}
    return {**triads.rounded(values), "reason": reason if values else f"not measured: {reason}"}


def _folder_jobs(source: Path, out: Path, clean: Path | None) -> list[_Job]:
    paths = audio.recordings(source)
    ids = unique_ids(list(paths))
    outputs = output_names({name: str(Path(name).with_suffix(".wav")) for name in paths})
    references = references_of(clean, list(paths))
    jobs = []
    for name, path in paths.items():
        jobs.append(_Job(ids[name], path, out / outputs[name], references.of.get(name)))
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
        jobs.append(_Job(name, source, inside(out, f"{name}.wav"), clean))
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
