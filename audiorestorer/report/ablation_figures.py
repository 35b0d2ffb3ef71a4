"""Figures of the ablation, as PNG bytes: each metric by row with the seeds' spread, differences with intervals, training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from audiorestorer.report.figures import AFTER, BEFORE, DPI, INK, png_bytes, say

SHOWN = {
    "si_sdr_improvement_db": "SI-SDR gain (dB)",
    "lsd_improvement_db": "LSD gain (dB)",
    "composite": "composite",
    "impulse_removal": "impulse removal",
    "transient_preservation": "transient preservation",
}
COLOURS = (AFTER, BEFORE, "#009E73", "#CC79A7")
CURVES = {
    "synthetic_supervised_loss": "supervised loss, held-out synthetic",
    "real_consistency_loss": "consistency loss, real",
}
Rows = Sequence[Mapping[str, Any]]
Curve = Sequence[tuple[float, float]]  # step, value


def by_row(table: Rows, metrics: Mapping[str, str] = SHOWN) -> bytes:
    """One panel per metric and one line per row: a bar to the mean, whiskers for the standard deviation over seeds, a dot per seed."""
    return _panels(
        table, metrics, "bars: mean over seeds and items; whiskers: standard deviation over seeds; dots: seeds", _bar
    )


def differences(table: Rows, metrics: Mapping[str, str] = SHOWN) -> bytes:
    """The differences to the baseline in the same panels, with their 95 % intervals."""
    compared = [row for row in table if row["difference"] is not None]
    return _panels(compared, metrics, "difference to the baseline, 95 % interval over seeds and items", _difference)


def curves(runs: Mapping[str, Sequence[Mapping[str, Curve]]]) -> bytes:
    """One panel per loss and one line per row: the mean over its trainings, and each of them in a lighter line.

    Args:
        runs: row -> one mapping per training: name of the loss -> (step, value) points.
    """
    figure = Figure(figsize=(10.5, 4.2), dpi=DPI, layout="constrained")
    palette = colormaps["tab10"]
    for axis, (name, title) in zip(figure.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        drawn = 0
        for number, (row, trainings) in enumerate(runs.items()):
            lines = [np.array(run[name]) for run in trainings if len(run.get(name, ()))]
            for line in lines:
                axis.plot(line[:, 0], line[:, 1], color=palette(number % 10), linewidth=0.6, alpha=0.35)
            length = min((len(line) for line in lines), default=0)
            if length:
                mean = np.mean([line[:length] for line in lines], axis=0)
                axis.plot(
                    mean[:, 0],
                    mean[:, 1],
                    color=palette(number % 10),
                    linewidth=1.8,
                    marker="o",
                    markersize=3,
                    label=row,
                )
                drawn += 1
        if not drawn:
            say(axis, "not measured")
            continue
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    return png_bytes(figure)


def _panels(table: Rows, metrics: Mapping[str, str], title: str, draw: Any) -> bytes:
    names = list(dict.fromkeys(row["row"] for row in table))
    conditions = list(dict.fromkeys(row["condition"] for row in table))
    figure = Figure(figsize=(13, 1.6 + 0.42 * max(2, len(names))), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=9)
    axes = figure.subplots(1, len(metrics), sharey=True)
    for axis, (metric, label) in zip(np.atleast_1d(axes), metrics.items(), strict=True):
        rows = [row for row in table if row["metric"] == metric]
        if not rows:
            say(axis, "not measured")
            continue
        for row in rows:
            place, number = names.index(row["row"]), conditions.index(row["condition"])
            shift = (number - (len(conditions) - 1) / 2) * 0.8 / len(conditions)
            draw(axis, place + shift, 0.7 / len(conditions), row, COLOURS[number % len(COLOURS)])
        axis.set_title(label, fontsize=9)
        axis.axvline(0, color=INK, linewidth=0.8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.grid(alpha=0.3, axis="x")
    if names:
        np.atleast_1d(axes)[0].invert_yaxis()
    handles = [Patch(color=COLOURS[number % len(COLOURS)]) for number in range(len(conditions))]
    figure.legend(
        handles, conditions, loc="outside lower center", ncols=max(1, len(conditions)), frameon=False, fontsize=8
    )
    return png_bytes(figure)


def _bar(axis: Axes, place: float, height: float, row: Mapping[str, Any], colour: str) -> None:
    axis.barh(place, row["mean"], height, color=colour, alpha=0.45)
    if row["sd"] is not None:
        axis.errorbar(row["mean"], place, xerr=row["sd"], color=INK, linewidth=1, capsize=2)
        axis.plot(row["seed_means"], [place] * len(row["seed_means"]), "o", color=colour, markersize=3)


def _difference(axis: Axes, place: float, height: float, row: Mapping[str, Any], colour: str) -> None:
    axis.plot(row["difference"], place, "o", color=colour, markersize=4)
    if row["low"] is not None:
        axis.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=1.6)
