"""The tables of scripts/bench/bench_quality.py: one per set, the ablation, and the targets of the whole chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from audiorestorer.report.tables import markdown_table
from scripts.bench.bench_common import machine
from scripts.bench.quality_systems import ABLATION, WHOLE

ABSENT = "–"
NOT_FOR_CLEAN = "not for clean speech"  # a row that is left out of the table
# figure, title, digits
PAIRS = (
    ("si_sdr_improvement_db", "SI-SDRi, dB ↑", 1), ("stoi", "STOI ↑", 3), ("estoi", "ESTOI ↑", 3), ("pesq", "PESQ-wb ↑", 2),
    ("lsd_db", "LSD, dB ↓", 1), ("composite", "composite ↑", 0), ("dnsmos_ovrl", "DNSMOS ↑", 2), ("wer", "WER ↓", 3),
)  # fmt: skip
CLEAN = (("si_sdr_db", "SI-SDR out, dB ↑", 1), *(one for one in PAIRS if one[0] in ("stoi", "estoi", "pesq", "lsd_db")))
# set, figure, what it is, at least
TARGETS = (
    ("pairs", "si_sdr_improvement_db", "noise pairs: SI-SDRi, dB", 11.5), ("pairs", "stoi", "noise pairs: STOI", 0.978),
    ("pairs", "pesq", "noise pairs: PESQ-wb", 2.9), ("pairs", "dnsmos_ovrl", "noise pairs: DNSMOS OVRL", 3.45),
    ("noisy", "si_sdr_improvement_db", "noisy: SI-SDRi, dB", 4.3), ("noisy", "stoi", "noisy: STOI", 0.85),
    ("noisy", "pesq", "noisy: PESQ-wb", 1.75), ("noisy", "dnsmos_ovrl", "noisy: DNSMOS OVRL", 3.1),
    ("mixtures", "si_sdr_improvement_db", "mixtures: SI-SDRi, dB", 10.0), ("mixtures", "stoi", "mixtures: STOI", 0.90),
    ("mixtures", "pesq", "mixtures: PESQ-wb", 2.2), ("mixtures", "dnsmos_ovrl", "mixtures: DNSMOS OVRL", 3.15),
    ("clean", "si_sdr_db", "clean speech in: SI-SDR out, dB", 30.0), ("clean", "stoi", "clean speech in: STOI", 0.998),
)  # fmt: skip
MAX_RTF, MAX_WEIGHTS_MB = 0.1, 24.0


def _number(value: float | None, digits: int, signed: bool = False) -> str:
    return ABSENT if value is None else f"{value:{'+' if signed else ''}.{digits}f}"


def _cells(row: Mapping[str, Any], columns: Sequence[tuple[str, str, int]], name: str) -> list[str]:
    figures = row["figures"]
    cells = []
    for figure, _, digits in columns:
        text = _number(figures.get(figure), digits, figure == "si_sdr_improvement_db")
        if name == "input" and figure == "si_sdr_improvement_db" and "si_sdr_db" in figures:
            text = f"0 ({figures['si_sdr_db']:.1f} dB)"
        counted = figures.get(f"n_{figure}", row["n"])
        cells.append(f"{text} (n={counted})" if counted < row["n"] else text)
    return cells


def set_table(result: Mapping[str, Any], systems: Sequence[Mapping[str, Any]]) -> str:
    """One row per system; a missing one says why. A column without any figure is left out."""
    columns = CLEAN if result["alone"] else PAIRS
    rows = result["systems"]
    columns = tuple(one for one in columns if any(one[0] in row["figures"] for row in rows.values()))
    head = ["", *(title for _, title, _ in columns), "RTF", "weights, MB"]
    lines = []
    for system in systems:
        name, row = system["name"], rows[system["name"]]
        if row["missing"]:
            if row["missing"] != NOT_FOR_CLEAN:
                lines.append([f"{name}: missing: {row['missing']}", *[ABSENT] * (len(head) - 1)])
            continue
        cells = _cells(row, columns, name)
        weights = _number(system["weights_bytes"] / 1e6, 1) if system["weights_bytes"] else "0"
        title = f"{name} (failed on {row['failed']})" if row["failed"] else name
        lines.append([title, *cells, _number(row.get("rtf_cpu"), 3), weights])
    return markdown_table(head, lines)


def targets(result: Mapping[str, Any]) -> list[list[str]]:
    """Target, measured, met: of the whole chain with the default configuration."""
    sets = {one["name"]: one["systems"].get(WHOLE) for one in result["sets"]}
    out = []

    def add(title: str, text: str, value: float | None, digits: int, met: Callable[[float], bool]) -> None:
        shown = "not measured" if value is None else _number(value, digits)
        out.append([title, text, shown, "?" if value is None else "yes" if met(value) else "no"])

    for name, figure, title, least in TARGETS:
        row = sets.get(name) or {"figures": {}}
        digits = 3 if figure == "stoi" else 2
        add(title, f"≥ {least:g}", row["figures"].get(figure), digits, lambda value, least=least: value >= least)  # type: ignore[misc]
    add("RTF of the whole chain", f"≤ {MAX_RTF:g}", _rtf(result), 3, lambda value: value <= MAX_RTF)
    megabytes = result["embedded_bytes"] / 1e6
    add("all embedded weights, MB", f"≤ {MAX_WEIGHTS_MB:g}", megabytes, 1, lambda value: value <= MAX_WEIGHTS_MB)
    return out


def _rtf(result: Mapping[str, Any]) -> float | None:
    """CPU seconds per second of audio of the whole chain, over all sets."""
    rows = [(row["seconds"], row["systems"].get(WHOLE, {})) for one_set in result["sets"] for row in one_set["pairs"]]
    done = [(seconds, one["cpu_sec"]) for seconds, one in rows if "cpu_sec" in one]
    return sum(cost for _, cost in done) / sum(seconds for seconds, _ in done) if done else None


def report(result: Mapping[str, Any]) -> str:
    """All tables as Markdown."""
    threads = result["threads"]
    parts = [
        f"Measured on {machine()}; {threads} thread{'s' if threads > 1 else ''}. RTF: CPU seconds per second of audio.\n"
    ]
    parts += [
        "### Targets, the whole chain\n",
        markdown_table(["", "target", "measured", "met"], targets(result)),
    ]
    changed = [one for one in result["systems"] if one["name"].startswith(ABLATION)]
    systems = [one for one in result["systems"] if one not in changed]
    for found in result["sets"]:
        seconds = sum(row["seconds"] for row in found["pairs"])
        what = "recordings" if found["alone"] else "pairs"
        parts += [f"### {found['name']}: {len(found['pairs'])} {what}, {seconds:.0f} s\n", set_table(found, systems)]
        if any(one["name"] in found["systems"] for one in changed):
            whole = [one for one in systems if one["name"] == WHOLE]
            parts += [
                f"Ablation on {found['name']}, one thing changed in the whole chain:\n",
                set_table(found, [*whole, *changed]),
            ]
        parts += [f"Not used: {one['name']}: {one['reason']}\n" for one in found["unusable"]]
    late = [f"{name} {_ms(found)} ms" for name, found in result["delays_samples"].items() if any(found.values())]
    if late:
        parts.append(f"Delays that were taken out: {', '.join(late)}.\n")
    return "\n".join(parts)


def _ms(delays: Mapping[str, int]) -> str:
    each = {f"{1000 * samples / int(rate):.1f}" for rate, samples in delays.items()}
    return " / ".join(sorted(each))
