"""The metrics of all groups (title, unit, which way is better) in the order of the report; safe access to metrics.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics.groups import Metric as Metric
from audiorestorer.metrics.groups import in_order

METRICS = in_order()
BY_NAME = {metric.name: metric for metric in METRICS}


def known(*names: str) -> tuple[str, ...]:
    """Names that a page chose to show.

    Raises:
        AudioRestorerError: one of them is no group's metric.
    """
    if unknown := [name for name in names if name not in BY_NAME]:
        raise AudioRestorerError(
            f"the report shows {', '.join(unknown)}: no such metric in audiorestorer/metrics/groups"
        )
    return names


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def get_number(item: Mapping[str, Any], name: str) -> float | None:
    """An item's metric, or None where it is missing."""
    return number(item.get(name))


def missing_reason(item: Mapping[str, Any], name: str) -> str:
    """The reason why an item lacks a metric."""
    return str((item.get("missing") or {}).get(name) or "not measured")


def items_ok(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The items that went through, sorted by id."""
    return sorted(
        (item for item in metrics.get("items", ()) if item.get("status") == "ok"), key=lambda item: str(item["id"])
    )


def snr_of(item: Mapping[str, Any]) -> float | None:
    """The SNR at which an item was mixed, where that is known."""
    return number((item.get("conditions") or {}).get("snr_db"))


def shown(value: float | None, metric: Metric) -> str:
    """A number as text: fixed digits, a true minus sign; an en dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:.{metric.digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "−")


def benefit(item: Mapping[str, Any]) -> tuple[float | None, str]:
    """The gain of an item and the metric that tells it: SI-SDR improvement, else the fall of music to speech, of the blind one where
    there is no reference; else None."""
    gained = get_number(item, "si_sdr_improvement_db")
    if gained is not None:
        return gained, "si_sdr_improvement_db"
    for stem in ("music_to_speech", "music_to_speech_blind"):
        before, after = get_number(item, f"{stem}_in_db"), get_number(item, f"{stem}_db")
        if before is not None and after is not None:
            return before - after, f"{stem}_db"
    return None, ""
