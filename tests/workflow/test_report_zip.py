"""Snakemake's report of a finished run as a zip: whatever a page links to is in the zip, and leads to what it names."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.workflow.conftest import Workspace

AWAY = ("http", "https", "data", "javascript", "mailto")
PAGES = {
    "results.html",
    "details.html",
    "runtime.html",
    "listening-worst.html",
    "listening-best.html",
    "listening-sample.html",
}


@pytest.fixture(scope="module")
def unpacked(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    packed = finished.folder / "report.zip"
    finished.run("--report", str(packed))
    folder = tmp_path_factory.mktemp("report")
    with zipfile.ZipFile(packed) as file:
        file.extractall(folder)
    return folder / "report"


class Links(HTMLParser):
    """The addresses in a page, and the ids that a link may lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.found, self.ids = list[str](), set[str]()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {value for name, value in attrs if name in ("id", "name") and value}
        self.found += [value for name in ("href", "src") if (value := values.get(name))]


def dead(page: Path, addresses: list[str]) -> list[str]:
    """The addresses of a page that lead to nothing: no file, or no such place in it."""
    out = []
    for address in addresses:
        parts = urlsplit(address)
        if parts.scheme in AWAY:
            continue
        target = page.parent / unquote(parts.path) if parts.path else page
        fragment = unquote(parts.fragment)
        if not target.is_file() or fragment and fragment not in Links(target).ids:
            out.append(address)
    return out


def test_every_link_of_every_page_resolves(unpacked: Path) -> None:
    pages = list(unpacked.rglob("*.html"))
    assert {path.name for path in pages} == {"report.html", *PAGES}
    found = {path.name: Links(path).found for path in pages}
    assert any(address.startswith("#item-") for address in found["results.html"])
    assert {path.name: lost for path in pages if (lost := dead(path, found[path.name]))} == {}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    browsers = pytest.importorskip("tests.browser")
    if browsers.CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with browsers.launched() as browser:
        yield browser


def test_every_link_that_a_script_makes_resolves_too(chromium: Any, unpacked: Path) -> None:
    """By itself and inside the report, with every row of the table open once."""
    page = chromium.new_context(offline=True).new_page()
    (results,) = unpacked.rglob("results.html")
    page.goto(results.as_uri())
    links_of = "links => links.map(link => link.getAttribute('href')).filter(Boolean)"
    buttons = page.locator("#results button.d")
    assert buttons.count() == 5
    for number in range(buttons.count()):
        buttons.nth(number).click()
        assert dead(results, page.locator("a").evaluate_all(links_of)) == []
    assert page.locator("a.listen:visible").count() == 0
    page.goto((unpacked / "report.html").as_uri())
    page.locator(".prose").get_by_role("link", name="table of all files").click()
    frame = page.frame_locator("iframe")
    frame.locator("#results button.d").first.wait_for()
    assert frame.locator("a.listen:visible").count() == 0


def test_beside_the_listening_page_the_links_are_there(chromium: Any, finished: Workspace) -> None:
    page = chromium.new_context(offline=True).new_page()
    path = finished.folder / "artifacts/report/results.html"
    page.goto(path.as_uri())
    links = page.locator("a.listen:visible")
    addresses = links.evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert addresses and all(address.startswith("listening.html#item-") for address in addresses)
    assert dead(path, addresses) == []
