"""Trends of a training run over its epochs: medians as lines, quartiles as bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from audiorestorer.report.figures import AFTER, BEFORE, png_bytes

PANELS = (
    ("delta_si_db", "ΔSI-SDR, dB"),
    ("delta_lsd_db", "ΔLSD, dB"),
    ("residual_percent", "residual, %"),
    ("composite", "composite"),
)


def trends(summary: Sequence[Mapping[str, Any]]) -> bytes:
    """PNG of rows with `epoch`, and median, `_q25` and `_q75` of each figure (see `metrics.triads.medians`)."""
    figure = Figure(figsize=(10, 2.9), layout="constrained")
    for axis, (name, title) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        rows = [row for row in summary if row.get(name) not in (None, "")]
        epochs = [int(row["epoch"] or 0) for row in rows]
        middle, low, high = ([float(row[f"{name}{end}"]) for row in rows] for end in ("", "_q25", "_q75"))
        axis.fill_between(epochs, low, high, color=AFTER, alpha=0.2, linewidth=0)
        axis.plot(epochs, middle, "o-", color=AFTER, markersize=3, linewidth=1.4)
        if name.startswith("delta"):
            axis.axhline(0, color=BEFORE, linewidth=1, linestyle="--")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
    return png_bytes(figure)
