"""Scripts of texts, by the Unicode names of their characters."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

# Scripts that are written without spaces between words: their characters are compared, not their words.
UNSPACED = frozenset(
    ("han", "hiragana", "katakana", "bopomofo", "thai", "lao", "khmer", "myanmar", "tibetan", "yi", "tai", "javanese", "balinese")
)  # fmt: skip
BY_NAME = {"cjk": "han", "ideographic": "han", "katakana-hiragana": "katakana", "kangxi": "han"}
NO_SCRIPT = frozenset(
    ("combining", "modifier", "fullwidth", "halfwidth", "mathematical", "micro", "feminine", "masculine")
)


@cache
def script_of(character: str) -> str | None:
    """`latin`, `devanagari`, `han` ... of a letter or mark; None of all else, and of marks that belong to no script."""
    if unicodedata.category(character)[0] not in "LM" and character != "〇":
        return None
    name = unicodedata.name(character, "").lower().split(" ")[0]
    return None if name in NO_SCRIPT or not name else BY_NAME.get(name, name)


def is_unspaced(character: str) -> bool:
    return script_of(character) in UNSPACED


def shares(words: Iterable[str]) -> dict[str, float]:
    """Share of the words (characters, where a script has no spaces between words) in each script, by a word's first letter."""
    found = Counter(next((script for script in map(script_of, word) if script), None) for word in words)
    found.pop(None, None)
    return {script: count / found.total() for script, count in found.most_common()}  # type: ignore[misc]
