"""Speech recognisers, one module a kind. `load(context, language_model)` gives a callable: utterances `[T]` at 16 kHz -> text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module, util
from typing import Any, TypeAlias

import numpy as np

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.dsp.views import View
from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics import Missing
from audiorestorer.metrics.context import EMBEDDED_RECOGNISER, Context
from audiorestorer.metrics.files import one_signal

RATE_HZ = 16_000
SHORTEST_SEC, LONGEST_SEC = 10.0, 20.0  # of an utterance cut from a longer file
FRAME_SEC = 0.05
Recogniser: TypeAlias = Callable[[Audio], str]
PACKAGES = {"pocketsphinx": "pocketsphinx", "faster_whisper": "faster_whisper", "torchaudio_ctc": "torchaudio"}


def kind_of(context: Context) -> str:
    """Raises AudioRestorerError: the registry entry is not a recogniser that is known here."""
    kind = str(context.recogniser["kind"]) if context.recogniser else EMBEDDED_RECOGNISER
    if kind not in PACKAGES:
        raise AudioRestorerError(f"evaluate.recogniser: kind {kind!r} is not one of {', '.join(sorted(PACKAGES))}")
    return kind


def unavailable(context: Context) -> str | None:
    """Why there is no recogniser here, or None."""
    package = PACKAGES[kind_of(context)]
    if util.find_spec(package) is None:
        return f"the recogniser's package {package} is not installed (make setup-extras)"
    return None


def load(context: Context, language_model: str) -> Recogniser:
    """The configured recogniser, its model read once."""
    module: Any = import_module(f"audiorestorer.metrics.recognisers.{kind_of(context)}")
    return module.load(context, language_model)


def transcribe(recogniser: Recogniser, path: str, view: View | None = None) -> str:
    """What the recogniser hears in a file: its channels as one signal at 16 kHz, long files utterance by utterance.

    Raises:
        Missing: unreadable.
    """
    try:
        info = audio.probe(path)
        mono = one_signal(path, view)
        return " ".join(
            filter(None, map(recogniser, utterances(audio.resample_blocks(mono, info.sample_rate, RATE_HZ, 1))))
        )
    except AudioRestorerError as error:
        raise Missing(str(error)) from error


def utterances(blocks: Iterator[Audio]) -> Iterator[Audio]:
    """Blocks `[1, n]` at 16 kHz as utterances `[T]` of at most 20 s, cut in the middle of the quietest 50 ms between 10 and 20 s."""
    frame, shortest, longest = (int(seconds * RATE_HZ) for seconds in (FRAME_SEC, SHORTEST_SEC, LONGEST_SEC))
    held = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, np.nan_to_num(block[0])])
        while len(held) > longest:
            power = np.square(held[shortest:longest]).reshape(-1, frame).mean(axis=1)
            cut = shortest + int(power.argmin()) * frame + frame // 2
            yield held[:cut]
            held = held[cut:]
    if len(held):
        yield held
