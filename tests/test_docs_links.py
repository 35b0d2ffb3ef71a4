"""The pages: links resolve, every page is in the index, lengths are kept, and the lab book stays in docs/lab/."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LAB_BOOK = sorted((DOCS / "lab").glob("*.md"))
USER_PAGES = sorted(DOCS.glob("*.md"))
OTHERS = [ROOT / name for name in ("README.md", "CHANGES.md", "CONTRIBUTING.md", "SECURITY.md", "config/README.md")]
PAGES = [*USER_PAGES, *LAB_BOOK, *OTHERS, *sorted((ROOT / "models/pilot").glob("*.md"))]
LAB_HEADING = re.compile(
    r"predict|outcome|lab book:|\blog\b|what it found|soak|micro overfit|ablation of|one thing changed", re.I
)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def headings_of(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings have on the usual hosts."""
    headings = headings_of(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_resolves(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.replace("\\", "").partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_page_of_docs_that_a_text_names_is_there(page: Path) -> None:
    for name in re.findall(r"\bdocs/[\w/]+\.md\b", page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name


def test_the_code_names_no_page_that_is_gone() -> None:
    folders = ("audiorestorer", "scripts", "rules", "report", "config", "profiles", "tests")
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*")):
        if path.suffix in (".py", ".smk", ".yaml", ".rst", ".sh") and path != Path(__file__):
            for name in re.findall(r"\bdocs/[\w/]+\.md\b", path.read_text(encoding="utf-8")):
                assert (ROOT / name).exists(), f"{name_of(path)}: {name}"


def test_the_index_lists_every_page_once() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in [*USER_PAGES, *LAB_BOOK]:
        if page != DOCS / "README.md":
            assert index.count(f"]({page.relative_to(DOCS).as_posix()})") == 1, page.name


def test_the_readme_has_at_most_120_lines_and_says_its_main_limit_early() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert any("has never run the released weights" in line for line in lines[:25])


def test_the_changes_of_a_version_have_at_most_30_lines() -> None:
    versions = (ROOT / "CHANGES.md").read_text(encoding="utf-8").split("\n## ")[1:]
    assert versions
    for version in versions:
        title, *lines = filter(None, version.splitlines())
        assert len(lines) <= 30, title


@pytest.mark.parametrize("page", USER_PAGES, ids=name_of)
def test_a_user_s_page_says_first_what_it_is_for_and_holds_no_lab_book(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not [heading for heading in headings_of(text) if LAB_HEADING.search(heading)]
    assert not re.search(r"^<!-- [\w ]+: begin -->", text, re.M), "programs write into docs/lab/"
    if page.name not in ("licences.md", "architecture.md"):  # written by a program; a map with a picture
        assert re.search(r"\bThis page\b", text[:600])


@pytest.mark.parametrize(("page", "tables"), [("quality.md", 3), ("performance.md", 2), ("enhancer.md", 1)])
def test_the_short_tables_repeat_the_lab_book(page: str, tables: int) -> None:
    """A figure that was measured anew changes in both places."""
    lab = (DOCS / "lab" / page).read_text(encoding="utf-8")
    kept = re.findall(r"(?:^\|.*\n)+", (DOCS / page).read_text(encoding="utf-8"), re.M)
    figures = [table for table in kept if re.search(r"SI-SDRi|authors' command|3 h, MB|LSD, dB", table)]
    assert len(figures) == tables
    known = {number for line in lab.splitlines() if line.startswith("|") for number in re.findall(r"[\d.]+", line)}
    for table in figures:
        for line in table.splitlines()[2:]:
            for cell in line.strip("|").split("|")[1:]:
                assert set(re.findall(r"\d+\.?\d*", cell)) <= known, line
