"""How the embedded models compare with what people install: the tables of docs/quality.md as a page of the report."""

from __future__ import annotations

from pathlib import Path

from audiorestorer.manifest import write_text_atomic
from audiorestorer.report.markdown import between, sections_of
from audiorestorer.report.sections import page

BEGIN, END = "<!-- quality: begin -->", "<!-- quality: end -->"
INTRO = (
    "Measured by scripts/bench_quality.py on real recordings that no training saw, not on this batch: what each program does to speech"
    " under music, noisy speech and clean speech. Medians; an arrow says which way is better. A row that is missing says why."
)


def run(markdown: Path, out_html: Path) -> None:
    """Write the page.

    Args:
        markdown: docs/quality.md.

    Raises:
        AudioRestorerError: it cannot be read, or lacks the marks between which the benchmark writes.
    """
    sections = sections_of(between(markdown, BEGIN, END), "Where it was measured")
    write_text_atomic(out_html, page("Against what people install today", INTRO, sections))
