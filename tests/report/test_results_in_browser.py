"""The results page in a real browser: it fits, its links lead where they say, and all files of a batch can be found and sorted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiorestorer.report import listening, results
from audiorestorer.report.metricinfo import METRICS
from audiorestorer.report.tables import sides_of
from tests import browser as browsers
from tests.report.test_pages import item, metrics, player

pytestmark = browsers.needed
HOSTILE = '</script><img src=x onerror="window.harmed=1">.wav'
COUNT = 10_000
LAPTOP = {"width": 1366, "height": 768}
NOT_BY_DEFAULT = "_presence"  # the tagger's weights are not fetched unasked


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browsers.launched(
        ignore_default_args=["--hide-scrollbars"]
    ) as browser:  # they take their width, as on a laptop
        yield browser


def opened(chromium: Any, path: Path, viewport: dict[str, int] = LAPTOP) -> tuple[Any, list[str]]:
    page = chromium.new_context(offline=True, viewport=viewport).new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(path.as_uri())
    return page, trouble


def every_metric(number: int) -> dict[str, object]:
    """An item with a wide figure for every metric that is measured without further weights."""
    names = [metric.name for metric in METRICS if NOT_BY_DEFAULT not in metric.name]
    values = {name: -60.0 + number for name in names if name.endswith("_db")}
    name = f"podcast/season {number}/an_episode_with_a_long_name_{number}.flac"
    return item(number, input=name) | dict.fromkeys(names, 0.125 * number) | values


def test_the_default_metrics_fit_a_laptop_and_the_first_screen_a_phone(chromium: Any, tmp_path: Path) -> None:
    path = tmp_path / "results.html"
    path.write_text(results.page(metrics(*(every_metric(number) for number in range(40)))), encoding="utf-8")
    page, _ = opened(chromium, path)
    wide = "element => [element.scrollWidth, element.clientWidth]"
    for selector in (":root", ".frame:has(#results)"):
        content, room = page.locator(selector).evaluate(wide)
        assert content <= room, selector
    singles = {"si_sdr_improvement_db", "music_presence", "speech_presence", "noise_presence"}
    cleans = sum("clean" in names for names in sides_of().values())
    heads = page.locator("#results thead tr").first.locator("th")
    assert heads.count() == 2 + len(sides_of().keys() - singles) + cleans  # beside file and SNR
    page, _ = opened(chromium, path, {"width": 390, "height": 844})
    content, room = page.locator(":root").evaluate(wide)
    assert content <= room  # wide tables scroll in their own frames


def test_the_first_screen_leads_to_the_worst_files_and_their_players(chromium: Any, tmp_path: Path) -> None:
    rows = [item(number, transcript="said this") for number in (7, 3, 11, 5)]
    path = tmp_path / "results.html"
    players = [player(3), player(7)]
    path.write_text(results.page(metrics(*rows), players), encoding="utf-8")
    (tmp_path / "listening.html").write_text(listening.page(players, title="L"), encoding="utf-8")
    page, trouble = opened(chromium, path)
    links = page.locator("#worst a.row")
    assert links.all_inner_texts() == ["a/3.wav", "a/5.wav", "a/7.wav"]
    for place in range(3):
        assert links.nth(place).bounding_box()["y"] < LAPTOP["height"]
    links.nth(1).click()
    opened_row = page.locator("#results tr.open")
    assert "a/5.wav" in opened_row.inner_text() and "said: said this" in opened_row.inner_text()
    assert page.locator("#item-i5 button.d").evaluate("button => button === document.activeElement")
    assert opened_row.locator("a").count() == 0  # no player of it: no link
    page.locator("#worst a.listen").first.click()
    assert page.url.endswith("listening.html#item-i3") and page.locator(":target h2").inner_text() == "a.wav"
    assert not trouble


def test_the_table_sorts_by_each_line_of_a_cell_and_keeps_missing_values_last(chromium: Any, tmp_path: Path) -> None:
    rows = [
        item(1, si_sdr_in_db=-5.0, si_sdr_db=4.0),
        item(2, si_sdr_in_db=3.0, si_sdr_db=2.0),
        item(3, si_sdr_in_db=1.0, si_sdr_db=None, missing={"si_sdr_db": "no reference"}),
    ]
    path = tmp_path / "results.html"
    path.write_text(results.page(metrics(*rows)), encoding="utf-8")
    page, trouble = opened(chromium, path)
    for label, rising, falling in (("before", "132", "231"), ("after", "213", "123"), ("change", "213", "123")):
        button = page.get_by_role("button", name=f"SI-SDR, {label}", exact=True)
        for order, sort in ((rising, "ascending"), (falling, "descending")):
            button.click()
            names = page.locator("#results tbody tr td:first-child").all_inner_texts()
            assert "".join(name[2] for name in names) == order, label
            assert page.locator(f'#results th[aria-sort="{sort}"]').count() == 1
    assert page.locator("#results td.w").count() == 1 and not trouble


def test_all_files_come_out_of_the_page_itself(chromium: Any, tmp_path: Path) -> None:
    rows = [item(number) for number in range(COUNT)]
    rows[7]["input"] = HOSTILE
    path = tmp_path / "results.html"
    path.write_text(results.page(metrics(*rows)), encoding="utf-8")
    page, trouble = opened(chromium, path)
    page.locator("#unpack").click()
    page.locator("#where").filter(has_text=f"1 to 100 of {COUNT}").wait_for()
    cells = page.locator("#all tbody tr").first.locator("td")
    assert cells.nth(0).inner_text() == "a/0.wav" and cells.nth(2).inner_text() == "−1.00\n4.00\n+5.00"
    head = page.locator("#all").get_by_role("button", name="SI-SDR, change", exact=True)
    head.click()
    head.click()
    assert cells.nth(0).inner_text() == f"a/{COUNT - 1}.wav"
    page.locator("#filter").fill("img src")
    page.locator("#where").filter(has_text="1 to 1 of 1").wait_for()
    assert cells.nth(0).inner_text() == HOSTILE
    assert page.evaluate("window.harmed") is None and not trouble
