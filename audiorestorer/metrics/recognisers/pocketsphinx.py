"""pocketsphinx 5 with the English model that its wheel carries: works with no download.

`general`: the wheel's own trigram model (open vocabulary of 130 000 words). `batch`: a trigram model of the batch's own transcripts,
which makes the task easy: a figure to compare a file's versions by, never one to compare with other systems'.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.metrics import Missing
from audiorestorer.metrics.context import Context

DICTIONARY = "en-us/cmudict-en-us.dict"  # of the wheel's model


def languages(context: Context) -> frozenset[str] | None:
    return frozenset(("en",))


@cache
def vocabulary() -> frozenset[str]:
    """The words of the pronunciation dictionary, in small letters: no other can be heard."""
    return frozenset(word for word, _ in _pronunciations())


def load(context: Context, language_model: str) -> Any:
    """A decoder; its cepstral means and its estimate of the noise are those of each utterance, so that no file depends on another.

    With the batch's model it has one pass: the second takes two fifths of the time and changes few words (docs/lab/performance.md).

    Raises:
        Missing: a batch model without sentences whose words are in the dictionary.
    """
    from pocketsphinx import Decoder

    options: dict[str, Any] = {"cmn": "batch", "loglevel": "FATAL"}
    if language_model == "general":
        decoder = Decoder(**options)
    else:
        if not context.sentences:
            raise Missing("no transcript to make a language model of")
        with tempfile.TemporaryDirectory(prefix="audiorestorer-lm-") as folder:
            model, dictionary = Path(folder) / "batch.arpa", Path(folder) / "batch.dict"
            _write_arpa(context.sentences, model)
            _write_dictionary(context.sentences, dictionary)
            decoder = Decoder(lm=str(model), dict=str(dictionary), fwdflat=False, **options)

    def recognise(utterance: Audio) -> str:
        pcm = (np.clip(utterance, -1, 1) * 32767).astype("<i2").tobytes()
        decoder.reinit_feat()  # the noise that it estimated in one recording would change the words of the next
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return str(found.hypstr) if found else ""

    return recognise


def _pronunciations() -> Iterator[tuple[str, str]]:
    """(word, line) of the wheel's dictionary; a word may have several."""
    from pocketsphinx import get_model_path

    with open(get_model_path(DICTIONARY), encoding="utf-8") as file:
        for line in file:
            yield line.split(" ", 1)[0].split("(", 1)[0], line


def _write_dictionary(sentences: tuple[str, ...], path: Path) -> None:
    """The pronunciations of these words alone: no other can be heard, and the decoder would spend five seconds on them."""
    words = {word for sentence in sentences for word in sentence.split()}
    path.write_text("".join(line for word, line in _pronunciations() if word in words), encoding="utf-8")


def _write_arpa(sentences: tuple[str, ...], path: Path) -> None:
    """A back-off trigram model in ARPA format; words without a pronunciation are left out by the decoder."""
    from pocketsphinx.lm import ArpaBoLM

    model = ArpaBoLM(text="\n".join(sentences) + "\n", add_start=True)
    model.compute()
    model.write_file(str(path))
