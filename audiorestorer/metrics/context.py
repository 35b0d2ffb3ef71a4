"""The context of metrics that need a model or a text: the recogniser, the tagger, the sentences of the batch, the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EMBEDDED_RECOGNISER = "pocketsphinx"


@dataclass(frozen=True)
class Context:
    """One for all groups of metrics.

    Attributes:
        recogniser: the fetched model's record (`models.fetching.fetch`); None: pocketsphinx with the model in its wheel.
        tagger: the fetched PANNs model's record; None: its weights are not here.
        tagger_hint: what to do to have them.
        language_models: `batch` (of `sentences`), `general` (the recogniser's own), or both; pocketsphinx only.
        sentences: distinct transcripts that the batch's language model is made of.
    """

    recogniser: Mapping[str, Any] | None = None
    tagger: Mapping[str, Any] | None = None
    tagger_hint: str = "no tagger is configured (evaluate.tagger)"
    language_models: tuple[str, ...] = ("batch", "general")
    sentences: tuple[str, ...] = ()
    device: str = "cpu"
    threads: int = 1
    processes: int = 1
