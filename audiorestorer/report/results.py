"""The results page: the outcome on its first screen, then what to look at, then a table with one row per file.

File names and reasons come from outside: everything is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from audiorestorer.metrics.statistics import RESAMPLES
from audiorestorer.report.listening import REPORT_PAGE_BYTES, Player, picture_uri, template
from audiorestorer.report.metricinfo import (
    BY_NAME,
    Metric,
    benefit,
    get_number,
    items_ok,
    missing_reason,
    shown,
    snr_of,
)
from audiorestorer.report.outcome import counts_sentence, key_figures, typical, worst_files
from audiorestorer.report.packed import fitting
from audiorestorer.report.tables import (
    PAIRED_HEAD,
    SUMMARY_HEAD,
    both_title,
    condition_tables,
    left_out,
    not_measured,
    note_groups,
    paired_rows,
    plain,
    sides_of,
    signed,
    summary_rows,
    wer_notes,
)

MAX_REJECTED = 300
MIN_ROW_BYTES = 60  # a file's row in the table never takes fewer
TABLE_SHARE = 0.25  # of a page that cannot hold all rows: the rest is the compressed table
ARROWS = {"higher": "↑", "lower": "↓"}
GAIN = "si_sdr_improvement_db"  # the change of si_sdr_db: it takes no column beside it


@dataclass(frozen=True)
class Column:
    """A metric of the table. `sides` are the names of its figures: before and after, or a single one."""

    metric: Metric
    sides: tuple[str, ...]

    @property
    def paired(self) -> bool:
        return len(self.sides) == 2

    @property
    def title(self) -> str:
        return both_title(self.metric) if self.paired else self.metric.title

    @property
    def arrow(self) -> str:
        return ARROWS.get(self.metric.better, "")

    @property
    def heads(self) -> list[str]:
        return ["before", "after", "change"] if self.paired else ["value"]


def columns_of(items: Sequence[Mapping[str, Any]]) -> list[Column]:
    """A column per metric that any file has; before and after of one metric share it."""
    columns = []
    for main, names in sides_of().items():
        measured = {
            side: name for side, name in names.items() if any(get_number(item, name) is not None for item in items)
        }
        if not measured:
            continue
        pair = tuple(measured[side] for side in ("before", "after") if side in measured)
        if pair:
            columns.append(Column(BY_NAME[main if len(pair) == 2 else pair[0]], pair))
        if "clean" in measured:
            columns.append(Column(BY_NAME[measured["clean"]], (measured["clean"],)))
    if any(column.paired and column.metric.name == "si_sdr_db" for column in columns):
        columns = [column for column in columns if column.metric.name != GAIN]
    return columns


def page(
    metrics: Mapping[str, Any],
    players: Sequence[Player] = (),
    overview: bytes = b"",
    limit_bytes: int = REPORT_PAGE_BYTES,
) -> str:
    """The page as HTML text.

    Where a row per file takes more than `limit_bytes`, the table holds the files that gained least, and a second one all files,
    compressed inside of the page; files that fit into neither are counted.

    Args:
        players: the snippets; the picture is the one of a typical file, and links lead to those that can be heard.
        overview: PNG that takes the picture's place where there are no snippets.
    """
    items = items_ok(metrics)
    columns = columns_of(items)
    figures = key_figures(metrics)
    picture_of = typical(players, metrics)
    rejected = [
        {"input": plain(row.get("input", row.get("id"))), "reason": plain(row.get("reason"))}
        for row in metrics.get("rejected", ())
    ]
    content = {
        "sentence": counts_sentence(metrics),
        "restored": len(items),
        "figures": figures,
        "short": any("–" in (figure.after_interval, figure.change_interval) for figure in figures),
        "worst": worst_files(metrics),
        "heard": {player.id for player in players},
        "player": picture_of,
        "picture": picture_uri(picture_of.picture if picture_of else overview),
        "columns": columns,
        "mixed": any(snr_of(item) is not None for item in items),
        "recognised": any(item.get("heard") for item in items),
        "resamples": RESAMPLES,
        "summary": summary_rows(metrics),
        "summary_head": SUMMARY_HEAD,
        "paired": paired_rows(metrics),
        "paired_head": PAIRED_HEAD,
        "conditions": condition_tables(metrics),
        "wer_notes": wer_notes(metrics),
        "not_measured": not_measured(metrics),
        "notes": note_groups(metrics),
        "left_out_notes": left_out(metrics),
        "rejected": rejected[:MAX_REJECTED],
        "rejected_left_out": max(0, len(rejected) - MAX_REJECTED),
    }
    render = template("results.html.j2").render
    without_rows = render(content, rows="", packed=" ", in_table=len(items), left_out=len(items))
    rows, packed, held = _fitting(items, columns, limit_bytes - len(without_rows.encode()))
    return render(content, rows=Markup("\n").join(rows), packed=packed, in_table=len(rows), left_out=len(items) - held)


def _fitting(
    items: Sequence[Mapping[str, Any]], columns: Sequence[Column], budget: int
) -> tuple[list[Markup], str, int]:
    """Rows for the table, the compressed table of all files where not every row fits, and the number of files that the page holds."""
    mixed = any(snr_of(item) is not None for item in items)
    if len(items) * MIN_ROW_BYTES <= budget:
        rows = [_row(item, columns, mixed) for item in items]
        if sum(len(row.encode()) + 1 for row in rows) <= budget:
            return rows, "", len(items)
    ranked = sorted(items, key=lambda item: (benefit(item)[0] is None, benefit(item)[0] or 0.0))
    worst: list[Markup] = []
    left = budget * TABLE_SHARE
    for item in ranked:
        row = _row(item, columns, mixed)
        left -= len(row.encode()) + 1
        if left < 0:
            break
        worst.append(row)
    names = [plain(item.get("input") or item["id"]) for item in ranked]
    heads = [(column.title, column.metric, column.sides) for column in columns]
    text, count = fitting(ranked, names, heads, int(budget * (1 - TABLE_SHARE)))
    return worst, text, max(count, len(worst))


def _row(item: Mapping[str, Any], columns: Sequence[Column], mixed: bool) -> Markup:
    name = plain(item.get("input") or item["id"])
    snr = snr_of(item)
    cells = [
        Markup('<td title="{0}"><button type=button class=d data-d="{1}">{0}</button>').format(name, details(item))
    ]
    if mixed:
        cells.append(
            Markup('<td class=m title="not known: not a mixture of this project">–')
            if snr is None
            else Markup("<td>{}").format(f"{snr:g}".replace("-", "−"))
        )
    cells += [_cell(item, column) for column in columns]
    return Markup('<tr id="item-{}">').format(plain(item["id"])) + Markup("").join(cells)


def _cell(item: Mapping[str, Any], column: Column) -> Markup:
    """A cell: before, after and the change below each other, or a single figure. What is missing names its reason."""
    values = [get_number(item, name) for name in column.sides]
    if all(value is None for value in values):
        return Markup('<td class=m title="{}">–').format(plain(missing_reason(item, column.sides[-1])))
    lines = [
        Markup('<i class=m title="{}">–</i>').format(plain(missing_reason(item, name)))
        if value is None
        else Markup("<b>{}</b>" if column.paired and name == column.sides[-1] else "{}").format(
            shown(value, column.metric)
        )
        for name, value in zip(column.sides, values, strict=True)
    ]
    worse = ""
    if column.paired:
        before, after = values
        change = after - before if before is not None and after is not None else None
        lines.append(Markup("<small>{}</small>").format(signed(change, column.metric)))
        if change and column.arrow and (change < 0) == (column.metric.better == "higher"):
            worse = " class=w"
    return Markup(f"<td{worse}>") + Markup("<br>").join(lines)


def details(item: Mapping[str, Any]) -> str:
    """What opens below an item's row, line by line: conditions, what was said and what the recogniser heard, where the output lies."""
    lines = [f"{plain(name)}: {plain(value)}" for name, value in (item.get("conditions") or {}).items()]
    lines += [f"note: {plain(text)}" for text in (item.get("notes") or {}).values()]
    if item.get("transcript"):
        lines.append(f"said: {plain(item['transcript'])}")
    heard = item.get("heard") or {}
    for name in ("wer_in", "wer", "wer_clean", "wer_open_in", "wer_open", "wer_open_clean"):
        if name in heard:
            lines.append(f"heard, {BY_NAME[name].title}: {plain(heard[name]) or '(nothing)'}")
    if item.get("output"):
        lines.append(f"output: {plain(item['output'])}")
    return "\n".join(lines)
