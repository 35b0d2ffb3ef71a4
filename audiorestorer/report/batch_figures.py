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
from audiorestorer.report.metricinfo import BY_NAME, METRICS, Metric, benefit, get_number, items_ok, known, number

COLUMNS = 4
PANEL_INCHES = 2.75
WORST = 10
MAX_LABEL = 44  # characters of a file's name
SINGLE_COLOUR = "#CC79A7"  # Okabe and Ito's purple: neither before, after nor clean
MARKERS = {"before": "o", "after": "s", "clean": "^"}
SUFFIXES = {"_in_db": ("_db", "before"), "_in": ("", "before"), "_clean": ("", "clean")}
ENDS = {  # of `benefit`: metric -> before, after, axis, way to the better
    "si_sdr_improvement_db": ("si_sdr_in_db", "si_sdr_db", "SI-SDR (dB)", 1),
    "music_to_speech_db": ("music_to_speech_in_db", "music_to_speech_db", "music to speech (dB)", -1),
    "music_to_speech_blind_db": (
        "music_to_speech_blind_in_db", "music_to_speech_blind_db", "music to speech, blind (dB)", -1,
    ),
}  # fmt: skip
known(*(name for after, (before, output, _, _) in ENDS.items() for name in (after, before, output)))
LEGEND = "bar: quartiles; thick line and number: median; thin line: its 95 % interval; grey: the same file"


def sides_of(metrics: Sequence[Metric] = METRICS) -> dict[str, dict[str, str]]:
    """The metrics that belong together: name -> side (`before`, `after`, `clean`) -> metric; one side for what exists once."""
    found: dict[str, dict[str, str]] = {}
    for metric in metrics:
        for suffix, (instead, side) in SUFFIXES.items():
            main = metric.name.removesuffix(suffix) + instead
            if metric.name.endswith(suffix) and main in BY_NAME:
                found.setdefault(main, {})[side] = metric.name
                break
        else:
            found.setdefault(metric.name, {})["after"] = metric.name
    return {main: {side: names[side] for side in MARKERS if side in names} for main, names in found.items()}


def distributions(metrics: Mapping[str, Any]) -> bytes:
    """One panel a metric that any file has: before, after and clean side by side, each over all files that have it.

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
        found = values[there[:, place], place]
        left = len(items) - len(found)
        ticks.append(
            (f"{side}\n" if len(names) > 1 else "") + f"n = {len(found)}" + (f"\n{left} missing" if left else "")
        )
        if not len(found):
            continue
        draw_group(axis, place, found, VERSION_COLOURS[side] if len(names) > 1 else SINGLE_COLOUR, MARKERS[side])
        limits = _limits((summary.get(name) or {}).get("ci95"))
        if limits:
            axis.plot([place - 0.24] * 2, limits, color=INK, linewidth=1.2, marker="_", markersize=5, zorder=5)
    title = metric.title.replace(" after", "") if len(names) > 1 else metric.title
    axis.set_title(f"{title}\n({metric.hint})", fontsize=9)
    axis.set_xticks(range(len(names)), ticks)
    axis.set_ylabel(metric.unit or "no unit", fontsize=8)
    axis.set_xlim(-0.45, len(names) - 0.25)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3, axis="y")
    axis.margins(y=0.12)


def _limits(found: Any) -> list[float] | None:
    """An interval as two numbers; None for anything else."""
    if not isinstance(found, Sequence) or len(found) != 2:
        return None
    limits = [value for limit in found if (value := number(limit)) is not None]
    return limits if len(limits) == 2 else None


def worst(metrics: Mapping[str, Any], count: int = WORST) -> bytes:
    """The files that gained least, worst first: from before (circle) to after (square).

    By SI-SDR; where no file has a reference, by the blind music to speech. What cannot be ranked is counted.
    """
    items = items_ok(metrics)
    by, ranks = ranked(items)
    chosen = ranks[:count]
    figure = Figure(figsize=(9.6, 0.9 + 0.36 * max(3, len(chosen))), dpi=DPI, layout="constrained")
    axis = figure.add_subplot()
    if not chosen:
        say(axis, "no file can be ranked: neither SI-SDR nor music to speech was measured before and after")
        return png_bytes(figure)
    before_name, after_name, title, way = ENDS[by]
    ends = np.array(
        [[get_number(item, before_name), get_number(item, after_name)] for item in chosen], dtype=np.float64
    )
    _dumbbells(axis, ends, way)
    axis.set_yticks(
        range(len(chosen)), [shortened(str(item.get("input") or item["id"])) for item in chosen], fontsize=8
    )
    axis.invert_yaxis()
    axis.set_xlabel(f"{title}: circle before, square after; the number is the gain")
    left = len(items) - len(ranks)
    axis.set_title(
        f"The {len(chosen)} of {len(ranks)} files that gained least, worst first" + (f"; {left} not measured" if left else ""),
        fontsize=10,
    )  # fmt: skip
    axis.grid(alpha=0.3, axis="x")
    axis.margins(y=0.06)
    return png_bytes(figure)


def ranked(items: Sequence[Mapping[str, Any]]) -> tuple[str, list[Mapping[str, Any]]]:
    """By which metric the files are ranked (the surest that any has), and those that have it, least gain first."""
    gains = [(*benefit(item), item) for item in items]
    by = next((name for name in ENDS if any(found == name for _, found, _ in gains)), "")
    rows = [
        (gain, item)
        for gain, name, item in gains
        if gain is not None and name == by and all(get_number(item, end) is not None for end in ENDS[by][:2])
    ]
    return by, [item for _, item in sorted(rows, key=lambda row: (row[0], str(row[1]["id"])))]


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
