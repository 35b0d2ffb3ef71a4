"""Measure the triads that a training run wrote: one row an item, medians an epoch, and the trends as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_bytes_atomic, write_csv
from audiorestorer.metrics import triads
from audiorestorer.report.trends import trends
from audiorestorer.training.runs import debug_folder

SUMMARY_FIELDS = ("epoch", "n", *(f"{name}{end}" for name in triads.FIGURES for end in ("", "_q25", "_q75")))
ITEMS, SUMMARY = triads.ITEMS, "triad_summary.csv"


def run(
    root: Path, *, out_csv: Path | None = None, summary_csv: Path | None = None, figure: Path | None = None
) -> list[dict[str, Any]]:
    """Measure all triads below `root` (a folder, a run folder, or the record that `train` writes beside its model).

    Args:
        out_csv, summary_csv: where the tables go; None: not written.

    Returns:
        The medians an epoch.

    Raises:
        AudioRestorerError: no triads, or none that could be measured.
    """
    folder = debug_folder(Path(root))
    rows = [triads.row_of(triad) for triad in triads.find(folder)]
    if out_csv:
        write_csv(out_csv, triads.FIELDS, rows)
    for row in rows:
        if row["status"] != "ok":
            print(f"rejected: {row['epoch']} {row['id']}: {row['reason']}")
    summary = triads.medians(rows)
    if not summary:
        raise AudioRestorerError(
            f"{folder}: none of {len(rows)} triads could be measured; the first: {rows[0]['reason']}"
        )
    if summary_csv:
        write_csv(summary_csv, SUMMARY_FIELDS, summary)
    if figure:
        write_bytes_atomic(figure, trends(summary))
    last = summary[-1]
    shown = "  ".join(
        f"{name} {last[name]:.2f}" for name in ("delta_si_db", "delta_lsd_db", "composite") if name in last
    )
    print(f"{len(rows)} triads, {len(summary)} epochs; epoch {last['epoch'] or '-'}: {shown}")
    return summary
