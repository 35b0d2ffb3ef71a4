"""The outcome of a run in a few figures: what the first screen of the results page and the head of the summary show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from audiorestorer.report.listening import Player
from audiorestorer.report.metricinfo import BY_NAME, benefit, items_ok, known, number, shown
from audiorestorer.report.tables import better_and_worse, interval, plain, sides_of, signed, unit_title

WORST = 3
# the four figures that matter; of each the first that was measured
KEY_METRICS = (
    ("music_to_speech_db", "music_to_speech_blind_db"),
    ("si_sdr_db",),
    ("stoi", "dnsmos_ovrl"),
    ("wer", "wer_open"),
)
known(*(name for names in KEY_METRICS for name in names))
# metric of `benefit`, the surest first -> before, after, title, way to the better
ENDS = {
    "si_sdr_improvement_db": ("si_sdr_in_db", "si_sdr_db", "SI-SDR", 1),
    "music_to_speech_db": ("music_to_speech_in_db", "music_to_speech_db", "music to speech", -1),
    "music_to_speech_blind_db": (
        "music_to_speech_blind_in_db",
        "music_to_speech_blind_db",
        "music to speech, blind",
        -1,
    ),
}
known(*(name for after, (before, output, _, _) in ENDS.items() for name in (after, before, output)))


@dataclass(frozen=True)
class KeyFigure:
    """One metric before and after: medians, the median change, their 95 % intervals, and how many files it helped.

    `missing` is the reason where no file has it; then the numbers are en dashes.
    """

    title: str
    hint: str
    before: str
    before_interval: str
    after: str
    after_interval: str
    change: str
    change_interval: str
    counts: str
    clean: str
    missing: str


def counts_sentence(metrics: Mapping[str, Any]) -> str:
    """How many files were restored and rejected."""
    counts = metrics.get("counts", {})
    restored, rejected = counts.get("ok", 0), counts.get("rejected", 0)
    return f"{restored} of {restored + rejected} files were restored and {rejected} rejected."


def key_figures(metrics: Mapping[str, Any]) -> list[KeyFigure]:
    """The figures that matter, four at most: what this run was not asked to measure is left out."""
    return [_key_figure(name, metrics) for name in key_names(metrics)]


def key_names(metrics: Mapping[str, Any]) -> list[str]:
    """The names of the metrics that `key_figures` shows."""
    summary = metrics.get("summary", {})
    chosen = []
    for names in KEY_METRICS:
        measured = [name for name in names if (summary.get(name) or {}).get("n")]
        asked = measured or [name for name in names if summary.get(name)]
        chosen += asked[:1]
    return chosen


def _key_figure(name: str, metrics: Mapping[str, Any]) -> KeyFigure:
    metric, sides = BY_NAME[name], sides_of()[name]
    statistics = {side: metrics["summary"].get(each) or {} for side, each in sides.items()}
    before, after, clean = (statistics.get(side, {}) for side in ("before", "after", "clean"))
    change = metrics.get("paired", {}).get(name) or {}
    better, worse = better_and_worse(change, metric)
    same = change.get("same", 0)
    return KeyFigure(
        title=unit_title(metric).replace(" after", ""),
        hint=metric.hint,
        before=shown(number(before.get("median")), metric),
        before_interval=interval(before, metric),
        after=shown(number(after.get("median")), metric),
        after_interval=interval(after, metric),
        change=signed(number(change.get("median")), metric),
        change_interval=interval(change, metric),
        counts=f"{better} better, {worse} worse" + (f", {same} the same" if same else "") if change else "",
        clean=shown(number(clean.get("median")), metric) if clean.get("n") else "",
        missing="" if after.get("n") else plain(after.get("missing_reason") or "not measured"),
    )


def ranked(items: Sequence[Mapping[str, Any]]) -> tuple[str, list[Mapping[str, Any]]]:
    """By which metric the files are ranked (the surest that any has), and those that have it, least gain first."""
    gains = [(*benefit(item), item) for item in items]
    by = next((name for name in ENDS if any(measure == name for _, measure, _ in gains)), "")
    rows = [(gain, item) for gain, name, item in gains if gain is not None and name == by]
    return by, [item for _, item in sorted(rows, key=lambda row: (row[0], str(row[1]["id"])))]


@dataclass(frozen=True)
class WorstFiles:
    """The files that gained least, worst first: id, name and gain of each. `by` is the metric's title, empty where none ranks."""

    by: str
    files: list[tuple[str, str, str]]


def worst_files(metrics: Mapping[str, Any], count: int = WORST) -> WorstFiles:
    by, items = ranked(items_ok(metrics))
    if not items:
        return WorstFiles("", [])
    _, after, title, _ = ENDS[by]
    gains = [f"{signed(benefit(item)[0], BY_NAME[after])} {BY_NAME[after].unit}" for item in items[:count]]
    files = [
        (str(item["id"]), plain(item.get("input") or item["id"]), gain)
        for item, gain in zip(items[:count], gains, strict=True)
    ]
    return WorstFiles(title, files)


def typical(players: Sequence[Player], metrics: Mapping[str, Any]) -> Player | None:
    """The player whose file gained most nearly the median of all files; the first one where no file can be ranked."""
    _, items = ranked(items_ok(metrics))
    gains = {str(item["id"]): benefit(item)[0] or 0.0 for item in items}
    if not any(player.id in gains for player in players):
        return next(iter(players), None)
    middle = median(gains.values())
    return min(
        (player for player in players if player.id in gains),
        key=lambda player: (abs(gains[player.id] - middle), player.id),
    )
