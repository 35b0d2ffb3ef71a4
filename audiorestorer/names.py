"""Names of files as text: a file system takes any bytes, manifests and messages take UTF-8."""

from __future__ import annotations

import hashlib
import unicodedata

NOT_TEXT = "its name is not UTF-8: rename it"


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8; Python reads other bytes of a file's name as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_text(name: str) -> str:
    """A name for tables and messages: bytes that are no UTF-8 become `\\xff`, lone surrogates of other origin `\\ud800`."""
    try:
        return name.encode("utf-8", "surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:
        return name.encode("utf-8", "backslashreplace").decode()


def in_line(name: str) -> str:
    """`as_text`, with every character that could not be seen or would break a line written as its escape: `\\n`, `\\ufeff`."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in as_text(name))


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def folded(name: str) -> str:
    """The common form of names that some file systems take for one: case and Unicode's composed and decomposed forms aside."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
