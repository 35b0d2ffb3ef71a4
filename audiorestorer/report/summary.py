"""summary.md: what a run achieved, with which settings, models and versions, in one page of Markdown."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any
from urllib.parse import quote

import yaml

from audiorestorer.licences import commercial_use
from audiorestorer.report.metricinfo import BY_NAME, METRICS, known, number, shown
from audiorestorer.report.outcome import KeyFigure, counts_sentence, key_figures, worst_files
from audiorestorer.report.tables import (
    PAIRED_HEAD,
    SUMMARY_HEAD,
    condition_tables,
    left_out,
    markdown_escape,
    markdown_table,
    note_groups,
    paired_rows,
    snr_rows,
    summary_rows,
    unit_title,
    wer_notes,
)

PACKAGES = (
    "audiorestorer", "snakemake", "numpy", "scipy", "soundfile", "soxr", "onnxruntime", "torch", "demucs", "pystoi", "jiwer",
    "pocketsphinx", "onnx-asr", "faster-whisper", "pesq", "speechmos", "panns-inference",
)  # fmt: skip
MAX_REJECTED = 1000


def summary_markdown(metrics: Mapping[str, Any], config: Mapping[str, Any], models: Sequence[Mapping[str, Any]]) -> str:
    """The whole page.

    Args:
        metrics: metrics.json.
        config: the settings of the stages, as they were resolved.
        models: one record per model in use: name, kind, licence and a digest of the weights.
    """
    parts = [
        "# Summary of the run\n",
        *_head(metrics),
        *_notes(metrics),
        "## Not measured\n", _missing(metrics),
        "## Statistics\n", _statistics(metrics),
        "## Before and after, the same files\n", _paired(metrics),
        "## SI-SDR improvement by input SNR\n", _by_snr(metrics),
        *(
            f"## By {markdown_escape(name)} (medians)\n\n{markdown_table(head, rows)}"
            for name, head, rows in condition_tables(metrics)
        ),
        "## Rejected files\n", _rejected(metrics),
        "## Models\n", models_table(models),
        "## Configuration\n", _fenced(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), "yaml"),
        "## Versions\n", markdown_table(("package", "version"), versions()),
    ]  # fmt: skip
    return "\n".join(parts)


def versions() -> list[tuple[str, str]]:
    """Versions of the packages that shaped the result. Reads the installed metadata only: torch is not imported."""
    rows = [("python", platform.python_version())]
    for name in PACKAGES:
        try:
            rows.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            rows.append((name, "run from its source tree" if name == "audiorestorer" else "not installed"))
    return rows


def _head(metrics: Mapping[str, Any]) -> list[str]:
    """The outcome: counts, the figures that matter before and after, a picture, the files that gained least, and further medians."""
    figures = "".join(f"- {_figure_line(figure)}\n" for figure in key_figures(metrics))
    opening = f"**{counts_sentence(metrics)}**" + (" Medians before → after (95 % intervals):" if figures else "")
    parts = [opening + "\n", *([figures] if figures else [])]
    worst = worst_files(metrics)
    if worst.files:
        names = ", ".join(
            f"[{markdown_escape(name)}](results.html#item-{quote(id_)}) ({gain})" for id_, name, gain in worst.files
        )
        parts.append(f"Gained least by {worst.by}: {names}.\n")
    if metrics.get("items"):
        picture = "overview" if worst.by == "SI-SDR" else "distributions"
        parts.append(f"![Figures of all files before and after](figures/{picture}.png)\n")
    if further := further_medians(metrics):
        parts.append(" ".join(further) + "\n")
    return parts


def _figure_line(figure: KeyFigure) -> str:
    if figure.missing:
        return f"{figure.title}: not measured: {markdown_escape(figure.missing)}"
    line = f"{figure.title}: {figure.before}{_within(figure.before_interval)} → "
    line += f"**{figure.after}**{_within(figure.after_interval)}"
    if figure.counts:
        line += f"; median change {figure.change}{_within(figure.change_interval)}; files: {figure.counts}"
    return line + (f"; the clean speech itself: {figure.clean}" if figure.clean else "")


def _within(interval: str) -> str:
    return "" if interval == "–" else f" ({interval})"


def further_medians(metrics: Mapping[str, Any]) -> list[str]:
    """The gain by input SNR, and medians beside the figures that matter, one sentence each; what was not measured is left out."""
    said = []
    gain = _median(metrics, "si_sdr_improvement_db")
    steps = [
        f"{_signed(number(statistics.get('median')))} at {f'{snr:g}'.replace('-', '−')} dB input SNR"
        for snr, statistics in snr_rows(metrics)
    ]
    if gain is not None and steps:
        said.append(f"Median SI-SDR improvement: {_signed(gain)} overall; {', '.join(steps)}.")
    shown_above = {figure.title for figure in key_figures(metrics)}
    for name in known("pesq", "dnsmos_ovrl", "music_presence", "lufs"):
        metric, old, new = BY_NAME[name], _median(metrics, f"{name}_in"), _median(metrics, name)
        title = unit_title(metric).replace(" after", "")
        if new is not None and title not in shown_above:
            start = f"{shown(old, metric)} before, " if old is not None else ""
            said.append(f"Median {title}: {start}{shown(new, metric)} after.")
    return said + wer_notes(metrics)


def _median(metrics: Mapping[str, Any], name: str) -> float | None:
    return number((metrics.get("summary", {}).get(name) or {}).get("median"))


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f} dB".replace("-", "−")


def _notes(metrics: Mapping[str, Any]) -> list[str]:
    """Sections of what was left out and of the rows' notes; none where there is nothing to say."""
    parts = []
    if texts := left_out(metrics):
        parts += ["## Left out\n", "".join(f"- {markdown_escape(text)}\n" for text in texts)]
    if groups := note_groups(metrics, MAX_REJECTED):
        parts.append("## Files to look at\n")
    for title, files, more in groups:
        table = markdown_table(("file", "note"), [(name, text) for _, name, text in files]).replace("---:", "---")
        parts.append(
            f"{title[0].upper()}{title[1:]}:\n\n{table}"
            + (f"\nand {more} more: see eval/metrics.csv\n" if more else "")
        )
    return parts


