"""Words of all scripts, by hand and by property."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiorestorer.metrics import Missing
from audiorestorer.metrics.texts import by_characters, distinct, normalised, spoken, word_error_rate


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Don't  PANIC -- it's 10 o'clock!", "don't panic it's ten o'clock"),
        ("twenty-one", "twenty one"),
        ("“Quoted”, and ﬁne.", "quoted and fine"),
        ("1,250; 3.14; the 2nd; 50%", "one thousand two hundred and fifty three point one four the second fifty percent"),
        ("seed_42 and x86 and 12345678901234567890", "seed 42 and x86 and 12345678901234567890"),
        ("'tis the dogs' day", "tis the dogs day"),
        ("[noise] Dr. Moe paid $5 at 3:30, (laughs) naïve!", "doctor moe paid five dollars at three thirty naive"),
        ("Call 919-696-3901 in the 1990s", "call nine one nine six nine six three nine zero one in the nineteen nineties"),
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


def test_marks_are_part_of_words():
    """A vowel sign, a nukta or a virama is a letter's half: words that differ in it differ, and no word falls apart."""
    assert word_error_rate("तुम क्या पढ़ते हो", "तुम क्या पढ़ते हो") == 0
    assert word_error_rate("तुम क्या पढ़ते हो", "तुम क्या पढ़ती हो") == 1 / 4  # ते, ती
    assert word_error_rate("அவன் பேசினான்", "அவள் பேசினான்") == 1 / 2
    assert normalised("ಕನ್ನಡ ಭಾಷೆ") == "ಕನ್ನಡ ಭಾಷೆ"
    assert normalised("मैं घर गया। फिर सोया॥") == "मैं घर गया फिर सोया"  # dandas are punctuation
    assert word_error_rate("അവൻ പറഞ്ഞു", "അവന്‍ പറഞ്ഞു") == 0  # one Malayalam letter in its two codings


def test_points_tatweel_and_invisible_characters_are_no_differences():
    assert word_error_rate("كِتابٌ جَديدٌ", "كتاب جديد") == 0
    assert word_error_rate("كِتابٌ جَديدٌ", "كِتابٌ قَديمٌ") == 1 / 2
    assert word_error_rate("كتـــاب", "كتاب") == 0
    assert word_error_rate("בְּרֵאשִׁית בָּרָא", "בראשית ברא") == 0
    assert word_error_rate("Donau\u00addampf \u200fis\u2060t\ufeff", "donaudampf ist") == 0
    assert word_error_rate("نمی\u200cدانم", "نمیدانم") == 0
    assert word_error_rate("rock ʼn’ roll", "rock 'n' roll") == 0


def test_case_folds_in_all_languages():
    assert word_error_rate("IĞDIR İzmir", "ığdır izmir") == 0
    assert word_error_rate("STRASSE", "Straße") == 0
    assert word_error_rate("ΟΔΟΣ", "οδος") == 0
    assert word_error_rate("ＡＢＣ ﬁn", "abc fin") == 0


