"""The ways to read numbers, amounts, times and years aloud, in the languages of num2words and in Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

LARGEST = 10**12  # longer numbers stay as they are: nobody reads them as a number
LONGEST_SPELLED = 20  # digits that are read one by one
BY_SCRIPT = {  # num2words' languages
    "latin": ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "fi", "pl", "cs", "sk", "sl", "hr", "hu", "ro", "ca",
              "tr", "az", "lt", "lv", "is", "id", "vi", "eo", "cy"),
    "cyrillic": ("ru", "uk", "be", "kz", "tg"), "arabic": ("ar", "fa"), "hebrew": ("he",), "bengali": ("bn",), "telugu": ("te",),
    "kannada": ("kn",), "hangul": ("ko",), "thai": ("th",), "ethiopic": ("am",),
    "han": ("zh", "ja"), "hiragana": ("ja",), "katakana": ("ja",),
}  # fmt: skip
OF_NUM2WORDS = {"hr": "sr"}  # num2words' Serbian is written in Latin letters
NUMBER = re.compile(
    r"(?<![\w])(?P<minus>(?<!\S)-)?(?:(?P<before>[$€£¥₹])\s?)?"
    r"(?:(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?![:\d])"
    r"|(?P<whole>\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)|\d+)(?P<rest>(?:[.,]\d+)*))"
    r"(?P<suffix>st|nd|rd|th|'?s|ers?|eres?|ere|e|ème|eme|o|a|am|pm)?(?!\w)(?:\s?(?P<after>[%$€£¥₹])(?!\d))?"
)
ENGLISH_ORDINAL = ("st", "nd", "rd", "th")
ORDINAL = frozenset(("st", "nd", "rd", "th", "er", "ere", "e", "ème", "eme", "o", "a"))
PERCENT = {
    "en": ("percent", "per cent"), "de": ("prozent",), "fr": ("pour cent", "pourcent"), "es": ("por ciento",), "it": ("per cento",),
    "pt": ("por cento",), "nl": ("procent",), "sv": ("procent",), "da": ("procent",), "no": ("prosent",), "fi": ("prosenttia",),
    "pl": ("procent", "procenta", "procentów"), "cs": ("procent", "procenta", "procento"), "tr": ("yüzde",), "hu": ("százalék",),
    "ru": ("процентов", "процента", "процент"), "uk": ("відсотків", "відсотки", "відсоток"), "id": ("persen",), "vi": ("phần trăm",),
    "zh": ("百分之",), "ja": ("パーセント",), "ko": ("퍼센트", "프로"), "ar": ("بالمئة", "في المئة", "بالمائة"), "th": ("เปอร์เซ็นต์",),
}  # fmt: skip
MONEY = {  # sign -> language -> names of the unit; `*`: of all others
    "$": {"en": ("dollars", "dollar"), "de": ("dollar",), "nl": ("dollar",), "fr": ("dollars", "dollar"), "es": ("dólares", "dólar"),
          "it": ("dollari", "dollaro"), "pt": ("dólares", "dólar"), "ru": ("долларов", "доллара", "доллар"),
          "zh": ("美元",), "ja": ("ドル",), "*": ("dollar",)},
    "€": {"en": ("euros", "euro"), "fr": ("euros", "euro"), "es": ("euros", "euro"), "pt": ("euros", "euro"), "ru": ("евро",),
          "zh": ("欧元",), "ja": ("ユーロ",), "*": ("euro",)},
    "£": {"en": ("pounds", "pound"), "de": ("pfund",), "fr": ("livres", "livre"), "es": ("libras", "libra"),
          "it": ("sterline", "sterlina"), "pt": ("libras", "libra"), "*": ("pound",)},
    "¥": {"en": ("yen", "yuan"), "zh": ("元", "日元"), "ja": ("円",), "*": ("yen",)},
    "₹": {"en": ("rupees", "rupee"), "*": ("rupee",)},
}  # fmt: skip
CENTS = {"$": "cents", "€": "cents", "£": "pence"}
POINT = {"en": "point", "de": "komma", "fr": "virgule", "es": "coma", "it": "virgola", "pt": "vírgula", "nl": "komma", "sv": "komma",
         "da": "komma", "no": "komma", "ru": "запятая", "zh": "点", "ja": "点"}  # fmt: skip
HOURS = {"de": "uhr", "fr": "heures", "es": "y", "it": "e", "pt": "e", "nl": "uur", "zh": "点", "ja": "時"}
MONTH_DAYS, YEARS = range(1, 32), range(1100, 2100)
GERMAN_ENDINGS = ("n", "r", "s")
HAN = "零一二三四五六七八九"


class Written(NamedTuple):
    """A number as it stands in a text (case-folded, ASCII digits); fields are the groups of NUMBER, empty where absent."""

    minus: str
    before: str
    hour: str
    minute: str
    whole: str
    rest: str
    suffix: str
    after: str

    @classmethod
    def of(cls, match: re.Match[str]) -> Written:
        return cls(*(match[name] or "" for name in cls._fields))

    @property
    def sign(self) -> str:
        """The currency's sign, or `%`."""
        return self.before or self.after

    @property
    def plain(self) -> str:
        """As written, the same in all languages: `1,250` -> `1250`, `$5.20` -> `5 20 $`, `3:30` -> `3 30`, `10am` -> `10 am`."""
        value = self.whole.replace(",", "") + re.sub("[.,]", " ", self.rest)
        digits = f"{self.hour} {self.minute}" if self.hour else value
        gap = " " if self.suffix in ("am", "pm") else ""
        return f"{digits}{gap}{self.suffix.replace(chr(39), '')} {self.sign}".strip()


