"""Word error rate of mixture, output and clean reference, each with every configured language model.

The three stand side by side because a recogniser makes errors of its own: what the restoration did is the difference between mixture
and output, and the clean reference's rate is what no restoration can beat. A transcript that the recogniser cannot know, or without a
word, has no figure, only its reason. `wer` is with the batch's language model (or with the
recogniser that the config names), `wer_open` with pocketsphinx's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from audiorestorer.manifest import Item
from audiorestorer.metrics import Missing, recognisers
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.files import Reasons, Values, gather
from audiorestorer.metrics.texts import NO_WORD, by_characters, distinct, normalised

SIDES = ("noisy", "output", "clean")
NEEDS_TRANSCRIPT = True
CHARACTERS = "WER is the share of wrong characters: the transcript's script has no spaces between words"


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
    return "metrics.groups.wer", f"metrics.recognisers.{recognisers.kind_of(context)}"


def sentences(context: Context, texts: Iterable[str]) -> tuple[str, ...]:
    """What the batch's language model is made of, where there is one: the transcripts that the recogniser can know."""
    if "batch" not in names(context).values() or recognisers.unavailable(context):
        return ()
    return distinct(text for text in texts if not recognisers.unfit(context, text))


def note(text: str) -> str | None:
    """What a row says about its figures."""
    return CHARACTERS if by_characters(text) else None


def reason_for(context: Context, text: str) -> str | None:
    """Why a transcript has no figure, or None."""
    return recognisers.unfit(context, text) if normalised(text) else NO_WORD


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
        text = (item.transcript if item else None) or ""
        if reason := reason_for(context, text):
            return values, dict.fromkeys(found, reason), heard

        def rate(name: str) -> float:
            if isinstance(found[name], str):
                raise Missing(found[name])
            heard[name] = recognisers.transcribe(found[name], path, item.view)
            return recognisers.rate(context, text, heard[name])

        for name in found:
            gather(values, missing, name, lambda name=name: rate(name))  # type: ignore[misc]
        return values, missing, heard

    return compute
