"""Word error rate of mixture, output and clean reference, each with every configured language model.

The three stand side by side because a recogniser makes errors of its own: what the restoration did is the difference between mixture
and output, and the clean reference's rate is what no restoration can beat. `wer` is with the batch's language model (or with the
recogniser that the config names), `wer_open` with pocketsphinx's own.
"""

from __future__ import annotations

from typing import Any

from audiorestorer.manifest import Item
from audiorestorer.metrics import Missing, recognisers
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.files import Reasons, Values, gather
from audiorestorer.metrics.texts import word_error_rate

SIDES = ("noisy", "output", "clean")
NEEDS_TRANSCRIPT = True


def names(context: Context) -> dict[str, str]:
    """Metric -> language model. A recogniser other than pocketsphinx has but its own."""
    if recognisers.kind_of(context) != "pocketsphinx":
        return {"wer": "own"}
    found = {"batch": "wer", "general": "wer_open"}
    return {found[model]: model for model in context.language_models}


def unavailable(context: Context) -> str | None:
    return recognisers.unavailable(context)


def state(context: Context) -> Any:
    """What a figure depends on beside audio, transcript and code."""
    weights = context.recogniser["digest"] if context.recogniser else recognisers.EMBEDDED_RECOGNISER
    with_text = "batch" in names(context).values()
    return {"names": names(context), "weights": weights, "sentences": context.sentences if with_text else ()}


def modules(context: Context) -> tuple[str, ...]:
    """What the code digest covers."""
    return "metrics.group_wer", f"metrics.recognisers.{recognisers.kind_of(context)}"


def load(context: Context) -> Any:
    """A function of a file's path and its item that gives the figures, the reasons, and what was heard."""
    found: dict[str, Any] = {}
    for name, model in names(context).items():
        try:
            found[name] = recognisers.load(context, model)
        except Missing as reason:
            found[name] = str(reason)

    def compute(path: str, item: Item) -> tuple[Values, Reasons, dict[str, str]]:
        values: Values = {}
        missing: Reasons = {}
        heard: dict[str, str] = {}

        def rate(name: str) -> float:
            if isinstance(found[name], str):
                raise Missing(found[name])
            heard[name] = recognisers.transcribe(found[name], path, item.field("view"))
            return word_error_rate(item.transcript or "", heard[name])

        for name in found:
            gather(values, missing, name, lambda name=name: rate(name))  # type: ignore[misc]
        return values, missing, heard

    return compute
