"""Analyse real degraded recordings: what is wrong with each, and the synthetic distribution that follows from all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from audiorestorer import audio
from audiorestorer.datasets.degradation.analysis import Analysis, false_rate, measure
from audiorestorer.datasets.degradation.fit import degradation_settings
from audiorestorer.datasets.real import listed
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_bytes_atomic, write_csv, write_json
from audiorestorer.names import as_text
from audiorestorer.report.figures import AFTER, BEFORE, INK, png_bytes

FIELDS = (
    "path",
    "status",
    "reason",
    *(name for name in Analysis.__dataclass_fields__ if not name.startswith("bands_")),
    "bands",
)
PROGRESS_EVERY = 10
MOST_BARS = 60


def run(
    sources: Sequence[Path],
    out_csv: Path,
    out_json: Path,
    *,
    clean: Path | None = None,
    figure: Path | None = None,
) -> dict[str, Any]:
    """Analyse recordings; write a row each as CSV, and rows, totals and the settings that follow from them as JSON.

    A file that cannot be analysed is a row with its reason.

    Args:
        sources: folders, files, and manifests (`.jsonl`: their rows without a clean side).
        clean: folder of clean recordings of the same kind, whose impulse rate is subtracted instead of the built-in one.

    Returns:
        What the JSON holds: recordings, analysed, false_per_sec, rows, settings.

    Raises:
        AudioRestorerError: no recordings, or none that can be analysed.
    """
    named = find(sources)
    false = false_rate(path for _, path in find([clean])) if clean else None
    rows = []
    for number, (name, path) in enumerate(named, 1):
        rows.append(_row(name, path, false))
        if rows[-1]["status"] != "ok":
            print(f"rejected: {rows[-1]['reason']}", flush=True)
        if number % PROGRESS_EVERY == 0:
            print(f"analysed {number}/{len(named)}", flush=True)
    usable = [row for row in rows if row["status"] == "ok"]
    write_csv(out_csv, FIELDS, [_flat(row) for row in rows])
    if not usable:
        raise AudioRestorerError(f"none of {len(rows)} recordings can be analysed; {out_csv} has the reasons")
    result = {
        "recordings": len(rows), "analysed": len(usable), "false_per_sec": false, "rows": rows,
        "settings": degradation_settings(usable).model_dump(mode="json"),
    }  # fmt: skip
    write_json(out_json, result, indent=1, allow_nan=False)
    if figure:
        write_bytes_atomic(figure, _figure(usable))
    rate, noise = (float(np.median([row[name] for row in usable])) for name in ("impulses_per_sec", "noise_dbfs"))
    print(f"{len(usable)} of {len(rows)} analysed; medians: {rate:.2f} impulses/s, noise {noise:.1f} dBFS")
    return result


def find(sources: Sequence[Path]) -> list[tuple[str, Path]]:
    """Recordings with their names: relative to their folder, a manifest's ids, or as given.

    Raises:
        AudioRestorerError: a source does not exist, or there is no recording at all.
    """
    recordings: list[tuple[str, Path]] = []
    for source in sources:
        if source.is_dir():
            recordings += audio.below(source).items()
            audio.name_others(source)
        elif source.suffix == ".jsonl":
            recordings += listed(source).items()
        elif source.exists():
            recordings.append((str(source), source))
        else:
            raise AudioRestorerError(f"{source}: no such file or folder")
    if not recordings:
        raise AudioRestorerError(f"{', '.join(map(str, sources))}: no recordings ({', '.join(audio.SUFFIXES)})")
    return recordings


def _row(name: str, path: Path, false: float | None) -> dict[str, Any]:
    try:
        return {"path": name, "status": "ok", "reason": None, **measure(path, false).row()}
    except AudioRestorerError as error:
        return {"path": as_text(name), "status": "rejected", "reason": str(error)}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """For the CSV: the spectrum as `Hz:dBFS` pairs in one column."""
    pairs = zip(row.get("bands_hz") or (), row.get("bands_dbfs") or (), strict=True)
    kept = {name: value for name, value in row.items() if not name.startswith("bands_")}
    return {**kept, "bands": " ".join(f"{f:.0f}:{db:.1f}" for f, db in pairs)}


def _figure(rows: list[dict[str, Any]]) -> bytes:
    """Impulse rates with their errors, largest first, and the noises' spectra."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    ordered = sorted(rows, key=lambda row: -row["impulses_per_sec"])[:MOST_BARS]
    places = np.arange(len(ordered))
    left.bar(places, [row["impulses_per_sec"] for row in ordered], color=BEFORE, alpha=0.8)
    left.errorbar(
        places, [row["impulses_per_sec"] for row in ordered], [row["impulses_error"] for row in ordered], fmt="none",
        ecolor=INK, linewidth=0.8,
    )  # fmt: skip
    left.set(xlabel="recordings, by rate", ylabel="impulses a second", ylim=(0, None))
    for row in rows[:MOST_BARS]:
        right.semilogx(row["bands_hz"], row["bands_dbfs"], color=AFTER, alpha=0.5, linewidth=1)
    right.set(xlabel="Hz", ylabel="noise in a third octave, dBFS")
    return png_bytes(figure)
