"""Sections of a document that programs write: between `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""

from __future__ import annotations

from pathlib import Path

from audiorestorer.errors import AudioRestorerError


def marks(name: str) -> tuple[str, str]:
    """The lines that begin and end a section."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def parts(page: Path, name: str) -> tuple[str, str, str]:
    """Split a page into the text before a section's marks, between them and after them.

    Raises:
        AudioRestorerError: unreadable, or without the marks.
    """
    begin, end = marks(name)
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AudioRestorerError(f"{page}: cannot be read: {error}") from error
    before, found, rest = text.partition(begin)
    inside, ended, after = rest.partition(end)
    if not found or not ended:
        raise AudioRestorerError(f"{page}: lacks the marks {begin} and {end}")
    return before, inside, after
