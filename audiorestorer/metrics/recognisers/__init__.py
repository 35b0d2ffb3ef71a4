"""Speech recognisers, one module a kind.

`load(context, language_model)` of a module gives a callable: utterances `[T]` at 16 kHz -> text. `languages(context)` says which
languages it knows (codes as `en`; None: more than can be told here), `vocabulary()`, where there is one, all words that it can hear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module, util
from typing import Any, TypeAlias

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.dsp.views import View
from audiorestorer.errors import AudioRestorerError
from audiorestorer.installed import how
from audiorestorer.metrics import Missing, scripts, texts
from audiorestorer.metrics.context import EMBEDDED_RECOGNISER, Context
from audiorestorer.metrics.files import Sound
from audiorestorer.metrics.languages import NAMES, foreign_to, speaks_for_others

RATE_HZ = 16_000
SHORTEST_SEC, LONGEST_SEC = 10.0, 20.0  # of an utterance cut from a longer file
FRAME_SEC = 0.05
FOREIGN_SCRIPT = 0.25  # share of a text's words (characters) in scripts that a recogniser does not write, above which it has no figure
FOREIGN_WORDS = (
    0.5  # share of words that are not in its dictionary, above which it has none: these are errors whatever is heard
)
FOREIGN_WORDS_LIKELY = 0.3  # the same where a word is another language's, and none the recogniser's
SETUPS = {
    "pocketsphinx": how("setup"),
    "onnx_asr": how("setup"),
    "torchaudio": how("setup-models", "models"),
    "faster_whisper": how("setup-extras", "whisper"),
}
Recogniser: TypeAlias = Callable[[Audio], str]
PACKAGES = {
    "pocketsphinx": "pocketsphinx",
    "faster_whisper": "faster_whisper",
    "torchaudio_ctc": "torchaudio",
    "onnx_asr": "onnx_asr",
}


def kind_of(context: Context) -> str:
    """Raises AudioRestorerError: the registry entry is not a recogniser that is known here."""
    kind = str(context.recogniser["kind"]) if context.recogniser else EMBEDDED_RECOGNISER
    if kind not in PACKAGES:
        raise AudioRestorerError(f"evaluate.recogniser: kind {kind!r} is not one of {', '.join(sorted(PACKAGES))}")
    return kind


def unavailable(context: Context) -> str | None:
    """The reason why there is no recogniser here, or None."""
    package = PACKAGES[kind_of(context)]
    if util.find_spec(package) is None:
        return f"the recogniser's package {package} is not installed ({SETUPS[package]})"
    return None


def load(context: Context, language_model: str) -> Recogniser:
    """The configured recogniser, its model read once."""
    return _module(context).load(context, language_model)


def languages(context: Context) -> frozenset[str] | None:
    """Those that the configured recogniser knows; None: any."""
    found: frozenset[str] | None = _module(context).languages(context)
    return found


def unfit(context: Context, text: str) -> str | None:
    """The reason why the recogniser cannot know what a text says (another script or language, unknown words), or None.

    A text whose words tell nothing (names, a word or two) is fit: errors are then counted.
    """
    known = languages(context)
    if known is None:
        return None
    words = texts.normalised(text).split()
    name = f"the recogniser {kind_of(context)} ({', '.join(NAMES[code] for code in sorted(known))})"
    foreign = {script: share for script, share in scripts.shares(words).items() if script != "latin"}
    if sum(foreign.values()) > FOREIGN_SCRIPT:
        return f"the transcript is in {next(iter(foreign)).capitalize()} script; {name} cannot know it"
    unknown, all_words = _unheard_of(context, text)
    found = foreign_to(known, words, unknown / max(1, all_words) if all_words is not None else None)
    if found:
        looks = " or ".join(NAMES[code] for code in found)
        return f"the transcript looks like {looks}; {name} cannot know it"
    limit = FOREIGN_WORDS_LIKELY if speaks_for_others(known, words) else FOREIGN_WORDS
    if all_words is not None and unknown > limit * all_words:
        return f"not in the dictionary of {name}: {unknown} of the {all_words} words of the transcript"
    return None


def rate(context: Context, truth: str, heard: str) -> float:
    """The word error rate of a transcript.

    Raises:
        Missing: it has no word, or the recogniser cannot know what is said.
    """
    if texts.normalised(truth) and (reason := unfit(context, truth)):
        raise Missing(reason)
    return texts.word_error_rate(truth, heard, languages(context))


def _unheard_of(context: Context, text: str) -> tuple[int, int | None]:
    """The number of words of a text that the recogniser's dictionary lacks, and of all of them (None: there is no dictionary)."""
    module = _module(context)
    if not hasattr(module, "vocabulary") or unavailable(context):
        return 0, None
    vocabulary: frozenset[str] = module.vocabulary()
    words = [word.removesuffix("'s") for word in texts.spoken(text).split() if not any(map(str.isdigit, word))]
    return sum(word not in vocabulary for word in words), len(words)


def _module(context: Context) -> Any:
    return import_module(f"audiorestorer.metrics.recognisers.{kind_of(context)}")


def transcribe(recogniser: Recogniser, path: str, view: View | None = None) -> str:
    """The words that the recogniser hears in a file: its channels as one signal at 16 kHz.

    Raises:
        Missing: unreadable.
    """
    return hear(recogniser, Sound.of_file(path, view))


def hear(recogniser: Recogniser, sound: Sound) -> str:
    """The words that the recogniser hears in a sound; long ones are heard utterance by utterance."""
    return " ".join(filter(None, map(recogniser, utterances(sound.at(RATE_HZ)))))


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
