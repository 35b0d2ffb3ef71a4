"""Figures of a whole batch, as PNG bytes: the distribution of every metric, and the files that gained least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from audiorestorer.report.figures import AFTER, BEFORE, DPI, INK, draw_group, png_bytes, say, thinned
from audiorestorer.report.metricinfo import BY_NAME, METRICS, PAIRS, benefit, get_number, items_ok

COLUMNS = 4
PANEL_INCHES = 2.7
WORST = 10
MAX_LABEL = 44  # characters of a file's name
SINGLE_COLOUR = "#009E73"  # Okabe and Ito's green


def distributions(metrics: Mapping[str, Any]) -> bytes:
    """One panel a metric that has a value: before and after of the same files, or the value where it exists once.

    A bar spans the quartiles, the line and the number are the median, the thin line its 95 % interval where `metrics` has one.
    """
    items = items_ok(metrics)
    paired = {name for pair in PAIRS for name in (pair.before, pair.after)}
    sides = {metric.name for metric in METRICS if metric.name.endswith(("_in", "_in_db", "_clean"))}
    panels: list[tuple[str, str, list[str]]] = [(pair.title, pair.unit, [pair.before, pair.after]) for pair in PAIRS]
    for metric in METRICS:
        partner = f"{metric.name[:-3]}_in_db" if metric.name.endswith("_db") else f"{metric.name}_in"
        if metric.name not in paired | sides and partner not in BY_NAME:
            panels.append((f"{metric.title} ({metric.hint})", metric.unit, [metric.name]))
    drawn = [panel for panel in panels if any(_has(item, panel[2]) for item in items)]
    rows = max(1, -(-len(drawn) // COLUMNS))
    figure = Figure(figsize=(9.6, PANEL_INCHES * rows), dpi=DPI, layout="constrained")
    if not drawn:
        say(figure.add_subplot(), "nothing was measured")
        return png_bytes(figure)
    for number, (title, unit, names) in enumerate(drawn, start=1):
        _panel(figure.add_subplot(rows, COLUMNS, number), title, unit, names, items, metrics.get("summary", {}))
    return png_bytes(figure)


def _has(item: Mapping[str, Any], names: Sequence[str]) -> bool:
    return all(get_number(item, name) is not None for name in names)


def _panel(
    axis: Axes,
    title: str,
    unit: str,
    names: Sequence[str],
    items: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
) -> None:
    rows = [[get_number(item, name) for name in names] for item in items if _has(item, names)]
    values = np.array(rows, dtype=np.float64)
    if len(names) == 2:
        axis.plot([0, 1], values[thinned(len(values))].T, color="#999999", linewidth=0.6, alpha=0.5, zorder=1)
    colours = (BEFORE, AFTER) if len(names) == 2 else (SINGLE_COLOUR,)
    for place, (name, colour, marker) in enumerate(zip(names, colours, "os", strict=False)):
        draw_group(axis, place, values[:, place], colour, marker)
        limits = (summary.get(name) or {}).get("ci95")
        if limits:
            axis.plot([place - 0.24] * 2, limits, color=INK, linewidth=1.2, zorder=5)
    axis.set_title(title.replace(" (", "\n("), fontsize=9)
    axis.set_xticks(range(len(names)), ["before", "after"][: len(names)] if len(names) == 2 else [""])
    left = len(items) - len(values)
    axis.set_xlabel(f"n = {len(values)}" + (f", {left} not measured" if left else ""), fontsize=8)
    axis.set_ylabel(unit or "score", fontsize=8)
    axis.set_xlim(-0.5, len(names) - 0.4)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3, axis="y")
    axis.margins(y=0.12)


def worst(metrics: Mapping[str, Any], count: int = WORST) -> bytes:
    """The files that gained least, worst first: from before (circle) to after (square).

    By SI-SDR; by music to speech where no file has a reference. Files that cannot be ranked are left out.
    """
    ranked = sorted(
        ((gain, name, item) for item in items_ok(metrics) for gain, name in (benefit(item),) if gain is not None),
        key=lambda found: (found[0], str(found[2]["id"])),
    )
    measures = {name for _, name, _ in ranked}
    by = next((name for name in ("si_sdr_improvement_db", "music_to_speech_db") if name in measures), "")
    before_name, after_name, title, way = (
        ("music_to_speech_in_db", "music_to_speech_db", "music to speech (dB)", -1)
        if by == "music_to_speech_db"
        else ("si_sdr_in_db", "si_sdr_db", "SI-SDR (dB)", 1)
    )
    ranks = [item for _, name, item in ranked if name == by and _has(item, (before_name, after_name))]
    chosen = ranks[:count]
    figure = Figure(figsize=(9.6, 0.9 + 0.36 * max(3, len(chosen))), dpi=DPI, layout="constrained")
    axis = figure.add_subplot()
    if not chosen:
        say(axis, "no file can be ranked: neither SI-SDR nor music to speech was measured before and after")
        return png_bytes(figure)
    ends = np.array(
        [[get_number(item, before_name), get_number(item, after_name)] for item in chosen], dtype=np.float64
    )
    _dumbbells(axis, ends, way)
    axis.set_yticks(
        range(len(chosen)), [shortened(str(item.get("input") or item["id"])) for item in chosen], fontsize=8
    )
    axis.invert_yaxis()
    axis.set_xlabel(f"{title}: circle before, square after; the number is the gain")
    axis.set_title("The files that gained least, worst first", fontsize=10)
    axis.grid(alpha=0.3, axis="x")
    axis.margins(y=0.06)
    return png_bytes(figure)


def _dumbbells(axis: Axes, ends: NDArray[np.float64], way: int) -> None:
    places = np.arange(len(ends))
    gains = way * (ends[:, 1] - ends[:, 0])
    for place, (low, high), gain in zip(places, ends, gains, strict=True):
        axis.plot([low, high], [place, place], color=INK if gain > 0 else BEFORE, linewidth=1.4, zorder=1)
    axis.scatter(ends[:, 0], places, s=34, color=BEFORE, marker="o", zorder=2)
    axis.scatter(ends[:, 1], places, s=34, color=AFTER, marker="s", zorder=2)
    reach = max(1.0, float(np.ptp(ends)))
    right = float(ends.max()) + 0.04 * reach
    axis.set_xlim(float(ends.min()) - 0.05 * reach, right + 0.12 * reach)
    for place, gain in zip(places, gains, strict=True):
        axis.text(right, float(place), f"{gain:+.1f} dB".replace("-", "\u2212"), va="center", fontsize=8)


def shortened(name: str) -> str:
    """A name of at most MAX_LABEL characters, its middle left out; what a font cannot show becomes a question mark."""
    plain = "".join(char if char.isprintable() and char.isascii() or char.isalpha() else "?" for char in name).replace(
        "$", "?"
    )
    if len(plain) <= MAX_LABEL:
        return plain
    head = MAX_LABEL // 2
    return f"{plain[:head]}\u2026{plain[-(MAX_LABEL - head - 1) :]}"