def readings(number: Written, language: str) -> list[str]:
    """The ways in which a language reads it, the usual one first; none where that is not known."""
    return list(_readings(number, language))


@lru_cache(maxsize=20_000)
def _readings(number: Written, language: str) -> tuple[str, ...]:
    found = dict.fromkeys(_signed(number, language))
    if language == "en":
        for text in list(found):
            american = re.sub(r"(hundred|thousand|illion) and ", r"\1 ", text)
            found |= dict.fromkeys((american, text.replace(" and ", " ")))
        for text in list(found):
            found[re.sub(r"^one (hundred|thousand|million)", r"a \1", text)] = None
    return tuple(text for text in found if text)


def _signed(number: Written, language: str) -> Iterator[str]:
    minus = {"en": "minus ", "de": "minus "}.get(language, "") if number.minus else ""
    for text in _of_value(number, language):
        yield f"{minus}{text}{' ' + number.suffix if number.suffix in ('am', 'pm') else ''}"


def _of_value(number: Written, language: str) -> Iterator[str]:
    if number.hour:
        yield from _times(int(number.hour), int(number.minute), language)
        return
    value = _value(number, language)
    if value is None:
        return
    whole, fraction = value
    if number.suffix in ("s", "'s"):
        yield from _decades(whole) if language == "en" else ()
    elif number.suffix in ORDINAL:
        yield from _ordinals(whole, language) if language != "en" or number.suffix in ENGLISH_ORDINAL else ()
    elif number.sign == "%":
        for text in _numbers(whole, fraction, language):
            for unit in PERCENT.get(language, ()):
                yield f"{unit} {text}" if language in ("tr", "zh") else f"{text} {unit}"
    elif number.sign:
        yield from _amounts(number.sign, whole, fraction, language)
    elif not fraction:
        yield from _integers(whole, number, language)
    else:
        yield from _numbers(whole, fraction, language)


def _value(number: Written, language: str) -> tuple[int, str] | None:
    """The integer and the digits of the fraction, by the language's own separators; None: too long, or no number (1.2.3)."""
    text = number.whole + number.rest
    group, point = (",", ".") if language in ("en", "zh", "ja", "ko", "th", "he") else (".", ",")
    if re.fullmatch(rf"\d{{1,3}}(?:\{group}\d{{2,3}})*\{group}\d{{3}}(?:\{point}\d+)?", text):
        text = text.replace(group, "")
    whole, *fractions = re.split(r"[.,]", text)
    if len(fractions) > 1 or int(whole) >= LARGEST:
        return None
    return int(whole), fractions[0] if fractions else ""


def _integers(value: int, number: Written, language: str) -> Iterator[str]:
    digits = number.whole.replace(",", "")
    year = value in YEARS and digits == number.whole
    if year and language == "en" and value < 2000:
        yield _say(value, language, "year")
    if digits[0] != "0" or digits == "0":
        yield _say(value, language)
    if language == "de" and value // 10 ** (len(digits) - 1) == 1 and len(digits) in (3, 4):
        yield _say(value, language).removeprefix("ein")
    if year:
        yield _say(value, language, "year")
        if language == "en":
            yield f"twenty {_say(value % 100, language)}" if value >= 2010 else _say(value, language)
    if 1 < len(digits) <= LONGEST_SPELLED:
        yield from _spelled(digits, language)
    if value in MONTH_DAYS:
        yield from _ordinals(value, language)


