"""Write a section of a document (`audiorestorer.report.marked`)."""

from __future__ import annotations

import sys
from pathlib import Path

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_text_atomic
from audiorestorer.report.marked import marks, parts

ROOT = Path(__file__).resolve().parents[1]


def write_section(page: Path, name: str, text: str) -> None:
    """Replace what stands between a section's markers.

    Raises:
        SystemExit: the page has no such markers.
    """
    try:
        before, _, after = parts(page, name)
    except AudioRestorerError as error:
        sys.exit(str(error))
    begin, end = marks(name)
    write_text_atomic(page, f"{before}{begin}\n{text.strip()}\n{end}{after}")
