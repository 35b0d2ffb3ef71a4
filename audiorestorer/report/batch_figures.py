"""Figures of a whole batch, as PNG bytes: the distribution of every metric, and the files that gained least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from numpy.typing import NDArray

from audiorestorer.report.figures import AFTER, BEFORE, DPI, INK, VERSION_COLOURS, draw_group, png_bytes, say, thinned
from audiorestorer.report.metricinfo import BY_NAME, get_number, items_ok, number
from audiorestorer.report.outcome import ENDS, ranked
from audiorestorer.report.tables import both_title, sides_of

COLUMNS = 4
PANEL_INCHES = 2.75
WORST = 10
MAX_LABEL = 44  # characters of a file name
# Okabe and Ito's purple, for what is neither before, after nor clean
SINGLE_COLOUR = "#CC79A7"
MARKERS = {"before": "o", "after": "s", "clean": "^"}
LEGEND = "bar: quartiles; thick line and number: median; thin line: its 95 % interval; grey: the same file"


def distributions(metrics: Mapping[str, Any]) -> bytes:
    """One panel per metric that any file has: before, after and clean side by side, each over all files that have it.

    A bar spans the quartiles, the line and the number are the median, the thin line its 95 % interval where `metrics` has one.
    """
    items = items_ok(metrics)
    drawn = [
        (main, names)
        for main, names in sides_of().items()
        if any(get_number(item, name) is not None for item in items for name in names.values())
    ]
    rows = max(1, -(-len(drawn) // COLUMNS))
    figure = Figure(figsize=(9.6, PANEL_INCHES * rows + 0.3), dpi=DPI, layout="constrained")
    if not drawn:
        say(figure.add_subplot(), "nothing was measured")
        return png_bytes(figure)
    figure.suptitle(LEGEND, fontsize=9)
    for place, (main, names) in enumerate(drawn, start=1):
        _panel(figure.add_subplot(rows, COLUMNS, place), main, names, items, metrics.get("summary", {}))
    return png_bytes(figure)


def _panel(
    axis: Axes, main: str, names: Mapping[str, str], items: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]
) -> None:
    metric = BY_NAME[main]
    values = np.array(
        [[np.nan if (v := get_number(item, name)) is None else v for name in names.values()] for item in items]
    )
    there = ~np.isnan(values)
    if {"before", "after"} <= set(names):
        both = values[there[:, :2].all(axis=1), :2]
        if len(both):
            axis.plot([0, 1], both[thinned(len(both))].T, color="#999999", linewidth=0.6, alpha=0.5, zorder=1)
    ticks = []
    for place, (side, name) in enumerate(names.items()):
        measured = values[there[:, place], place]
        left = len(items) - len(measured)
        ticks.append(
            (f"{side}\n" if len(names) > 1 else "") + f"n = {len(measured)}" + (f"\n{left} missing" if left else "")
        )
        if not len(measured):
            continue
        draw_group(axis, place, measured, VERSION_COLOURS[side] if len(names) > 1 else SINGLE_COLOUR, MARKERS[side])
        limits = _limits((summary.get(name) or {}).get("ci95"))
        if limits:
            axis.plot([place - 0.24] * 2, limits, color=INK, linewidth=1.2, marker="_", markersize=5, zorder=5)
    title = both_title(metric) if len(names) > 1 else metric.title
    axis.set_title(f"{title}\n({metric.hint})", fontsize=9)
    axis.set_xticks(range(len(names)), ticks)
    axis.set_ylabel(metric.unit or "no unit", fontsize=8)
    axis.set_xlim(-0.45, len(names) - 0.25)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3, axis="y")
    axis.margins(y=0.12)


def _limits(interval: Any) -> list[float] | None:
    """An interval as two numbers; None for anything else."""
    if not isinstance(interval, Sequence) or len(interval) != 2:
        return None
    limits = [value for limit in interval if (value := number(limit)) is not None]
    return limits if len(limits) == 2 else None


def worst(metrics: Mapping[str, Any], count: int = WORST) -> bytes:
    """The files that gained least, worst first: from before (circle) to after (square).

    By SI-SDR; where no file has a reference, by the blind music to speech. What cannot be ranked is counted.
    """
    items = items_ok(metrics)
    by, by_gain = ranked(items)
    ranks = [item for item in by_gain if all(get_number(item, end) is not None for end in ENDS[by][:2])]
    least = ranks[:count]
    figure = Figure(figsize=(9.6, 0.9 + 0.36 * max(3, len(least))), dpi=DPI, layout="constrained")
    axis = figure.add_subplot()
    if not least:
        say(axis, "no file can be ranked: neither SI-SDR nor music to speech was measured before and after")
        return png_bytes(figure)
    before_name, after_name, title, way = ENDS[by]
    ends = np.array([[get_number(item, before_name), get_number(item, after_name)] for item in least], dtype=np.float64)
    _dumbbells(axis, ends, way)
    axis.set_yticks(range(len(least)), [shortened(str(item.get("input") or item["id"])) for item in least], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(f"{title} (dB): circle before, square after; the number is the gain")
    left = len(items) - len(ranks)
    axis.set_title(
        f"The {len(least)} of {len(ranks)} files that gained least, worst first" + (f"; {left} not measured" if left else ""),
        fontsize=10,
    )  # fmt: skip
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
    glyphs = get_font(findfont("DejaVu Sans"))
    plain = "".join(
        char if char != "$" and char.isprintable() and glyphs.get_char_index(ord(char)) else "?" for char in name
    )
    if len(plain) <= MAX_LABEL:
        return plain
    head = MAX_LABEL // 2
    return f"{plain[:head]}\u2026{plain[-(MAX_LABEL - head - 1) :]}"
