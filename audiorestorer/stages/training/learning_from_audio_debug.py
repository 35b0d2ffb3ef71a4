"""Does the run learn? Medians of its triads over epochs, their change, the best epoch, and one plain verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scipy import stats

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_csv, write_bytes_atomic, write_csv
from audiorestorer.metrics import triads
from audiorestorer.report.trends import trends
from audiorestorer.training.runs import debug_folder

SUMMARY = "learning_summary.csv"
COMPARED = ("delta_si_db", "delta_lsd_db", "residual_percent", "composite")
FIELDS = (
    "epoch",
    "n",
    *COMPARED,
    *(f"{name}_since_{when}" for name in COMPARED for when in ("first", "previous")),
    "best",
)
FLAT_COMPOSITE = 1.0  # points over the whole run: less than this is no change that anybody hears
CONFIDENCE = 0.9


def run(
    root: Path, *, out_csv: Path | None = None, figure: Path | None = None, measured: Path | None = None
) -> dict[str, Any]:
    """Summarise a run's learning.

    The verdict is about the composite's medians: the Theil-Sen slope over the epochs (the median of all pairwise slopes), times the
    epochs. *flat* where that is below one point, *improving* or *getting worse* where the 90 % interval of the slope lies on one side
    of zero, *unsteady* otherwise. Under four epochs there is no interval: the slope's sign decides.

    Args:
        root: see `triad_diagnostics`.
        out_csv: where `learning_summary.csv` goes.
        measured: `triad_diagnostics.csv` of the same triads, so that nothing is measured twice. None: the one beside the triads, if
            it holds just these and is newer than each of their files; else they are measured.

    Returns:
        `{"verdict", "slope_per_epoch", "best_epoch", "epochs"}`.

    Raises:
        AudioRestorerError: fewer than two epochs, or `measured` is no such table.
    """
    folder = debug_folder(Path(root))
    rows = _read(measured) if measured else _measured(folder)
    summary = [row for row in triads.medians(rows) if row["epoch"] != "" and "composite" in row]
    if len(summary) < 2:
        raise AudioRestorerError(f"{folder}: {len(summary)} epochs with measured triads; a trend needs two")
    epochs = [int(row["epoch"]) for row in summary]
    values = [float(row["composite"]) for row in summary]
    result = {**_verdict(epochs, values), "best_epoch": epochs[values.index(max(values))], "epochs": len(epochs)}
    if out_csv:
        write_csv(out_csv, FIELDS, _changes(summary, result["best_epoch"]))
    if figure:
        write_bytes_atomic(figure, trends(summary))
    change = f"composite {values[0]:.1f} -> {values[-1]:.1f} over {len(epochs)} epochs"
    print(f"{result['verdict']}: {change}, best epoch {result['best_epoch']}")
    return result


def _read(table: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = list(read_csv(table))
    for number, row in enumerate(rows, 2):
        absent = [name for name in triads.FIELDS if row.get(name) is None]
        if absent:
            raise AudioRestorerError(f"{table}:{number}: no column {', '.join(absent)}: not a {triads.ITEMS}")
        try:
            [float(row[name]) for name in triads.FIGURES if row[name] != ""]
            int(row["epoch"] or 0)
        except ValueError as error:
            raise AudioRestorerError(f"{table}:{number}: not a number: {error}") from error
    return rows


def _measured(folder: Path) -> list[dict[str, Any]]:
    all_triads, table = triads.find(folder), folder / triads.ITEMS
    files = [path for triad in all_triads for path in (triad.noisy, triad.yhat, triad.clean) if path]
    if table.is_file() and table.stat().st_mtime_ns > max(path.stat().st_mtime_ns for path in files):
        rows = _read(table)
        wanted = {("" if triad.epoch is None else str(triad.epoch), triad.id) for triad in all_triads}
        if {(row["epoch"], row["id"]) for row in rows} == wanted:
            return rows
    return [triads.row_of(triad) for triad in all_triads]


def _verdict(epochs: list[int], values: list[float]) -> dict[str, Any]:
    slope, _, low, high = stats.theilslopes(values, epochs, CONFIDENCE)
    if abs(slope) * (epochs[-1] - epochs[0]) < FLAT_COMPOSITE:
        verdict = "flat"
    elif len(epochs) < 4:  # too few for an interval: the slope alone
        verdict = "improving" if slope > 0 else "getting worse"
    else:
        verdict = "improving" if low > 0 else "getting worse" if high < 0 else "unsteady"
    return {"verdict": verdict, "slope_per_epoch": round(float(slope), 5)}


def _changes(summary: list[dict[str, Any]], best: int) -> list[dict[str, Any]]:
    out = []
    for number, row in enumerate(summary):
        line = {"epoch": row["epoch"], "n": row["n"], "best": int(int(row["epoch"]) == best)}
        for name in COMPARED:
            if name not in row:
                continue
            line[name] = row[name]
            for when, other in (("first", summary[0]), ("previous", summary[max(0, number - 1)])):
                if name in other:
                    line[f"{name}_since_{when}"] = round(row[name] - other[name], 4)
        out.append(line)
    return out
