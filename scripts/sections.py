"""Sections of a document that scripts write: between `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from audiorestorer.manifest import write_text_atomic  # noqa: E402


def write_section(path: Path, name: str, text: str) -> None:
    """Replace what stands between a section's markers; a document without them gets them at its end."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    whole = path.read_text(encoding="utf-8") if path.exists() else ""
    if begin not in whole:
        whole = f"{whole.rstrip()}\n\n{begin}\n{end}\n".lstrip()
    before, _, rest = whole.partition(begin)
    after = rest.partition(end)[2]
    write_text_atomic(path, f"{before}{begin}\n{text.strip()}\n{end}{after}")
