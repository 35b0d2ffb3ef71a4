"""Write a section of a document (`audiorestorer.report.marked`)."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from audiorestorer.errors import AudioRestorerError  # noqa: E402
from audiorestorer.manifest import write_text_atomic  # noqa: E402
from audiorestorer.report.marked import marks, parts  # noqa: E402


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
