"""How the embedded models compare with what people install: the tables of docs/lab/quality.md as a page of the report."""

from __future__ import annotations

from pathlib import Path

import mistune
from markupsafe import Markup

from audiorestorer.files import write_text_atomic
from audiorestorer.report.marked import parts
from audiorestorer.report.sections import page

NAME = "quality"  # the section that scripts/bench/bench_quality.py writes
INTRO = (
    "Measured by scripts/bench/bench_quality.py on real recordings that no training saw, not on this batch: what each program does to"
    " speech under music, noisy speech and clean speech. Medians; an arrow says which way is better. A row that is missing says why."
)


def run(markdown: Path, out_html: Path) -> None:
    """Write the page.

    Args:
        markdown: docs/lab/quality.md.

    Raises:
        AudioRestorerError: it cannot be read, or lacks the marks between which the benchmark writes.
    """
    _, section, _ = parts(markdown, NAME)
    body = Markup(mistune.create_markdown(escape=True, plugins=["table"])(section))
    write_text_atomic(out_html, page("Against what people install today", INTRO, body=body))
