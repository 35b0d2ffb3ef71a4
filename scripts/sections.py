"""Sections of a document that scripts write: between `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from audiorestorer.manifest import write_text_atomic  # noqa: E402


def write_section(page: Path, name: str, text: str) -> None:
    """Replace what stands between a section's markers.

    Raises:
        SystemExit: the page has no such markers.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        sys.exit(f"{page}: no marks {begin} and {end}")
    write_text_atomic(page, f"{before}{begin}\n{text.strip()}\n{end}{after}")
