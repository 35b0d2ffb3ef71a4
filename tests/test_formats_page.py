"""docs/formats.md says what the formats were measured to keep."""

from __future__ import annotations

from pathlib import Path

from scripts.release.write_formats import table

PAGE = Path(__file__).parents[1] / "docs/formats.md"


def test_the_table_is_what_is_measured() -> None:
    assert table() in PAGE.read_text(encoding="utf-8"), (
        "put into the page what `python -m scripts.release.write_formats` prints"
    )