def test_scripts_without_spaces_are_compared_by_character():
    assert word_error_rate("今天天气很好。", "今天天气真好") == 1 / 6
    assert word_error_rate("ありがとう、ございます", "ありがと ございます") == 1 / 10
    assert word_error_rate("ขอบคุณมาก", "ขอบคุนมาก") == pytest.approx(1 / 8)  # of eight letters, their marks with them
    assert word_error_rate("ｶﾒﾗ", "カメラ") == 0
    assert word_error_rate("我的iPhone坏了", "我的 iphone 坏 了") == 0 and normalised("用iPad看") == "用 ipad 看"
    assert (
        by_characters("今天天气很好 ok") and not by_characters("안녕하세요 여러분") and not by_characters("the 中 sign")
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Wir haben 21 Hunde", "wir haben einundzwanzig hunde"),
        ("Am 4. Juli um 15:30", "am vierten juli um fünfzehn uhr dreißig"),
        ("Es kostet 1.250,50 €", "es kostet eintausendzweihundertfünfzig euro fünfzig"),
        ("Nous sommes 42 dans le bus", "nous sommes quarante-deux dans le bus"),
        ("Tengo 16 años", "tengo dieciséis años"),
        ("Ей 33 года", "ей тридцать три года"),
        ("我有25本书", "我有二十五本书"),
        ("2008年", "二零零八年"),
        ("20円です", "二十円です"),
        ("१२ बजे", "12 बजे"),
        ("٧ كتب", "7 كتب"),
        ("30 %", "dreißig Prozent"),
        ("It is $7.", "it is seven dollars"),
        ("$2,350.75 each", "two thousand three hundred fifty dollars and seventy five cents each"),
        ("£9.99", "nine pounds ninety nine"),
        ("in the 1980s", "in the nineteen eighties"),
        ("in 1999 and 2012", "in nineteen ninety nine and twenty twelve"),
        ("at 7:45", "at seven forty five"),
        ("at 7:45", "at quarter to eight"),
        ("May 3, 2001", "may third two thousand and one"),
        ("Room 405", "room four oh five"),
        ("dial 555-0142", "dial five five five zero one four two"),
        ("Mr. Ray & Dr. Lee", "mister ray and doctor lee"),
        ("the U.S. e-mail", "the us email"),
        ("100 men said", "a hundred men said"),
        ("crème brûlée", "creme brulee"),
    ],
)  # fmt: skip
def test_written_and_said_are_the_same(written, said):
    assert word_error_rate(written, said) == 0
    assert word_error_rate(said, written) == 0


def test_a_wrong_number_or_accent_stays_wrong():
    assert word_error_rate("the cost was 50", "the cost was sixty") == 1 / 4
    assert word_error_rate("he has 2 dogs", "he has to dogs") == 1 / 4  # `to` is Danish for two: not of an English text
    assert word_error_rate("$5 today", "€5 today") == 1 / 3
    assert word_error_rate("Das ist schön", "das ist schon") == 1 / 3
    assert word_error_rate("el año y la casa", "el ano y la casa") == 1 / 5
    assert word_error_rate("Er ist 50", "er ist fifty", languages={"de"}) > 0


def test_annotations_are_no_words():
    for text in (
        "[noise] good evening", "<unk> good evening", "{breath} good evening", "good (laughs) evening", "*coughs* good evening",
        "SPEAKER_02: good evening", "Interviewer: good evening", "♪ la la ♪ good evening", "<i>good</i> evening",
        "good [a [b] c] evening", ">> good evening", "good (audience laughing) evening", "【拍手】good（笑）evening",
    ):  # fmt: skip
        assert normalised(text) == spoken(text) == "good evening", text
    assert normalised("(she said that the door was open) and *really* meant it at 3:30") == (
        "she said that the door was open and really meant it at 3 30"
    )
    assert normalised("the speaker said: x < y and z > w") == "the speaker said x y and z w"
    for text in ("[silence]", "(Musik)", "...", "", "♪", "<unk> [laughter]"):
        with pytest.raises(Missing, match="no word"):
            word_error_rate(text, "thank you")


def test_long_texts_with_many_numbers_take_seconds():
    text = " ".join(f"we had {number} dogs in {1900 + number}" for number in range(100))
    assert word_error_rate(text, spoken(text)) == 0


CHARACTERS = st.one_of(
    st.characters(exclude_categories=("Cs",)), st.sampled_from("0123456789.,:$%-'&()[]<>* abcสัวกिहنَİıß½中々ー♪é\u0301\u200d")
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.text(CHARACTERS, max_size=20))
def test_in_any_script_a_text_equals_itself_and_its_other_normal_forms(text):
    found = normalised(text)
    assert normalised(found) == found
    for form in ("NFC", "NFD"):
        assert normalised(unicodedata.normalize(form, text)) == found
    if found:
        assert word_error_rate(text, text) == 0


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.characters(categories=["L", "Nd"]), max_size=20), st.sampled_from(["[x y]", "<unk>", "(laughs)", "{z}"])
)
def test_taking_an_annotation_out_changes_nothing_else(text, annotation):
    assert normalised(f"{text} {annotation} {text}") == normalised(f"{text} {text}")
