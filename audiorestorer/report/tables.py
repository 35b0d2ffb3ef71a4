"""The tables of the results page and of the summary, as text. File names and reasons come from outside: everything is escaped."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from audiorestorer.report.metricinfo import BY_NAME, METRICS, Metric, known, number, shown

MARKDOWN_SPECIAL = re.compile(r"([\\`*\[\]|~$#])|((?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
MAX_NAME = 300  # characters of a file name or a reason that are shown
SIDES = ("before", "after", "clean")
# ending of a metric's name -> ending of the metric it belongs to, and its side
SUFFIXES = {"_in_db": ("_db", "before"), "_in": ("", "before"), "_clean": ("", "clean")}
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


def sides_of(metrics: Sequence[Metric] = METRICS) -> dict[str, dict[str, str]]:
    """The metrics that belong together: name -> side (`before`, `after`, `clean`) -> metric; one side for what exists once."""
    groups: dict[str, dict[str, str]] = {}
    for metric in metrics:
        for suffix, (instead, side) in SUFFIXES.items():
            main = metric.name.removesuffix(suffix) + instead
            if metric.name.endswith(suffix) and main in BY_NAME:
                groups.setdefault(main, {})[side] = metric.name
                break
        else:
            groups.setdefault(metric.name, {})["after"] = metric.name
    return {main: {side: names[side] for side in SIDES if side in names} for main, names in groups.items()}


def both_title(metric: Metric) -> str:
    """The title of a metric that stands for before and after together: `STOI after` -> `STOI`."""
    return metric.title.replace(" after", "")


def unit_title(metric: Metric) -> str:
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title


def summary_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """A row per measured metric, as SUMMARY_HEAD; the last cell has the number of files without it and the reason."""
    rows = []
    for metric in METRICS:
        statistics = metrics.get("summary", {}).get(metric.name) or {}
        if not statistics.get("n"):
            continue
        missing = str(statistics.get("n_missing", 0))
        if statistics.get("missing_reason"):
            missing += f": {plain(statistics['missing_reason'])}"
        median, *others = (shown(number(statistics.get(name)), metric) for name in STATISTICS)
        rows.append([unit_title(metric), median, interval(statistics, metric), *others, str(statistics["n"]), missing])
    return rows


def not_measured(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The metrics that were to be measured and that no file has: their titles, and the most frequent reason."""
    titles: dict[str, list[str]] = {}
    for main, names in sides_of().items():
        statistics = [metrics.get("summary", {}).get(name) or {} for name in names.values()]
        reason = next((found["missing_reason"] for found in statistics if found.get("missing_reason")), None)
        if reason and not any(found.get("n") for found in statistics):
            titles.setdefault(plain(reason), []).append(both_title(BY_NAME[main]))
    return [(", ".join(names), reason) for reason, names in titles.items()]


def interval(statistics: Mapping[str, Any], metric: Metric) -> str:
    """The bootstrap interval of a median as text; an en dash where there is none."""
    limits = statistics.get("ci95")
    if not isinstance(limits, Sequence) or len(limits) != 2:
        return "–"
    return " to ".join(shown(number(limit), metric) for limit in limits)


def paired_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """A row per metric that exists before and after, as PAIRED_HEAD: the change of the same files."""
    rows = []
    for metric in METRICS:
        change = metrics.get("paired", {}).get(metric.name)
        if not change or number(change.get("median")) is None:
            continue
        counts = ["–", "–"] if metric.better == "target" else [str(count) for count in better_and_worse(change, metric)]
        p = number(change.get("wilcoxon_p"))
        rows.append(
            [
                unit_title(metric).replace(" after", ""),
                signed(number(change.get("median")), metric),
                interval(change, metric),
                *counts,
                str(change.get("same", 0)),
                "–" if p is None else f"{p:.2g}",
            ]
        )
    return rows


def better_and_worse(change: Mapping[str, Any], metric: Metric) -> tuple[int, int]:
    """How many files got better and how many worse, by the direction that is good for the metric."""
    rose, fell = change.get("rose", 0), change.get("fell", 0)
    return (rose, fell) if metric.better == "higher" else (fell, rose)


def signed(value: float | None, metric: Metric) -> str:
    """A change, with its sign."""
    text = shown(value, metric)
    return text if value is None or text.startswith("−") or not float(text) else f"+{text}"


def condition_tables(metrics: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """For each condition (voice, music, snr_db): its name, the head, and one row per value with the medians of the main metrics."""
    out = []
    for condition, groups in (metrics.get("by_condition") or {}).items():
        columns = [BY_NAME[name] for name in CONDITION_METRICS if any(name in group["metrics"] for group in groups)]
        rows = [
            [
                plain(f"{group['value']:g}" if isinstance(group["value"], float) else group["value"]),
                str(group["n"]),
                *(shown(number((group["metrics"].get(m.name) or {}).get("median")), m) for m in columns),
            ]
            for group in groups
        ]
        out.append((plain(condition), [plain(condition), "files", *(unit_title(metric) for metric in columns)], rows))
    return out


def wer_notes(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences on where WER says nothing, because the recogniser gets more than half of the clean speech wrong."""
    notes = []
    for name, title in (("wer", "WER"), ("wer_open", "WER with the open vocabulary")):
        notes_of_metric = [note for note in metrics.get("wer_not_informative") or () if note.get("metric") == name]
        groups = [
            f"{note['condition']} {plain(note['value'])} ({100 * note['wer_clean']:.0f} %)"
            for note in notes_of_metric
            if "value" in note
        ]
        if any("value" not in note for note in notes_of_metric):
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
    "clipping": "recordings that were clipped",
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
    for group in metrics.get("notes") or ():
        files = [(str(row["id"]), plain(row["input"]), plain(row["text"])) for row in group["first"][:limit]]
        groups.append((NOTE_TITLES.get(group["kind"], group["kind"]), files, group["count"] - len(files)))
    return groups


def left_out(metrics: Mapping[str, Any]) -> list[str]:
    """One sentence per kind of file that the run left out: other formats, references and transcripts without a recording."""
    return [plain_text(entry["text"]) for entry in metrics.get("left_out") or ()]


def snr_rows(metrics: Mapping[str, Any]) -> list[tuple[float, Mapping[str, Any]]]:
    """SI-SDR improvement by input SNR in rising order; conditions that hold no number are left out."""
    by_snr = metrics.get("summary", {}).get("si_sdr_improvement_db_by_snr") or {}
    rows = []
    for name, statistics in by_snr.items():
        try:
            rows.append((float(name), statistics))
        except ValueError:
            continue
    return sorted(rows, key=lambda row: row[0])
