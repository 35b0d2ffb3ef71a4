"""The sections of a Markdown page: headings, paragraphs and pipe tables, as `report.sections` shows them."""

from __future__ import annotations

import re

from audiorestorer.report.sections import Section

HEADING = re.compile(r"#{2,6} +(.*)")
RULE = re.compile(r"[\s|:-]+")  # the line under a table's head


def sections_of(text: str, first: str) -> list[Section]:
    """A section a heading; what stands before the first one is titled `first`, and what is empty is left out."""
    parts: list[tuple[str, list[str]]] = [(first, [])]
    for line in text.splitlines():
        heading = HEADING.fullmatch(line)
        if heading:
            parts.append((heading[1], []))
        else:
            parts[-1][1].append(line)
    return [_section(title, lines) for title, lines in parts if any(line.strip() for line in lines)]


def _section(title: str, lines: list[str]) -> Section:
    table = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if _is_row(line)]
    prose = "\n".join(line for line in lines if not line.startswith("|"))
    said = [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", prose) if paragraph.strip()]
    return Section(title, said, table[0] if table else (), table[1:])


def _is_row(line: str) -> bool:
    return line.startswith("|") and not RULE.fullmatch(line)
