import pytest

from audiorestorer.metrics import Missing
from audiorestorer.metrics.texts import distinct, normalised, spoken, word_error_rate


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Don't  PANIC -- it's 10 o'clock!", "don't panic it's ten o'clock"),
        ("twenty-one", "twenty one"),
        ("“Quoted”, and ﬁne.", "quoted and fine"),
        ("1,250; 3.14; the 2nd; 50%", "one thousand two hundred and fifty three point one four the second fifty percent"),
        ("seed_42 and x86 and 12345678901234567890", "seed 42 and x86 and 12345678901234567890"),
        ("'tis the dogs' day", "tis the dogs day"),
        ("", ""),
    ],
)  # fmt: skip
def test_spoken(text, want):
    assert spoken(text) == want


def test_wer_counts_substitutions_deletions_insertions():
    truth = "the cat sat on the mat"  # six words
    assert word_error_rate(truth, "The cat, sat on the mat!") == 0
    assert word_error_rate(truth, "the hat sat on mat") == pytest.approx(2 / 6)  # one substituted, one deleted
    assert word_error_rate("yes", "yes we can") == 2  # two inserted to one word
    assert word_error_rate(truth, "") == 1
    assert word_error_rate("It’s 5", "its five") == 0
    with pytest.raises(Missing, match="no word"):
        word_error_rate(" -- ", "a")


def test_normalised_drops_apostrophes():
    assert normalised("don't o'clock") == "dont oclock"


def test_distinct_is_sorted_and_bounded(monkeypatch):
    assert distinct(["B b", "a.", "b B", ""]) == ("a", "b b")
    monkeypatch.setattr("audiorestorer.metrics.texts.MAX_SENTENCES", 10)
    assert 5 <= len(distinct([f"word {number}" for number in range(25)])) <= 10
