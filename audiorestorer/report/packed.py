"""The results of a large batch inside a page: numbers by column, compressed, which the page unpacks when it is asked for them."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

from audiorestorer.report.metricinfo import Metric, get_number, snr_of


def packed(items: Sequence[Mapping[str, Any]], names: Sequence[str], columns: Sequence[Metric]) -> str:
    """Base64 of gzipped JSON: `files`, `heads` (title, unit, digits) and `values`, a list a column of integers in the last digit."""
    heads = [["mixed at", "dB SNR", 1], *([metric.title, metric.unit, metric.digits] for metric in columns)]
    values = [[_scaled(snr_of(item), 1) for item in items]]
    values += [[_scaled(get_number(item, metric.name), metric.digits) for item in items] for metric in columns]
    text = json.dumps({"files": list(names), "heads": heads, "values": values}, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def _scaled(value: float | None, digits: int) -> int | None:
    return None if value is None else round(value * 10**digits)


def fitting(
    items: Sequence[Mapping[str, Any]], names: Sequence[str], columns: Sequence[Metric], budget: int
) -> tuple[str, int]:
    """As many of the items, from the first, as fit into `budget` bytes; and how many they are."""
    count = len(items)
    while count > 0:
        text = packed(items[:count], names[:count], columns)
        if len(text) <= budget:
            return text, count
        count = min(count - 1, int(0.97 * count * budget / len(text)))
    return "", 0