def _missing(metrics: Mapping[str, Any]) -> str:
    rows = []
    for metric in METRICS:
        statistics = metrics.get("summary", {}).get(metric.name) or {}
        if statistics.get("n_missing"):
            of = statistics["n_missing"] + statistics.get("n", 0)
            rows.append(
                (
                    unit_title(metric),
                    f"{statistics['n_missing']} of {of}",
                    statistics.get("missing_reason") or "see the results table",
                )
            )
    return (
        markdown_table(("metric", "files without it", "reason"), rows)
        if rows
        else "Every metric was measured for every file.\n"
    )


def _statistics(metrics: Mapping[str, Any]) -> str:
    rows = [row[:-1] for row in summary_rows(metrics)]
    return markdown_table(SUMMARY_HEAD[:-1], rows) if rows else "none\n"


def _paired(metrics: Mapping[str, Any]) -> str:
    rows = paired_rows(metrics)
    return markdown_table(PAIRED_HEAD, rows) if rows else "No metric exists before and after.\n"


def _by_snr(metrics: Mapping[str, Any]) -> str:
    metric = BY_NAME["si_sdr_improvement_db"]
    rows = [
        [f"{snr:g}".replace("-", "−"), *(shown(number(found.get(name)), metric) for name in ("median", "q25", "q75", "mean")),
         found.get("n", 0)]
        for snr, found in snr_rows(metrics)
    ]  # fmt: skip
    if not rows:
        return "No file's mixing SNR is known.\n"
    return markdown_table(("input SNR (dB)", "median (dB)", "25 %", "75 %", "mean", "files"), rows)


def _rejected(metrics: Mapping[str, Any]) -> str:
    rejected = list(metrics.get("rejected", ()))
    if not rejected:
        return "none\n"
    rows = [(row.get("input", row.get("id")), row.get("reason")) for row in rejected[:MAX_REJECTED]]
    more = f"\nand {len(rejected) - MAX_REJECTED} more: see eval/metrics.csv\n" if len(rejected) > MAX_REJECTED else ""
    return markdown_table(("file", "reason"), rows).replace("---:", "---") + more


def models_table(models: Sequence[Mapping[str, Any]]) -> str:
    """One row per model with its licence and the hash of its weights; below it a warning for what is not for commercial use."""
    if not models:
        return "none\n"
    rows = [(m.get("name"), m.get("kind"), m.get("licence") or "unknown", _digest(m)) for m in models]
    text = markdown_table(("model", "kind", "licence", "digest of files and sizes"), rows).replace("---:", "---")
    for use, meaning in (
        ("forbidden", "No commercial use"),
        ("unclear", "Whether commercial use is allowed is not clear"),
    ):
        names = [
            markdown_escape(model.get("name"))
            for model in models
            if commercial_use(model.get("licence"), model.get("commercial")) == use
        ]
        if names:
            text += f"\n**{meaning}** by the licence of the weights of {', '.join(names)}.\n"
    return text


def _digest(model: Mapping[str, Any]) -> str:
    for name in ("weights", "weights_digest", "digest", "sha256"):
        if isinstance(model.get(name), str):
            return str(model[name])
    return "unknown"


def _fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any run of backticks inside."""
    cleaned = "\n".join(plain_line(line) for line in text.rstrip("\n").split("\n"))
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", cleaned)), default=0))
    return f"{fence}{language}\n{cleaned}\n{fence}\n"


def plain_line(line: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in line)
