"""Text for word error rates: what was said and what was heard, normalised alike in any script, and what a language model is made of.

Words are runs of letters, digits and their marks. What a text leaves open (how a number is read, whether `&` is said `and`) has
alternatives, and that one counts which is nearest to the other text, as in NIST's scoring with alternations.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import TypeAlias

from audiorestorer.metrics import Missing, numerals, scripts
from audiorestorer.metrics.annotations import without_annotations
from audiorestorer.metrics.languages import evidence, languages_of
from audiorestorer.metrics.numerals import NUMBER, Written

MAX_SENTENCES = 20_000  # of a language model; more are thinned evenly
PIECE = 30  # words after which a long text is cut for the search
MAX_PASSES = 3  # over the places of a text that can be read in several ways
Words: TypeAlias = tuple[str, ...]
Slot: TypeAlias = list[Words]  # of one place of a text: its words as they stand, then other ways to say it
Sides: TypeAlias = list[list[Slot]]  # of the truth and of what was heard
NO_WORD = "the transcript has no word"
SAME = dict.fromkeys("’‘ʼʻ′`´ꞌ׳״՚", "'") | {"\u066b": ".", "\u066c": ","}
ASCII_WORD = re.compile(r"[a-z0-9']+")
FRACTION = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")  # 2½ is not 21/2
CHILLUS = {
    "ൺ": "ണ്",
    "ൻ": "ന്",
    "ർ": "ര്",
    "ൽ": "ല്",
    "ൾ": "ള്",
    "ൿ": "ക്",
}  # Malayalam: one letter, or letter, virama and a joiner
OPTIONAL_MARKS = frozenset(("arabic", "hebrew", "syriac"))  # vowel points, which most texts leave out
JOINED_DIGITS = re.compile(r"(?<![\w.,-])\d{2,}(?:-\d{2,})+(?![\w-])")
PHONE_DIGITS = 7  # at least so many in groups with hyphens: read one by one
INITIALS = re.compile(r"(?:[^\W\d_]\.){2,}")
COMPOUND = re.compile(r"(?<!\S)[^\s-]+(?:-[^\s-]+)+(?!\S)")
PARTS = re.compile(rf"(&|(?<!\w){INITIALS.pattern}(?!\w)|{COMPOUND.pattern})")
ABBREVIATIONS = {
    "dr": ("doctor", "doktor", "docteur", "drive"), "mr": ("mister",), "mrs": ("missus", "misses"), "ms": ("miss",),
    "prof": ("professor", "professeur"), "st": ("saint", "street", "sankt"), "jr": ("junior",), "sr": ("senior",), "vs": ("versus",),
    "etc": ("et cetera", "etcetera"), "bzw": ("beziehungsweise",), "usw": ("und so weiter",), "nr": ("nummer",), "sra": ("señora",),
}  # fmt: skip
SAID_AS = {"dr": "doctor", "prof": "professor"}  # those that pocketsphinx's dictionary does not say as they are meant
AND = (("and",), ("und",), ("et",), ("y",), ("e",), ("en",), ("och",), ("og",))


def spoken(text: str) -> str:
    """Words as said in English, for a language model: numbers in words, punctuation and hyphens to spaces, accents dropped
    (pocketsphinx's dictionary has `cafe`), apostrophes in words kept, annotations left out."""
    text = JOINED_DIGITS.sub(_one_by_one, _clean(text))
    found = (_said(piece) if isinstance(piece, Written) else _words(piece) for piece in _pieces(text))
    return " ".join(SAID_AS.get(word, _unaccented(word)) for words in found for word in words)


def _one_by_one(match: re.Match[str]) -> str:
    digits = match[0].replace("-", "")
    return " ".join(digits) if len(digits) >= PHONE_DIGITS else match[0]


def _said(number: Written) -> Words:
    return _read(next(iter(numerals.readings(number, "en")), number.plain))


def normalised(text: str) -> str:
    """The form in which texts are compared where nothing can be read in several ways: words without apostrophes, numbers in digits.

    Of scripts without spaces between words (Chinese, Japanese, Thai, Khmer ...) the characters, each with its marks. Idempotent; empty
    where there is no word. `don't` is `dont`, `$1,250` is `1250 $`, `[laughter]` is nothing.
    """
    return " ".join(word for slot in _slots(text, ()) for word in slot[0])


def word_error_rate(truth: str, heard: str, languages: Collection[str] | None = None) -> float:
    """(substitutions + deletions + insertions) / words of the truth; above 1 where more was heard than said.

    In scripts without spaces between words it is the character error rate (`by_characters`). What can be read in several ways counts
    as that which is nearest to the other text, in the text's language, or in those of its script where its words do not tell.

    Args:
        languages: those that the recogniser knows (codes as `en`); None: any.

    Raises:
        Missing: the transcript has no word.
    """
    said, found = normalised(truth).split(), normalised(heard).split()
    if not said:
        raise Missing(NO_WORD)
    if said == found:
        return 0.0
    if not found:
        return 1.0
    spoken_in = _languages(said, found, languages)
    plain = _may_lose_accents(said + found, languages)
    sides = [
        [_pruned(slot, others) for slot in _slots(text, spoken_in, plain and all(map(str.isascii, others)))]
        for text, others in ((truth, set(found)), (heard, set(said)))
    ]
    errors, words = _nearest(sides)
    return errors / words


def by_characters(text: str) -> bool:
    """Whether characters are compared, not words: most of a text's words are of scripts without spaces."""
    words = normalised(text).split()
    return sum(scripts.is_unspaced(word[0]) for word in words) * 2 > len(words)


def distinct(sentences: Iterable[str]) -> tuple[str, ...]:
    """The batch's sentences as a language model takes them: `spoken`, distinct, sorted; at most MAX_SENTENCES, evenly thinned."""
    found = sorted({spoken(sentence) for sentence in sentences} - {""})
    step = -(-len(found) // MAX_SENTENCES) if found else 1
    return tuple(found[::step])


@lru_cache(maxsize=1_000)
def _clean(text: str) -> str:
    """Annotations out; NFKC, case-folded; one kind of apostrophes, dashes and digits; no invisible characters and no optional marks;
    spaces around each character of a script that has none between words. Equal for a text's composed and decomposed forms."""
    if text.isascii():
        return _ascii_folded(without_annotations(text))
    text = _folded(without_annotations(unicodedata.normalize("NFKC", FRACTION.sub(" ", text))))
    return _spaced("".join(map(_character, text)))


def _ascii_folded(text: str) -> str:
    """`_folded` and `_character` of a text that is ASCII, a short cut."""
    return text.casefold().replace("`", "'")


def _folded(text: str) -> str:
    """NFKC and case folding until nothing changes: a fold can lead out of NFKC."""
    while True:
        folded = "".join(c for c in unicodedata.normalize("NFKC", text.casefold()) if not _left_out(c))
        folded = re.sub("(?<=i)\u0307", "", folded).replace("ı", "i")  # Turkish: capital dotted and small dotless i
        for letter, parts in CHILLUS.items():
            folded = folded.replace(letter, parts)
        if folded == text:
            return text
        text = folded


@cache
def _left_out(character: str) -> bool:
    """Soft hyphens, joiners, marks of direction, variation selectors, tatweel; points of Arabic and Hebrew."""
    category = unicodedata.category(character)
    if category == "Cf" or character in "\u034f\u0640" or "VARIATION SELECTOR" in unicodedata.name(character, ""):
        return True
    return category == "Mn" and scripts.script_of(character) in OPTIONAL_MARKS


@cache
def _character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Pd" or character == "\u2212":
        return "-"
    return SAME.get(character, character)


def _spaced(text: str) -> str:
    out, after_unit = [], False
    for character in text:
        if not _is_mark(character):
            unit = scripts.is_unspaced(character)
            out.append(" " if unit or after_unit else "")
            after_unit = unit
        out.append(character)
    return "".join(out)


@cache
def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


@cache
def _is_letter(character: str) -> bool:
    return character == "'" or unicodedata.category(character)[0] in "LN"


def _words(text: str) -> Words:
    """Runs of letters, digits, marks and apostrophes of a text that is `_clean`."""
    if text.isascii():
        found = (word.strip("'") for word in ASCII_WORD.findall(text))
        return tuple(word for word in found if word)
    out, word = [], ""
    for character in f"{text} ":
        if _is_letter(character) or (word and _is_mark(character)):
            word += character
        elif word:
            out.append(word.strip("'"))
            word = ""
    return tuple(word for word in out if any(map(str.isalnum, word)))


def _pieces(text: str) -> Iterator[str | Written]:
    """A `_clean` text as running text and numbers."""
    position = 0
    for match in NUMBER.finditer(text):
        yield text[position : match.start()]
        yield Written.of(match)
        position = match.end()
    yield text[position:]


def _slots(text: str, languages: Collection[str], may_lose_accents: bool = False) -> list[Slot]:
    """The places of a text in order."""
    out: list[Slot] = []
    for piece in _pieces(_clean(text)):
        if isinstance(piece, Written):
            said = (reading for language in languages for reading in numerals.readings(piece, language))
            out.append(
                [_compared(piece.plain.split(" ")), *map(_read_compared, dict.fromkeys((*_joined(piece), *said)))]
            )
            continue
        for part in PARTS.split(piece):
            if part == "&":
                out.append([(), *AND])
            elif INITIALS.fullmatch(part):
                letters = tuple(part.replace(".", ""))
                out.append([("".join(letters),), letters])
            elif COMPOUND.fullmatch(part):
                out.append([_compared(_words(part)), _compared(_words(part.replace("-", "")))])
            else:
                out.extend(_word_slot(word, may_lose_accents) for word in _words(part))
    return out


def _word_slot(word: str, may_lose_accents: bool) -> Slot:
    ways = [_compared([word]), *(tuple(other.split()) for other in ABBREVIATIONS.get(word, ()))]
    return [*ways, _compared([_unaccented(word)])] if may_lose_accents and not word.isascii() else ways


def _joined(number: Written) -> list[str]:
    """`1.234` as the one number that it is in German."""
    return [re.sub("[.,]", "", number.whole + number.rest)] if number.rest else []


def _compared(words: Iterable[str]) -> Words:
    return tuple(word.replace("'", "") for word in words)


@lru_cache(maxsize=50_000)
def _read(reading: str) -> Words:
    return _words(_clean(reading))


def _read_compared(reading: str) -> Words:
    return _compared(_read(reading))


@lru_cache(maxsize=50_000)
def _unaccented(word: str) -> str:
    """Latin letters without their marks."""
    if word.isascii() or scripts.script_of(word[0]) != "latin":
        return word
    return unicodedata.normalize(
        "NFC", "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
    )


def _languages(said: Sequence[str], heard: Sequence[str], known: Collection[str] | None) -> Collection[str]:
    """In which numbers may be read: what the recogniser knows, the text's own, or all of its scripts'."""
    found = scripts.shares([*said, *heard])
    of_text: Collection[str] = ()
    if next(iter(found), "latin") == "latin":
        of_text = languages_of(said) or languages_of(heard)
    if not of_text:
        of_text = dict.fromkeys(code for script in found for code in numerals.BY_SCRIPT.get(script, ()))
    return of_text if known is None else [code for code in of_text if code in known]


def _may_lose_accents(words: Sequence[str], known: Collection[str] | None) -> bool:
    """English writes no accent that makes another word; other languages do (schon, schön)."""
    found = evidence(words)
    return (known is not None and set(known) == {"en"}) or all(count <= found["en"] for count in found.values())


def _pruned(slot: Slot, others: set[str]) -> Slot:
    """Without the ways that share no word with the other text, and without repeats."""
    first, *rest = slot
    return [first, *(way for way in dict.fromkeys(rest) if way != first and not others.isdisjoint(way))]


def _nearest(sides: Sides) -> tuple[int, int]:
    """Fewest errors over the ways of both sides, and the words of the truth then: place by place until none gets better, in stretches
    of about PIECE words, so that hours of speech do not take hours."""
    chosen: list[list[Words]] = [[], []]
    for piece in _stretches(sides):
        for side, ways in zip(chosen, _chosen(piece), strict=True):
            side.extend(ways)
    return _errors(chosen), sum(map(len, chosen[0]))


def _chosen(sides: Sides) -> list[list[Words]]:
    chosen = [[slot[0] for slot in side] for side in sides]
    open_places = [
        (side, place) for side, slots in enumerate(sides) for place, slot in enumerate(slots) if len(slot) > 1
    ]
    best = _errors(chosen) if open_places else 0
    for _ in range(MAX_PASSES):
        before = best
        for side, place in open_places:
            for way in sides[side][place]:
                kept, chosen[side][place] = chosen[side][place], way
                errors = _errors(chosen)
                if errors < best:
                    best = errors
                else:
                    chosen[side][place] = kept
        if best == before or not best:
            break
    return chosen


def _stretches(sides: Sides) -> Iterator[Sides]:
    """Both sides cut where they are alike as they stand: inside two equal words or more, between places."""
    import jiwer

    words, starts = zip(*map(_places, sides), strict=True)
    begins = (0, 0)
    last = 0
    for chunk in jiwer.process_words(" ".join(words[0]), " ".join(words[1])).alignments[0]:
        if chunk.type != "equal":
            continue
        for offset in range(1, chunk.ref_end_idx - chunk.ref_start_idx):
            here = (chunk.ref_start_idx + offset, chunk.hyp_start_idx + offset)
            if here[0] - last >= PIECE and all(place in start for place, start in zip(here, starts, strict=True)):
                ends = (starts[0][here[0]], starts[1][here[1]])
                yield [side[begin:end] for side, begin, end in zip(sides, begins, ends, strict=True)]
                begins, last = ends, here[0]
    yield [side[begin:] for side, begin in zip(sides, begins, strict=True)]


def _places(slots: list[Slot]) -> tuple[list[str], dict[int, int]]:
    """The words as they stand, and of each word that begins a place the place's number."""
    words: list[str] = []
    starts = {}
    for number, slot in enumerate(slots):
        if slot[0]:
            starts[len(words)] = number
        words.extend(slot[0])
    return words, starts


def _errors(chosen: list[list[Words]]) -> int:
    import jiwer

    truth, heard = (" ".join(word for words in side for word in words) for side in chosen)
    if not truth:
        return len(heard.split())
    found = jiwer.process_words(truth, heard)
    return found.substitutions + found.deletions + found.insertions
