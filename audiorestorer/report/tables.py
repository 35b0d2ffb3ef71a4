"""The results table (HTML) and the summary's tables (Markdown). File names and reasons come from outside: everything is escaped."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from audiorestorer.report.listening import REPORT_PAGE_BYTES, template
from audiorestorer.report.metricinfo import (
    BY_NAME,
    METRICS,
    Metric,
    benefit,
    get_number,
    items_ok,
    known,
    missing_reason,
    number,
    shown,
    snr_of,
)
from audiorestorer.report.packed import fitting

MARKDOWN_SPECIAL = re.compile(r"([\\`*\[\]|~$#])|((?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
MAX_REJECTED_HTML = 300
MAX_NAME = 300  # characters of a file name or a reason that are shown
MIN_ROW_BYTES = 60  # of a file's row in the table: fewer it never takes
TABLE_SHARE = 0.25  # of a page that cannot hold all rows: the rest is the compressed table
STATISTICS = ("median", "q25", "q75", "mean")
SUMMARY_HEAD = ("metric", "median", "95 % interval", "25 %", "75 %", "mean", "files", "missing")
PAIRED_HEAD = ("metric", "median change", "95 % interval", "better", "worse", "same", "p (Wilcoxon)")
CONDITION_METRICS = known(
    "si_sdr_improvement_db", "music_to_speech_in_db", "music_to_speech_db", "stoi_in", "stoi", "wer_in", "wer", "wer_clean",
    "pesq", "dnsmos_ovrl",
)  # fmt: skip


def plain_text(text: Any) -> str:
    """Text without what could deform a page: control, direction and surrogate characters become U+FFFD."""
    return "".join(
        " " if char in "\n\r\t" else "\ufffd" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char
        for char in str(text)
    )


def plain(text: Any) -> str:
    """`plain_text`, 300 characters at most."""
    cleaned = plain_text(text)
    return cleaned if len(cleaned) <= MAX_NAME else cleaned[: MAX_NAME - 1] + "…"


def markdown_escape(text: Any) -> str:
    """Text that shows as itself inside a Markdown table or paragraph."""
    safe = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKDOWN_SPECIAL.sub(r"\\\g<0>", safe).strip()


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; cells are escaped, the first column is left-aligned and the others right-aligned."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *([markdown_escape(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def unit_title(metric: Metric) -> str:
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title


def summary_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """A row a metric, as SUMMARY_HEAD: title, median, interval, quartiles, mean, number of files, number and reason of the missing."""
    rows = []
    for metric in METRICS:
        found = metrics.get("summary", {}).get(metric.name)
        if not found:
            continue
        missing = str(found.get("n_missing", 0))
        if found.get("missing_reason"):
            missing += f": {plain(found['missing_reason'])}"
        median, *others = (shown(number(found.get(name)), metric) for name in STATISTICS)
        rows.append([unit_title(metric), median, interval(found, metric), *others, str(found.get("n", 0)), missing])
    return rows


def interval(found: Mapping[str, Any], metric: Metric) -> str:
    """The bootstrap interval of a median as text; an en dash where there is none."""
    limits = found.get("ci95")
    if not isinstance(limits, Sequence) or len(limits) != 2:
        return "–"
    return " to ".join(shown(number(limit), metric) for limit in limits)


def paired_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """A row a metric that exists before and after, as PAIRED_HEAD: the change of the same files."""
    rows = []
    for metric in METRICS:
        found = metrics.get("paired", {}).get(metric.name)
        if not found or number(found.get("median")) is None:
            continue
        title = metric.title.replace(" after", "")
        ways = ("rose", "fell") if metric.better == "higher" else ("fell", "rose")
        counts = ["–", "–"] if metric.better == "target" else [str(found.get(way, 0)) for way in ways]
        p = number(found.get("wilcoxon_p"))
        rows.append(
            [
                f"{title} ({metric.unit})" if metric.unit else title, signed(number(found.get("median")), metric),
                interval(found, metric), *counts, str(found.get("same", 0)), "–" if p is None else f"{p:.2g}",
            ]
        )  # fmt: skip
    return rows


def signed(value: float | None, metric: Metric) -> str:
    """A change, with its sign."""
    text = shown(value, metric)
    return text if value is None or text.startswith("−") or not float(text) else f"+{text}"


def condition_tables(metrics: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """For each condition (voice, music, snr_db): its name, the head, and a row a value with the medians of the main metrics."""
    out = []
    for condition, groups in (metrics.get("by_condition") or {}).items():
        chosen = [BY_NAME[name] for name in CONDITION_METRICS if any(name in group["metrics"] for group in groups)]
        rows = [
            [
                plain(f"{group['value']:g}" if isinstance(group["value"], float) else group["value"]),
                str(group["n"]),
                *(shown(number((group["metrics"].get(m.name) or {}).get("median")), m) for m in chosen),
            ]
            for group in groups
        ]
        out.append((plain(condition), [plain(condition), "files", *(unit_title(metric) for metric in chosen)], rows))
    return out


def wer_notes(metrics: Mapping[str, Any]) -> list[str]:
    """Where WER says nothing, because the recogniser gets more than half of the clean speech wrong."""
    notes = []
    for name, title in (("wer", "WER"), ("wer_open", "WER with the open vocabulary")):
        found = [note for note in metrics.get("wer_not_informative") or () if note.get("metric") == name]
        groups = [
            f"{note['condition']} {plain(note['value'])} ({100 * note['wer_clean']:.0f} %)"
            for note in found
            if "value" in note
        ]
        if any("value" not in note for note in found):
            notes.append(
                f"{title} is not informative here: the recogniser gets more than half of the clean speech wrong."
            )
        elif groups:
            notes.append(
                f"{title} is not informative for {', '.join(groups)}: there the recogniser gets more than half of the clean"
                " speech wrong."
            )
    return notes


NOTE_TITLES = {
    "speech": "speech that was taken away, or not found",
    "header": "headers that do not say what the file holds",
    "reference": "references that had to be aligned, or are not of this recording",
    "transcript": "transcripts that could not be used",
    "loudness": "loudness that BS.1770 does not give, or that is not the target",
    "wer": "word error rates that count characters",
    "tags": "tags, time codes and markers that the outputs do not have",
}


def note_groups(metrics: Mapping[str, Any], limit: int = 3) -> list[tuple[str, list[tuple[str, str, str]], int]]:
    """The notes of the rows by kind, those about speech first: (title, [(id, file, note)], how many files more)."""
    groups = []
    for found in metrics.get("notes") or ():
        shown_files = [(str(row["id"]), plain(row["input"]), plain(row["text"])) for row in found["first"][:limit]]
        groups.append((NOTE_TITLES.get(found["kind"], found["kind"]), shown_files, found["count"] - len(shown_files)))
    return groups


def left_out(metrics: Mapping[str, Any]) -> list[str]:
    """What was left out of the run, a sentence a kind: other formats, references and transcripts without a recording."""
    return [plain_text(entry["text"]) for entry in metrics.get("left_out") or ()]


def snr_rows(metrics: Mapping[str, Any]) -> list[tuple[float, Mapping[str, Any]]]:
    """SI-SDR improvement by input SNR in rising order; conditions that hold no number are left out."""
    found = metrics.get("summary", {}).get("si_sdr_improvement_db_by_snr") or {}
    rows = []
    for name, statistics in found.items():
        try:
            rows.append((float(name), statistics))
        except ValueError:
            continue
    return sorted(rows, key=lambda row: row[0])


def results_html(metrics: Mapping[str, Any], limit_bytes: int = REPORT_PAGE_BYTES) -> str:
    """The results page: one row a file.

    Where that takes more than `limit_bytes`, the table holds the files that gained least, and a second one all files, compressed
    inside of the page; files that fit into neither are counted. Columns that no file has a value or a reason for do not appear.
    """
    items = items_ok(metrics)
    columns = [
        metric
        for metric in METRICS
        if any(metric.name in item or metric.name in (item.get("missing") or {}) for item in items)
    ]
    rejected = [
        {"input": plain(row.get("input", row.get("id"))), "reason": plain(row.get("reason"))}
        for row in metrics.get("rejected", ())
    ]
    budget = (
        limit_bytes
        - 20_000
        - sum(len(str(escape(row["input"] + row["reason"])).encode()) + 40 for row in rejected[:MAX_REJECTED_HTML])
    )
    inside, rest, held = _fitting(items, columns, budget)
    return template("results.html.j2").render(
        counts={"ok": len(items), "rejected": len(rejected)}, columns=columns, in_table=len(inside), packed=rest,
        left_out=len(items) - held, rows=Markup("\n").join(inside), summary=summary_rows(metrics), summary_head=SUMMARY_HEAD,
        paired=paired_rows(metrics), paired_head=PAIRED_HEAD, conditions=condition_tables(metrics), wer_notes=wer_notes(metrics),
        notes=note_groups(metrics), left_out_notes=left_out(metrics), rejected=rejected[:MAX_REJECTED_HTML],
        rejected_left_out=max(0, len(rejected) - MAX_REJECTED_HTML),
    )  # fmt: skip


def _fitting(
    items: Sequence[Mapping[str, Any]], columns: Sequence[Metric], budget: int
) -> tuple[list[Markup], str, int]:
    """Rows for the table, the compressed table of all files where not every row fits, and the number of files that the page holds."""
    if len(items) * MIN_ROW_BYTES <= budget:
        rows = [_row(item, columns) for item in items]
        if sum(len(row.encode()) + 1 for row in rows) <= budget:
            return rows, "", len(items)
    ranked = sorted(items, key=lambda item: (benefit(item)[0] is None, benefit(item)[0] or 0.0))
    worst: list[Markup] = []
    left = budget * TABLE_SHARE
    for item in ranked:
        row = _row(item, columns)
        left -= len(row.encode()) + 1
        if left < 0:
            break
        worst.append(row)
    names = [plain(item.get("input") or item["id"]) for item in ranked]
    text, count = fitting(ranked, names, columns, int(budget * (1 - TABLE_SHARE)))
    return worst, text, max(count, len(worst))


def _row(item: Mapping[str, Any], columns: Sequence[Metric]) -> Markup:
    name = plain(item.get("input") or item["id"])
    snr = snr_of(item)
    cells = [
        Markup('<td title="{0}"><button type=button class=d data-d="{1}">{0}</button>').format(name, details(item)),
        Markup("<td>{}").format(f"{snr:g}".replace("-", "−")) if snr is not None
        else Markup('<td class=m title="not known: not a mixture of this project">–'),
    ]  # fmt: skip
    for metric in columns:
        value = get_number(item, metric.name)
        if value is None:
            cells.append(Markup('<td class=m title="{}">–').format(plain(missing_reason(item, metric.name))))
        else:
            cells.append(Markup("<td>{}").format(shown(value, metric)))
    return Markup('<tr id="item-{}">').format(plain(item["id"])) + Markup("").join(cells)


def details(item: Mapping[str, Any]) -> str:
    """What an item's row opens to, a line each: conditions, what was said and what the recogniser heard, where the output lies."""
    lines = [f"{plain(name)}: {plain(value)}" for name, value in (item.get("conditions") or {}).items()]
    lines += [f"note: {plain(text)}" for text in (item.get("notes") or {}).values()]
    if item.get("transcript"):
        lines.append(f"said: {plain(item['transcript'])}")
    heard = item.get("heard") or {}
    for metric in METRICS:
        if metric.name in heard:
            lines.append(f"heard, {metric.title}: {plain(heard[metric.name]) or '(nothing)'}")
    if item.get("output"):
        lines.append(f"output: {plain(item['output'])}")
    return "\n".join(lines)
