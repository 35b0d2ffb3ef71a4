"""Presence of music, speech and noise in mixture and output, as a PANNs tagger hears it: probabilities, 0 to 1."""

from __future__ import annotations

from importlib import util
from typing import Any

from audiorestorer.manifest import Item
from audiorestorer.metrics import tagging
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.files import Reasons, Values, mono_excerpt

SIDES = ("noisy", "output")
LONGEST_SEC = 300.0  # of a longer file: 30 windows of 10 s, evenly spread


def names(context: Context) -> dict[str, str]:
    return {f"{group}_presence": group for group in tagging.CLASSES}


def unavailable(context: Context) -> str | None:
    if context.tagger is None:
        return context.tagger_hint
    return None if util.find_spec("panns_inference") else "the package panns-inference is not installed"


def state(context: Context) -> Any:
    return context.tagger["digest"] if context.tagger else None


def modules(context: Context) -> tuple[str, ...]:
    return ("metrics.groups.panns",)


def load(context: Context) -> Any:
    assert context.tagger is not None
    tag = tagging.load(context.tagger, context.device, context.threads)

    def compute(path: str, item: Item) -> tuple[Values, Reasons, dict[str, str]]:
        view = item.view if item else None
        found = tag(mono_excerpt(path, tagging.RATE_HZ, tagging.WINDOW_SEC, LONGEST_SEC, view))
        return {f"{group}_presence": value for group, value in found.items()}, {}, {}

    return compute
