"""The gate on changed words: by hand, and with a real recogniser on speech."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.metrics import recognisers
from audiorestorer.metrics.context import Context
from audiorestorer.separators import word_gate
from audiorestorer.separators.word_gate import WordGate, verdict
from tests.metrics.test_recognisers import clean

TEXT = "the parcel on the table belongs upstairs"


def test_the_measure_by_hand() -> None:
    same = verdict(TEXT, TEXT, None, 0.3)
    assert not same.changed and same.wer == 0 and same.reason is None
    other = verdict(TEXT, "the parcel in a cable belongs stairs", None, 0.3)
    assert (
        other.changed
        and other.wer == pytest.approx(4 / 7, abs=1e-4)
        and "0.57 of the words changed" in str(other.reason)
    )
    assert not verdict(TEXT, "the parcel in a cable belongs stairs", None, 0.6).changed


def test_with_a_text_only_what_got_worse_counts() -> None:
    misheard = "the parcel in a cable belongs stairs"
    assert verdict(misheard, TEXT, TEXT, 0.1).wer == pytest.approx(-4 / 7, abs=1e-4)  # other words, and the right ones
    assert not verdict(misheard, TEXT, TEXT, 0.1).changed and verdict(misheard, TEXT, None, 0.1).changed
    assert verdict(TEXT, misheard, TEXT, 0.1).changed


def test_words_out_of_nothing_are_a_change() -> None:
    assert verdict("", "oh", None, 0.3).changed and verdict("", "oh", None, 0.3).wer is None
    assert not verdict("", "", None, 0.3).changed


def test_a_recogniser_hears_through_a_gain_but_not_through_noise(tmp_path: Path) -> None:
    path, _ = clean("festival:cmu_us_slt_arctic_hts")
    speech, rate = sf.read(path)
    speech = speech[: 3 * rate]
    sf.write(tmp_path / "whole.wav", speech, rate)
    before = str(tmp_path / "whole.wav")
    rng = np.random.default_rng(0)
    sf.write(tmp_path / "soft.wav", 0.7 * speech + 1e-4 * rng.standard_normal(len(speech)), rate)
    sf.write(tmp_path / "lost.wav", np.std(speech) * rng.standard_normal(len(speech)), rate)
    gate = WordGate.load(Context(), 0.3)
    assert not gate.judge(before, str(tmp_path / "soft.wav")).changed
    lost = gate.judge(before, str(tmp_path / "lost.wav"))
    assert lost.changed and lost.wer is not None and lost.wer > 0.6


def test_a_text_that_the_recogniser_cannot_know_counts_as_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = {"before": TEXT, "after": TEXT.replace("parcel", "castle")}
    monkeypatch.setattr(recognisers, "transcribe", lambda recogniser, path, *_: heard[path])
    monkeypatch.setattr(word_gate, "view_of_file", lambda path: "mid")
    gate = WordGate(lambda utterance: "", 0.05, Context())
    judged = gate.judge("before", "after", "तुम क्या पढ़ते हो")
    assert judged.changed and judged.wer == pytest.approx(1 / 7, abs=1e-4)  # of what was heard before, not of the text
    assert not gate.judge("before", "after", TEXT.replace("parcel", "castle")).changed
