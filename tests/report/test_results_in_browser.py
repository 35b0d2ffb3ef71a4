"""The results page of a large batch in a real browser: all files are in it, can be found and sorted, and names stay text."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audiorestorer.report import tables
from tests.report.test_pages import item, metrics

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
HOSTILE = '</script><img src=x onerror="window.harmed=1">.wav'
COUNT = 10_000


def test_all_files_come_out_of_the_page_itself(tmp_path: Path):
    rows = [item(number) for number in range(COUNT)]
    rows[7]["input"] = HOSTILE
    path = tmp_path / "results.html"
    path.write_text(tables.results_html(metrics(*rows)), encoding="utf-8")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_context(offline=True).new_page()
        trouble: list[str] = []
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.goto(path.as_uri())
        page.locator("#unpack").click()
        page.locator("#where").filter(has_text=f"1 to 100 of {COUNT}").wait_for()
        cells = page.locator("#all tbody tr").first.locator("td")
        assert cells.nth(0).inner_text() == "a/0.wav" and cells.nth(2).inner_text() == "5.00"
        head = page.locator("#all thead button", has_text="SI-SDR improvement")
        head.click()
        head.click()
        assert cells.nth(0).inner_text() == f"a/{COUNT - 1}.wav"
        page.locator("#filter").fill("img src")
        page.locator("#where").filter(has_text="1 to 1 of 1").wait_for()
        assert cells.nth(0).inner_text() == HOSTILE
        assert page.evaluate("window.harmed") is None and not trouble
        chromium.close()
