"""Snakemake's report of a finished run in a real browser: every menu entry, every result and every link of its first screen opens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import browser as browsers
from tests.workflow.conftest import Workspace

pytestmark = browsers.needed
GENERAL = ("Workflow", "Statistics", "About")
LINKS = {"table of all files": "5 of 7 files were restored", "gained least": "Listening: files that gained least"}


@pytest.fixture(scope="module")
def report(finished: Workspace) -> Path:
    path = finished.folder / "report.html"
    finished.run("--report", str(path))
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browsers.launched() as browser:
        yield browser


@pytest.fixture
def page(chromium: Any, report: Path) -> Iterator[Any]:
    page = chromium.new_context(offline=True).new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(report.as_uri())
    page.locator("#rulegraph canvas").wait_for()
    yield page
    assert trouble == []


def test_every_menu_entry_and_every_result_opens(page: Any) -> None:
    menu = page.locator("nav").first
    home = menu.locator("ol a").first
    entries = menu.locator("li a:has(span)").all_inner_texts()
    assert entries == [*GENERAL, "Listening", "Results", "Summary"]
    for entry in entries:
        menu.locator("li a", has=page.get_by_text(entry, exact=True)).click()
        if entry not in GENERAL:
            files = page.evaluate("name => Object.values(categories[name]).flat()", entry)
            rows = menu.locator("tbody tr")
            assert rows.count() == len(files) >= 2
            for number in range(len(files)):
                opens(page, rows.nth(number).locator("a").first)
        home.click()
        assert menu.locator("li a:has(span)").all_inner_texts() == entries


def opens(page: Any, eye: Any) -> None:
    """A click on the eye of a row shows its page or its figure, or downloads it."""
    if eye.get_attribute("download"):
        with page.expect_download() as download:
            eye.click()
        assert Path(download.value.path()).read_text(encoding="utf-8").startswith("# ")
        return
    eye.click()
    kind, source = page.evaluate("[app.state.content, app.state.contentPath]")
    shown = page.locator({"html": "iframe", "img": "img:not(nav img)"}[kind])
    assert shown.get_attribute("src") == source
    if kind == "html":
        page.frame_locator("iframe").locator("h1").first.wait_for()
    else:
        assert shown.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 100


@pytest.mark.parametrize("link", LINKS)
def test_the_first_screen_begins_with_the_outcome_and_its_links_open_the_pages(page: Any, link: str) -> None:
    text, graph = page.locator(".prose").bounding_box(), page.locator("div#rulegraph").bounding_box()
    assert 0 <= text["y"] < 100 and graph["y"] >= text["y"] + text["height"]
    page.locator(".prose").get_by_role("link", name=link).click()
    page.frame_locator("iframe").locator("h1, h2").filter(has_text=LINKS[link]).first.wait_for()


def test_a_result_tells_what_made_it_and_a_search_finds_it(page: Any) -> None:
    page.get_by_placeholder("Search...").fill("summary")
    page.get_by_placeholder("Search...").press("Enter")
    row = page.locator("nav tbody tr")
    assert row.count() == 1
    row.locator("a").last.click()
    page.get_by_text("The run on one page").wait_for()
