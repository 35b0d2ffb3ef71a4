"""The results of a large batch inside a page: numbers by column, compressed, which the page unpacks when it is asked for them."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

from audiorestorer.report.metricinfo import Metric, get_number, snr_of

Head = tuple[str, Metric, Sequence[str]]  # title, metric, names of its figures: before and after, or one


def packed(items: Sequence[Mapping[str, Any]], names: Sequence[str], heads: Sequence[Head]) -> str:
    """Base64 of gzipped JSON.

    `files` are the names, `heads` the columns (title, unit, digits, which way is better) and `values` holds for each column one
    list per figure, of integers in the last digit.
    """
    columns: list[Any] = [["mixed at", "dB SNR", 1, ""]]
    columns += [[title, metric.unit, metric.digits, metric.better] for title, metric, _ in heads]
    values = [[[_scaled(snr_of(item), 1) for item in items]]]
    values += [
        [[_scaled(get_number(item, name), metric.digits) for item in items] for name in figures]
        for _, metric, figures in heads
    ]
    text = json.dumps({"files": list(names), "heads": columns, "values": values}, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def _scaled(value: float | None, digits: int) -> int | None:
    return None if value is None else round(value * 10**digits)


def fitting(
    items: Sequence[Mapping[str, Any]], names: Sequence[str], heads: Sequence[Head], budget: int
) -> tuple[str, int]:
    """`packed` of as many items as fit into `budget` bytes, taken from the first on; and how many they are."""
    count = len(items)
    while count > 0:
        text = packed(items[:count], names[:count], heads)
        if len(text) <= budget:
            return text, count
        count = min(count - 1, int(0.97 * count * budget / len(text)))
    return "", 0
