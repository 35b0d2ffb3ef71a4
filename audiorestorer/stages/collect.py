"""collect: all shards' figures into one metrics.json and metrics.csv, with a summary."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiorestorer.manifest import Item, read_manifests, write_text_atomic

BY_SNR = "si_sdr_improvement_db"
DIGITS = 4


def row_of(item: Item) -> dict[str, Any]:
    """One item as `metrics.json` holds it."""
    row: dict[str, Any] = {"id": item.id, "input": item.relative or item.noisy, "status": item.status}
    if not item.ok:
        return {**row, "reason": item.reason}
    row |= {"output": item.output, "duration_sec": item.duration, "conditions": conditions_of(item)}
    row |= {name: round(value, DIGITS) for name, value in sorted((item.field("metrics") or {}).items())}
    return {**row, "missing": item.field("missing") or {}}


def conditions_of(item: Item) -> dict[str, Any]:
    """What the transcripts file says of an item; an SNR that is a number becomes one."""
    conditions: dict[str, Any] = dict(item.conditions or {})
    with contextlib.suppress(KeyError, ValueError):
        snr_db = float(conditions["snr_db"])
        if math.isfinite(snr_db):
            conditions["snr_db"] = snr_db
    return conditions


def statistics(values: list[float], reasons: list[str]) -> dict[str, Any]:
    """Median, quartiles, mean and counts; the most frequent reason where values are missing. No value: no figure, never a zero."""
    out: dict[str, Any] = {"n": len(values), "n_missing": len(reasons)}
    if values:
        q25, median, q75 = np.percentile(values, [25, 50, 75])
        figures = {
            "median": median,
            "q25": q25,
            "q75": q75,
            "mean": np.mean(values),
            "min": min(values),
            "max": max(values),
        }
        out |= {name: round(float(value), DIGITS) for name, value in figures.items()}
    if reasons:
        out["missing_reason"] = Counter(reasons).most_common(1)[0][0]
    return out


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Statistics of every metric over the finished items, and of the SI-SDR improvement at each SNR that the conditions name."""
    done = [row for row in rows if row["status"] == "ok"]
    fixed = {"id", "input", "output", "status", "duration_sec", "conditions", "missing"}
    names = sorted({name for row in done for name in (row.keys() - fixed) | row["missing"].keys()})
    summary: dict[str, Any] = {
        name: statistics(
            [row[name] for row in done if name in row], [row["missing"][name] for row in done if name in row["missing"]]
        )
        for name in names
    }
    levels = {row["conditions"].get("snr_db") for row in done if BY_SNR in row}
    numbers = sorted(level for level in levels if isinstance(level, float))
    if numbers:
        summary[f"{BY_SNR}_by_snr"] = {
            f"{level:g}": statistics(
                [row[BY_SNR] for row in done if BY_SNR in row and row["conditions"].get("snr_db") == level], []
            )
            for level in numbers
        }
    return summary


def run(manifests: list[Path], json_out: Path, csv_out: Path) -> None:
    """Write `{"items": [...], "summary": {...}, "counts": {...}, "rejected": [...]}` and a CSV with one line an item."""
    rows = [row_of(item) for item in read_manifests(manifests)]
    rejected = [{key: row[key] for key in ("id", "input", "reason")} for row in rows if row["status"] != "ok"]
    result = {
        "items": rows,
        "summary": summarise(rows),
        "counts": {"ok": len(rows) - len(rejected), "rejected": len(rejected)},
        "rejected": rejected,
    }
    write_text_atomic(csv_out, table(rows).to_csv(index=False))
    write_text_atomic(
        json_out, json.dumps(result, indent=1, sort_keys=False, allow_nan=False, ensure_ascii=False) + "\n"
    )


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The items as a table: conditions in columns of their own, missing figures empty."""
    flat = [
        {
            **{key: value for key, value in row.items() if key not in ("conditions", "missing")},
            **row.get("conditions", {}),
        }
        for row in rows
    ]
    return pd.DataFrame(flat)
