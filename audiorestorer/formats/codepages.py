"""The code page of an archive's names, where it does not say: the one that decodes all of them to the most likely text.

A likelihood is counted a character at a time, from how common the kinds of characters are in each script's names; nothing is learned.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

COMMON_HAN = frozenset(
    "的一是不了在人有我他这個个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发後作里用道行所然家种事成方多经么去"
    "法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业"
    "外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提"
    "立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克"
    "许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术"
    "领共确传师观清今切院让识候带导争运笔音录錄音訊讯語语聲声歌曲樂乐讲講訪访谈談会會議议采採朗读讀版練习習课課堂電話訊號号對話廣播广播"
    "節节目國語粵文字測試测试样本女男童年輕老師第章集段新建文件夹夾資料料我的備份备份副本未命名檔案"
)
MOST_JUDGED = 300  # of an archive's names
RAREST = "\U00020000"  # from here on are characters that no name in an old code page has
RARE, GOOD, PLAIN = -13.0, -6.4, -9.4
HANGUL_INITIAL = (12.0, 1.2, 6.0, 8.0, 1.5, 7.0, 5.0, 4.5, 0.6, 10.0, 0.8, 21.0, 9.0, 0.7, 2.5, 1.2, 2.0, 2.0, 6.0)
HANGUL_VOWEL = (
    18.0,
    4.5,
    1.0,
    0.1,
    9.0,
    4.0,
    5.0,
    0.8,
    10.0,
    1.8,
    0.3,
    1.2,
    1.3,
    7.0,
    0.8,
    0.1,
    1.0,
    1.0,
    10.0,
    1.8,
    20.0,
)
HANGUL_FINAL = (45.0, 6.0, 0.05, 0.02, 14.0, 0.05, 0.3, 0.6, 8.0, 0.3, 0.1, 0.05, 0.01, 0.02, 0.01, 0.1, 5.0, 2.5, 0.3, 1.0, 2.0,
                10.0, 0.5, 0.2, 0.1, 0.4, 0.4, 0.3)  # fmt: skip
LATIN_COMMON = frozenset("äöüÄÖÜßéèêëàâáçñíóúåøæÅØÆÉãõôîïûùìòÇÑÁÍÓÚ")


USUAL = frozenset(" ./_-()")


class Page(NamedTuple):
    """A code page: Python's codec, how people call it, the likelihood of a character in it, and what one starts with."""

    codec: str
    name: str
    likelihood: Callable[[str, bytes], float]
    prior: float


def _latin(char: str, _: bytes) -> float:
    if char in LATIN_COMMON:
        return -3.0
    return -6.0 if char.isalpha() and unicodedata.name(char, "").startswith("LATIN") else -9.0


def _cyrillic(char: str, _: bytes) -> float:
    is_russian = "а" <= char.lower() <= "я" or char in "ёЁ"
    return (-3.2 if is_russian else -5.5 if "\u0400" <= char < "\u0460" else -10.0) - (1.3 if char.isupper() else 0.0)


def _japanese(char: str, raw: bytes) -> float:
    if "\u3040" <= char <= "\u30ff":
        return -4.6
    if len(raw) == 1:  # half-width katakana
        return -6.5
    if not "\u4e00" <= char <= "\u9fff":
        return -8.0 if "\u3000" <= char <= "\u303f" or "\uff00" <= char <= "\uffef" else RARE
    return PLAIN + 0.6 if raw[0] < 0x98 else RARE + 1  # the standard's first level


def _han(is_first_level: Callable[[bytes], bool]) -> Callable[[str, bytes], float]:
    def likelihood(char: str, raw: bytes) -> float:
        if char in COMMON_HAN:
            return GOOD
        if "\u4e00" <= char <= "\u9fff":
            return PLAIN if is_first_level(raw) else RARE
        return -8.0 if "\u3000" <= char <= "\u303f" or "\uff00" <= char <= "\uffef" else RARE

    return likelihood


def _korean(char: str, _: bytes) -> float:
    at = ord(char) - 0xAC00
    if not 0 <= at < 11_172:
        return RARE
    parts = HANGUL_INITIAL[at // 588], HANGUL_VOWEL[at % 588 // 28], HANGUL_FINAL[at % 28]
    return sum(math.log(part / 100) for part in parts)


PAGES = (
    Page("cp437", "CP437 (DOS)", _latin, 0.0),
    Page("cp850", "CP850 (DOS, Western European)", _latin, -0.1),
    Page("cp1252", "Windows-1252 (Western European)", _latin, -0.2),
    Page("cp866", "CP866 (DOS, Cyrillic)", _cyrillic, -0.5),
    Page("cp1251", "Windows-1251 (Cyrillic)", _cyrillic, -0.6),
    Page("cp932", "Shift-JIS (CP932)", _japanese, -1.0),
    Page("gb18030", "GBK (GB 18030)", _han(lambda raw: len(raw) == 2 and 0xB0 <= raw[0] <= 0xD7 and raw[1] >= 0xA1), -1.0),
    Page("big5hkscs", "Big5", _han(lambda raw: 0xA4 <= raw[0] <= 0xC6), -2.0),
    Page("cp949", "EUC-KR (CP949)", _korean, -2.5),
)  # fmt: skip
UTF8 = Page("utf-8", "UTF-8", _latin, 0.0)


def page_of(names: Sequence[bytes]) -> Page:
    """The code page of names that do not say theirs: UTF-8 where they are that, else the most likely one that decodes all of them.

    Where none decodes all, or all are ASCII: CP437, the format's own, which decodes anything.
    """
    if all(_decodes(name, "utf-8") for name in names):
        return PAGES[0] if all(name.isascii() for name in names) else UTF8
    wanted = sorted({name for name in names if not name.isascii()})
    judged = wanted[:: 1 + len(wanted) // MOST_JUDGED]
    return max(
        (page for page in PAGES if all(_decodes(name, page.codec) for name in wanted)),
        key=lambda page: _likelihood(page, judged),
    )


def _decodes(name: bytes, codec: str) -> bool:
    try:
        text = name.decode(codec)
    except UnicodeDecodeError:
        return False
    return all(
        char < RAREST and unicodedata.category(char) not in ("Cc", "Cn", "Co", "Cs") for char in text if char > "\x7f"
    )


def _likelihood(page: Page, names: Sequence[bytes]) -> float:
    """Log-likelihood of all names' characters. ASCII counts too: it may be the second byte of another page's character."""
    return page.prior + sum(_of_name(page, name.decode(page.codec)) for name in names)


def _of_name(page: Page, text: str) -> float:
    total = 0.0
    before = " "
    for char, after in zip(text, text[1:] + " ", strict=True):
        if char > "\x7f":
            total += page.likelihood(char, char.encode(page.codec))
        else:
            total += -3.0 if char.isalnum() or char in USUAL else -8.0
        total += _joint(before, char, after)
        before = char
    return total


def _joint(before: str, char: str, after: str) -> float:
    """The penalty of a character where it stands: for a capital within a word, letters of two scripts in one, accents in a row."""
    if char <= "\x7f":
        return 0.0
    is_alphabet = char.lower() != char.upper()
    near = [other for other in (before, after) if other <= "\x7f" and other.isalpha()]
    if not is_alphabet:
        return -2.5 * len(near)
    against = -4.0 if char.isupper() and before.islower() else 0.0
    if "\u0400" <= char < "\u0530":
        return against - 3.0 * len(near)
    return against + 0.5 * len(near) - (2.0 if before > "\x7f" else 0.0)
