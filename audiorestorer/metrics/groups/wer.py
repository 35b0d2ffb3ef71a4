"""Word error rate of mixture, output and clean reference, each with every configured language model.

The three stand side by side because a recogniser makes errors of its own: what the restoration did is the difference between mixture
and output, and the clean reference's rate is what no restoration can beat. A transcript that the recogniser cannot know, or without a
word, has no figure, only its reason. `wer` is with the batch's language model (or with the
recogniser that the config names), `wer_open` with pocketsphinx's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from importlib import metadata
from typing import Any

from audiorestorer.metrics import Missing, recognisers
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.files import Sound
from audiorestorer.metrics.groups import Figures, Group, Metric
from audiorestorer.metrics.recognisers import Recogniser
from audiorestorer.metrics.texts import NO_WORD, by_characters, distinct, normalised
from audiorestorer.resources import Cost

_WER = (
    "word error rate of the recogniser; pocketsphinx is helped by a language model of the batch's transcripts: read it beside the"
    " clean one"
)
_WER_OPEN = "word error rate with pocketsphinx's general language model"
CHARACTERS = "WER is the share of wrong characters: the transcript's script has no spaces between words"


def names(context: Context) -> dict[str, str]:
    """Metric -> language model. A recogniser other than pocketsphinx has but its own."""
    if recognisers.kind_of(context) != "pocketsphinx":
        return {"wer": "own"}
    metric = {"batch": "wer", "general": "wer_open"}
    return {metric[model]: model for model in context.language_models}


def state(context: Context) -> Any:
    """All that a figure depends on beside audio, transcript and code."""
    embedded = recognisers.EMBEDDED_RECOGNISER
    weights = context.recogniser["digest"] if context.recogniser else f"{embedded} {metadata.version(embedded)}"
    with_text = "batch" in names(context).values()
    return {"names": names(context), "weights": weights, "sentences": context.sentences if with_text else ()}


def sentences(context: Context, texts: Iterable[str]) -> tuple[str, ...]:
    """The sentences of the batch's language model, where there is one: the transcripts that the recogniser can know."""
    if "batch" not in names(context).values() or recognisers.unavailable(context):
        return ()
    return distinct(text for text in texts if not recognisers.unfit(context, text))


def note(text: str) -> str | None:
    """Says of a row's figures what a reader could not tell."""
    return CHARACTERS if by_characters(text) else None


def reason_for(context: Context, text: str) -> str | None:
    """The reason why a transcript has no figure, or None."""
    return recognisers.unfit(context, text) if normalised(text) else NO_WORD


def load(context: Context) -> Callable[[Sound, Figures], None]:
    listeners: dict[str, Recogniser | str] = {}
    for name, model in names(context).items():
        try:
            listeners[name] = recognisers.load(context, model)
        except Missing as reason:
            listeners[name] = str(reason)

    def rate(sound: Sound, figures: Figures, name: str) -> float:
        listener = listeners[name]
        if isinstance(listener, str):
            raise Missing(listener)
        figures.heard[name] = recognisers.hear(listener, sound)
        return recognisers.rate(context, sound.transcript, figures.heard[name])

    def compute(sound: Sound, figures: Figures) -> None:
        if reason := reason_for(context, sound.transcript):
            raise Missing(reason)
        for name in listeners:
            figures.put(name, partial(rate, sound, figures, name))

    return compute


GROUP = Group(
    metrics=(
        Metric("wer_in", "WER before", "", "lower", 3, _WER),
        Metric("wer", "WER after", "", "lower", 3, _WER),
        Metric("wer_clean", "WER of the clean", "", "lower", 3, "what the recogniser gets wrong even without music"),
        Metric("wer_open_in", "WER before, open vocabulary", "", "lower", 3, _WER_OPEN),
        Metric("wer_open", "WER after, open vocabulary", "", "lower", 3, _WER_OPEN),
        Metric("wer_open_clean", "WER of the clean, open vocabulary", "", "lower", 3, _WER_OPEN),
    ),
    # mixture, output and reference at real time; its memory was not measured
    cost=Cost(800, file=3.0),
    place=40,
    load=load,
    sides=("noisy", "output", "clean"),
    needs_transcript=True,
    packages=("pocketsphinx", "faster_whisper"),
    unavailable=recognisers.unavailable,
    names=names,
    state=state,
    modules=lambda context: (f"metrics.recognisers.{recognisers.kind_of(context)}",),
    note=note,
)