def _spelled(digits: str, language: str) -> Iterator[str]:
    said = " ".join(_say(int(digit), language) for digit in digits)
    yield said
    if language == "en" and "0" in digits:
        yield said.replace("zero", "oh")
        yield said.replace("zero", "o")
    if language == "zh":
        yield said.replace("零", "〇")


def _numbers(whole: int, fraction: str, language: str) -> Iterator[str]:
    said = _say(whole, language)
    if not fraction:
        yield said
    elif language in POINT:
        for part in dict.fromkeys(
            (" ".join(_say(int(digit), language) for digit in fraction), _say(int(fraction), language))
        ):
            yield f"{said} {POINT[language]} {part}"


def _ordinals(value: int, language: str) -> Iterator[str]:
    said = _say(value, language, "ordinal")
    yield said
    if language == "de" and said.endswith("e"):
        yield from (said + ending for ending in GERMAN_ENDINGS)


def _amounts(sign: str, whole: int, fraction: str, language: str) -> Iterator[str]:
    names = MONEY[sign].get(language, MONEY[sign]["*"])
    one = whole == 1 and language == "en"
    names = tuple(reversed(names)) if one else names
    said, rest = _say(whole, language), _say(int(fraction), language) if len(fraction) == 2 else ""
    for unit in names:
        if not fraction or not int(fraction):
            yield f"{said} {unit}"
        if rest and int(fraction):
            yield f"{said} {unit} {rest}"
            if language == "en" and sign in CENTS:
                yield f"{said} {unit} and {rest} {CENTS[sign]}"
                yield f"{said} {unit} {rest} {CENTS[sign]}"
    if fraction:
        for text in _numbers(whole, fraction, language):
            yield from (f"{text} {unit}" for unit in names)


def _decades(value: int) -> Iterator[str]:
    """`1990` -> nineteen nineties, `90` -> nineties, `2000` -> two thousands."""
    said = _say(value, "en", "year") if value in YEARS else _say(value, "en")
    yield said[:-1] + "ies" if said.endswith("y") else said + "s"


def _times(hour: int, minute: int, language: str) -> Iterator[str]:
    hours, minutes = _say(hour, language), _say(minute, language)
    if language == "en":
        yield from _english_times(hour, minute)
    elif language in HOURS:
        yield f"{hours} {HOURS[language]} {minutes}" if minute else f"{hours} {HOURS[language]}"
    yield f"{hours} {minutes}" if minute else hours


def _english_times(hour: int, minute: int) -> Iterator[str]:
    hours, following = _say(hour, "en"), _say(hour % 12 + 1, "en")
    if not minute:
        yield from (hours, f"{hours} o'clock", f"{hours} hundred")
    elif minute < 10:
        yield from (f"{hours} oh {_say(minute, 'en')}", f"{hours} o {_say(minute, 'en')}")
    else:
        yield f"{hours} {_say(minute, 'en')}"
    if minute in (15, 30):
        yield f"{'quarter' if minute == 15 else 'half'} past {hours}"
    if minute == 45:
        yield f"quarter to {following}"


@lru_cache(maxsize=20_000)
def _say(value: int, language: str, form: str = "cardinal") -> str:
    """One number in words; empty where num2words cannot."""
    if language == "zh":
        return _chinese(value)
    from num2words import num2words  # slow to load, and most who import this module read no number

    try:
        said: Any = num2words(value, lang=OF_NUM2WORDS.get(language, language), to=form)
    except (
        Exception
    ):  # its languages raise what their tables happen to: NotImplementedError, TypeError, AttributeError, IndexError
        return "" if form == "cardinal" else _say(value, language)
    return str(said).replace(",", "")


def _chinese(value: int) -> str:
    """Cardinals up to 10^12: 21 -> 二十一, 105 -> 一百零五, 120000 -> 十二万."""
    for size, name in ((10**8, "亿"), (10**4, "万")):
        if value >= size:
            high, low = divmod(value, size)
            gap = "零" if low and low < size // 10 else ""
            return _chinese(high) + name + (gap + _below(low) if low else "")
    return _below(value)


def _below(value: int) -> str:
    if value >= 10**4:
        return _chinese(value)
    out, pending = "", False
    for size, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // size % 10
        if digit:
            out += ("零" if pending and out else "") + HAN[digit] + name
        pending = not digit
    return (out or HAN[0]).removeprefix("一") if 10 <= value < 20 else out or HAN[0]
