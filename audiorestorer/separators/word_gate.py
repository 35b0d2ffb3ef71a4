"""Did a restoration change the words? A recogniser hears the recording before and after; the two texts are compared.

With a transcript (of the manifest) the measure is the rise of the word error rate; without one it is the word error rate of the text
heard after, with the text heard before as the truth. Recognisers make errors of their own: the threshold must lie above the measure of
an inaudible change (docs/lab/enhancer.md has figures).
"""

from __future__ import annotations

from dataclasses import dataclass

from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics import Missing, recognisers
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.files import view_of_file
from audiorestorer.metrics.recognisers import Recogniser
from audiorestorer.metrics.texts import normalised, word_error_rate


@dataclass(frozen=True)
class Verdict:
    """`changed`: more words than allowed are others; `wer`: the measure, None where nothing could be compared; `reason`: why."""

    changed: bool
    wer: float | None
    reason: str | None = None


@dataclass(frozen=True)
class WordGate:
    """`max_wer`: the largest measure that passes; `context`: the one that the recogniser was loaded with."""

    recogniser: Recogniser
    max_wer: float
    context: Context

    @classmethod
    def load(cls, context: Context, max_wer: float) -> WordGate:
        """Raises AudioRestorerError: the recogniser's package is not installed."""
        if (reason := recognisers.unavailable(context)) is not None:
            raise AudioRestorerError(f"enhance.max_wer needs a recogniser: {reason}; or set it to null")
        return cls(recognisers.load(context, "general"), max_wer, context)

    def judge(self, before: str, after: str, text: str | None = None) -> Verdict:
        """Compare two versions of a recording (paths).

        Args:
            text: the words said; None: unknown. One that the recogniser cannot know counts as unknown.

        Raises:
            AudioRestorerError: unreadable.
        """
        try:
            view = view_of_file(before)  # of both: the same signal is compared
            first, second = (recognisers.transcribe(self.recogniser, path, view) for path in (before, after))
        except Missing as reason:
            raise AudioRestorerError(str(reason)) from reason
        known = text if text and recognisers.unfit(self.context, text) is None else None
        return verdict(first, second, known, self.max_wer)


def verdict(before: str, after: str, text: str | None, max_wer: float) -> Verdict:
    """The verdict on the two texts heard. Where no word was heard before and none is known, any word after is a change."""
    if text and normalised(text):
        measure = word_error_rate(text, after) - word_error_rate(text, before)
        what = f"the word error rate rose by {measure:.2f}"
    elif normalised(before):
        measure = word_error_rate(before, after)
        what = f"{measure:.2f} of the words changed"
    elif normalised(after):
        return Verdict(True, None, "words are heard where there were none")
    else:
        return Verdict(False, None)
    changed = measure > max_wer
    return Verdict(changed, round(measure, 4), f"{what}, more than {max_wer:g}" if changed else None)
