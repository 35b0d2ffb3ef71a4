"""Filter a folder of noises: what a denoiser should learn is kept as a manifest, the rest is listed with its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from audiorestorer import audio
from audiorestorer.config import validate
from audiorestorer.datasets.noise.features import Features, measure
from audiorestorer.datasets.noise.filter import NoiseFilterSettings, class_of, label_of, rejection
from audiorestorer.datasets.splits import split_of
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import named_from, write_bytes_atomic, write_csv, write_json, write_rows
from audiorestorer.manifest import unique_ids
from audiorestorer.names import as_text
from audiorestorer.report.figures import AFTER, png_bytes
from audiorestorer.store import sha256_file

FIELDS = ("path", "class", "label", "kept", "reason", *(field.name for field in fields(Features)))
PROGRESS_EVERY = 50


def run(
    root: Path,
    out_manifest: Path,
    out_csv: Path,
    *,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    figure: Path | None = None,
) -> dict[str, Any]:
    """Measure every recording below `root`; write the manifest of those kept, the CSV of all, and the coverage (`.json` beside it).

    Splits follow the content, so that a file keeps its split whatever else is added; equal content is kept once.

    Returns:
        Coverage: files, kept, by class the count and the minutes, by reason the rejected.

    Raises:
        AudioRestorerError: no folder, no recordings, or all were rejected.
    """
    thresholds = validate(NoiseFilterSettings, settings or {}, "noise filter")
    root = Path(root)
    paths = audio.recordings(root)
    ids = unique_ids(list(paths))
    seen: dict[str, Path] = {}
    table, kept = [], []
    for number, (name, path) in enumerate(paths.items(), 1):
        row, noise = _judge(as_text(name), path, root, thresholds, seen, seed)
        table.append(row)
        if noise is not None:
            where = named_from(path, out_manifest.parent)
            kept.append({"id": ids[name], "split": noise.pop("split"), "path": where, **noise})
        if number % PROGRESS_EVERY == 0:
            print(f"measured {number}/{len(paths)}", flush=True)
    write_csv(out_csv, FIELDS, table)
    coverage = _coverage(table, kept)
    write_json(out_csv.with_suffix(".json"), coverage)
    if not kept:
        raise AudioRestorerError(f"{root}: all {len(paths)} recordings were rejected; {out_csv} has the reasons")
    _no_empty_split(kept)
    write_rows(out_manifest, kept)
    if figure:
        write_bytes_atomic(figure, _figure(coverage))
    shown = ", ".join(
        f"{name} {part['count']} ({part['minutes']:.1f} min)" for name, part in coverage["classes"].items()
    )
    print(f"{len(kept)} of {len(paths)} kept: {shown}")
    for reason, count in coverage["rejected"].items():
        print(f"  rejected {count}: {reason}")
    return coverage


def _judge(
    name: str, path: Path, root: Path, settings: NoiseFilterSettings, seen: dict[str, Path], seed: int
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The CSV's row, and the manifest's for a noise that is kept."""
    label = label_of(path, root)
    row: dict[str, Any] = {"path": name, "label": label.name if label else "", "kept": 0}
    try:
        features = measure(path)
    except AudioRestorerError as error:
        return {**row, "reason": str(error)}, None
    row |= {**features.row(), "class": class_of(features, label)}
    content = sha256_file(path)
    reason = rejection(features, label, settings)
    if reason is None and content in seen:
        reason = f"the same content as {seen[content].relative_to(root)}"
    if reason is not None:
        return {**row, "reason": reason}, None
    seen[content] = path
    noise = {
        "split": split_of(content, settings.shares, seed), "class": row["class"], "sr": features.sample_rate,
        "duration": round(features.duration_sec, 6), "sha256": content, "label": row["label"], "source": "file", "finite": True,
    }  # fmt: skip
    return {**row, "kept": 1}, noise


def _no_empty_split(kept: list[dict[str, Any]]) -> None:
    """A small folder can leave a split without noise: the last rows of the largest one fill it."""
    for split in ("train", "valid", "test"):
        counts = Counter(row["split"] for row in kept)
        largest = counts.most_common(1)[0]
        if not counts[split] and largest[1] > 1:
            row = next(row for row in reversed(kept) if row["split"] == largest[0])
            row["split"] = split
            print(f"split {split} was empty: {row['id']} moved there from {largest[0]}")


def _coverage(table: list[dict[str, Any]], kept: list[dict[str, Any]]) -> dict[str, Any]:
    classes: dict[str, dict[str, float]] = {}
    for row in kept:
        part = classes.setdefault(row["class"], {"count": 0, "minutes": 0.0})
        part["count"] += 1
        part["minutes"] = round(part["minutes"] + row["duration"] / 60, 4)
    reasons = Counter(row["reason"].split(":")[0] for row in table if not row["kept"])
    return {
        "files": len(table),
        "kept": len(kept),
        "classes": dict(sorted(classes.items())),
        "rejected": dict(sorted(reasons.items())),
    }


def _figure(coverage: dict[str, Any]) -> bytes:
    figure = Figure(figsize=(8, 3), layout="constrained")
    axis = figure.add_subplot()
    names = list(coverage["classes"])
    axis.barh(names, [coverage["classes"][name]["minutes"] for name in names], color=AFTER)
    axis.set_xlabel("minutes kept")
    return png_bytes(figure)
