"""The tests that docs/reliability.md names exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAINS = {"4", "5", "6", "7", "14", "15"}


def test_each_pain_has_tests_that_exist() -> None:
    page = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    table = page.partition("## Pains of other tools")[2].partition("<!-- ")[0]
    rows = dict(re.findall(r"^\| (\d+)\. [^|]*\|([^|]*)\|$", table, re.M))
    assert set(rows) == PAINS
    for pain, cell in rows.items():
        assert named_tests_exist(cell), pain


def test_what_people_do_has_tests_that_exist() -> None:
    page = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    table = page.partition("## What people do")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?!what happens|---)([^|]*)\|[^|]*\|([^|]*)\|$", table, re.M)
    assert len(rows) == 19
    for situation, cell in rows:
        assert named_tests_exist(cell), situation


def named_tests_exist(cell: str) -> int:
    """How many tests a cell names; each is there."""
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", cell)
    for path, test in named:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^def {test or r'test_'}", text, re.M), f"{path}::{test}"
    return len(named)
