"""The tests that docs/reliability.md names for each pain exist."""

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
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", cell)
        assert named, pain
        for path, test in named:
            text = (ROOT / path).read_text(encoding="utf-8")
            assert re.search(rf"^def {test or r'test_'}", text, re.M), f"{path}::{test}"
