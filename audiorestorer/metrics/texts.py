"""Text for word error rates: one normalisation for what was said and what was heard, and the words a language model is made of."""

from __future__ import annotations

import re
import unicodedata

import jiwer
from num2words import num2words

from audiorestorer.metrics import Missing

MAX_SPELLED = 10**12  # longer numbers stay as they are: nobody reads them as a number
MAX_SENTENCES = 20_000  # of a language model; more are thinned evenly
NUMBER = re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d{1,6}))?(st|nd|rd|th|%)?(?![\w])")


def spoken(text: str) -> str:
    """Words as said: NFKC, lower case, numbers in English words, punctuation and hyphens to spaces, apostrophes in words kept.

    `$`, dates and times are not read as a person would; write transcripts of those in words.
    """
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    text = NUMBER.sub(_spelled, text)
    text = re.sub(r"[^\w\s']|_", " ", text)
    return " ".join(word.strip("'") for word in text.split() if word.strip("'"))


def _spelled(match: re.Match[str]) -> str:
    number = int(match[1].replace(",", ""))
    if number >= MAX_SPELLED:
        return match[0]
    if match[2]:
        words = num2words(number) + " point " + " ".join(num2words(int(digit)) for digit in match[2])
    else:
        words = num2words(number, to="ordinal" if match[3] in ("st", "nd", "rd", "th") else "cardinal")
    return f" {words}{' percent' if match[3] == '%' else ''} "


def normalised(text: str) -> str:
    """What WER compares: `spoken`, with apostrophes dropped (`don't` is `dont`, `o'clock` is `oclock`)."""
    return spoken(text).replace("'", "")


def word_error_rate(truth: str, heard: str) -> float:
    """(substitutions + deletions + insertions) / words of the truth, after `normalised`; above 1 where more was heard than said.

    Raises:
        Missing: the transcript has no word.
    """
    if not normalised(truth):
        raise Missing("the transcript has no word")
    return float(jiwer.wer(normalised(truth), normalised(heard)))


def distinct(sentences: list[str]) -> tuple[str, ...]:
    """The batch's sentences as a language model takes them: `spoken`, distinct, sorted; at most MAX_SENTENCES, evenly thinned."""
    found = sorted({spoken(sentence) for sentence in sentences} - {""})
    step = -(-len(found) // MAX_SENTENCES) if found else 1
    return tuple(found[::step])
