"""collect: all shards' figures into one metrics.json and metrics.csv, with a summary."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audiorestorer.files import read_json, write_csv, write_text_atomic
from audiorestorer.manifest import Item, read_manifests
from audiorestorer.metrics.statistics import DIGITS, describe, paired, uninformative
from audiorestorer.metrics.statistics import conditions_of as splits_of

MAX_NOTED = 100  # files of one kind of note that the first page can name; the CSV names all
BY_SNR = "si_sdr_improvement_db"
ENHANCED = ("enhanced", "enhance_wer", "enhance_reason")  # where the stage enhance ran
# figures of the stage loudness: no measures of quality, so they get no medians
TAKEN = ("loudest_in_lufs", "loudest_out_lufs", "taken_db")
DELAY = "reference_delay_ms"  # where the reference was aligned
# keys of a row that are no metrics
FIXED = frozenset(
    (
        "id",
        "input",
        "output",
        "status",
        "reason",
        "duration_sec",
        "conditions",
        "missing",
        "notes",
        "transcript",
        "heard",
    )
) | {*ENHANCED, *TAKEN, DELAY}


def row_of(item: Item) -> dict[str, Any]:
    """One item as `metrics.json` holds it."""
    row: dict[str, Any] = {"id": item.id, "input": item.relative or item.noisy, "status": item.status}
    if not item.ok:
        return {**row, "reason": item.reason}
    row |= {"output": item.output, "duration_sec": item.duration, "conditions": conditions_of(item)}
    row |= {name: getattr(item, name) for name in (*ENHANCED, *TAKEN, DELAY) if getattr(item, name) is not None}
    row |= {name: round(value, DIGITS) for name, value in sorted((item.metrics or {}).items())}
    row |= {"notes": item.notes} if item.notes else {}
    row |= {"transcript": item.transcript, "heard": item.heard} if item.heard else {}
    return {**row, "missing": item.missing or {}}


def conditions_of(item: Item) -> dict[str, Any]:
    """The conditions that the transcripts file gives for an item; an SNR that is a number becomes one."""
    conditions: dict[str, Any] = dict(item.conditions or {})
    with contextlib.suppress(KeyError, ValueError):
        snr_db = float(conditions["snr_db"])
        if math.isfinite(snr_db):
            conditions["snr_db"] = snr_db
    return conditions


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Statistics of every metric over the finished items, and of the SI-SDR improvement at each SNR that the conditions name."""
    done = [row for row in rows if row["status"] == "ok"]
    names = sorted({name for row in done for name in (row.keys() - FIXED) | row["missing"].keys()})
    summary = metrics_of(done, names)
    levels = {row["conditions"].get("snr_db") for row in done if BY_SNR in row}
    numbers = sorted(level for level in levels if isinstance(level, float))
    if numbers:
        summary[f"{BY_SNR}_by_snr"] = {
            f"{level:g}": describe(
                [row[BY_SNR] for row in done if BY_SNR in row and row["conditions"].get("snr_db") == level]
            )
            for level in numbers
        }
    return summary


def metrics_of(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, Any]:
    """Each metric's statistics over these rows."""
    return {
        name: describe(
            [row[name] for row in rows if name in row], [row["missing"][name] for row in rows if name in row["missing"]]
        )
        for name in names
    }


def pairs_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Before and after of the same files, for each metric that has both."""
    pairs = {}
    for name in sorted({name for row in rows for name in row.keys() - FIXED}):
        before = before_of(name)
        both = [(row[before], row[name]) for row in rows if before in row and name in row]
        if both:
            pairs[name] = paired([pair[0] for pair in both], [pair[1] for pair in both])
    return pairs


def before_of(name: str) -> str:
    """The name of the mixture's figure: `stoi` -> `stoi_in`, `si_sdr_db` -> `si_sdr_in_db`."""
    return f"{name[:-3]}_in_db" if name.endswith("_db") else f"{name}_in"


def by_condition(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One table per condition (voice, music, snr_db): `{"voice": [{"value": ..., "n": ..., "metrics": {...}}, ...]}`."""
    names = sorted({name for row in rows for name in row.keys() - FIXED})
    tables = {}
    for condition, values in splits_of(rows).items():
        groups = [(value, [row for row in rows if row["conditions"].get(condition) == value]) for value in values]
        tables[condition] = [
            {
                "value": value,
                "n": len(group),
                "metrics": metrics_of(group, [n for n in names if any(n in r for r in group)]),
            }
            for value, group in groups
        ]
    return tables


def notes_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows' notes by kind: the kind, the number of files, and the name and note of each of the first files."""
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        for kind, text in (row.get("notes") or {}).items():
            groups.setdefault(kind, []).append({"id": row["id"], "input": row["input"], "text": text})
    return [
        {"kind": kind, "count": len(files), "first": files[:MAX_NOTED]}
        for kind, files in sorted(groups.items(), key=lambda group: (group[0] != "speech", group[0]))
    ]


def run(manifests: list[Path], json_out: Path, csv_out: Path, left_out: Path | None = None) -> None:
    """Write `metrics.json` (items, summary, paired, by_condition, wer_not_informative, notes, left_out, counts, rejected) and a CSV.

    Args:
        left_out: the file that the command `left-out` wrote.
    """
    rows = [row_of(item) for item in read_manifests(manifests)]
    rejected = [{key: row[key] for key in ("id", "input", "reason")} for row in rows if row["status"] != "ok"]
    done = [row for row in rows if row["status"] == "ok"]
    summary, conditions = summarise(rows), by_condition(done)
    result = {
        "items": rows,
        "summary": summary,
        "paired": pairs_of(done),
        "by_condition": conditions,
        "wer_not_informative": uninformative(summary, conditions),
        "notes": notes_of(done),
        "left_out": read_json(left_out)["left_out"] if left_out else [],
        "counts": {"ok": len(rows) - len(rejected), "rejected": len(rejected)},
        "rejected": rejected,
    }
    flat = table(rows)
    write_csv(csv_out, list(dict.fromkeys(name for row in flat for name in row)), flat)
    write_text_atomic(
        json_out, json.dumps(result, indent=1, sort_keys=False, allow_nan=False, ensure_ascii=False) + "\n"
    )


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items as rows of the CSV, with a column for each condition."""
    return [
        {
            **{key: value for key, value in row.items() if key not in ("conditions", "missing", "heard", "notes")},
            **row.get("conditions", {}),
            **({"notes": "; ".join(row["notes"].values())} if row.get("notes") else {}),
        }
        for row in rows
    ]
