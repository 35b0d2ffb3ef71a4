"""The blind listening test in a real browser: switching without a gap, the statistics, the export, and nothing that betrays X."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from scipy import stats

from audiorestorer.report import blind, listening
from tests import browser as browsers

pytestmark = browsers.needed
HOSTILE = '</script><img src=x onerror="window.harmed=1">"=HYPERLINK(1),\n'
RATE = 44_100


def mp3(gain: float) -> bytes:
    time = np.arange(2 * RATE) / RATE
    out = io.BytesIO()
    sf.write(out, gain * np.sin(2 * np.pi * 441 * time), RATE, format="MP3", subtype="MPEG_LAYER_III")
    return out.getvalue()


def player(number: int, file: str) -> listening.Player:
    names = ("before", "after", "clean")
    versions = [
        listening.Version(name, listening.LABELS[name], i, mp3(0.2 + 0.05 * i)) for i, name in enumerate(names, 1)
    ]
    return listening.Player(f"i{number}", file, "worst", 0.0, 2.0, versions, b"")


@pytest.fixture(scope="module")
def browser():
    with browsers.launched("--autoplay-policy=no-user-gesture-required") as chromium:
        yield chromium


@pytest.fixture
def page(browser, tmp_path: Path):
    """The page from file://, with no network; fails on any request that is not for the file itself, and on any script error."""
    path = tmp_path / "blind.html"
    path.write_text(blind.page([player(0, "a.wav"), player(1, HOSTILE)], title="Blind"), encoding="utf-8")
    context = browser.new_context(offline=True, accept_downloads=True)
    opened = context.new_page()
    trouble: list[str] = []
    opened.on(
        "request",
        lambda request: trouble.append(request.url) if not request.url.startswith(("file:", "blob:")) else None,
    )
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.goto(f"{path.as_uri()}#seed=7")
    yield opened
    assert not trouble
    assert opened.evaluate("window.harmed") is None
    context.close()


def answer_all(page, right: bool) -> None:
    """Listen to X's graph instead of ears: which gain is open when X is pressed tells what X is."""
    page.locator("#repeats").fill("3")
    page.locator("#start-abx").click()
    for trial in range(1, 7):
        page.get_by_role("heading", name=f"Trial {trial} of 6").wait_for()
        markup = page.locator("#stage").inner_html()
        page.keyboard.press("x")
        assert page.evaluate("listeningTest.deck.playing")
        heard = page.evaluate("listeningTest.deck.heard")
        # nothing but the pressed state of the buttons changes in the page, whatever X is
        assert page.locator("#stage").inner_html().replace('aria-pressed="true"', 'aria-pressed="false"') == markup
        page.keyboard.press(
            {("before", True): "1", ("after", True): "2", ("before", False): "2", ("after", False): "1"}[heard, right]
        )
    page.locator(".result").first.wait_for()


@pytest.mark.parametrize(("right", "p"), [(True, 0.5**6), (False, 1.0)])
def test_abx_run_and_its_csv(page, right: bool, p: float):
    answer_all(page, right)
    text = page.locator(".result").first.inner_text()
    assert f"{6 if right else 0} of 6 right" in text and float(text.split("p = ")[1].split(" ")[0]) == pytest.approx(
        p, rel=0.01
    )
    with page.expect_download() as download:
        page.locator("#download").click()
    content = Path(download.value.path()).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert len(rows) == 6 and {row["right"] for row in rows} == {"1" if right else "0"}
    assert {row["file"] for row in rows} == {"a.wav", HOSTILE} and {row["x"] for row in rows} == {"before", "after"}
    assert page.locator("textarea").input_value().splitlines()[0] == "trial,file,a,b,x,answer,right,seconds"


def test_mushra_run(page):
    page.locator("#start-mushra").click()
    for number in (1, 2):
        page.get_by_role("heading", name=f"File {number} of 2").wait_for()
        for sound in (1, 2, 3):
            page.keyboard.press(str(sound))
            heard = page.evaluate("listeningTest.deck.heard")
            slider = page.get_by_label(f"Quality of {sound}, 0 to 100")
            slider.fill({"clean": "95", "after": str(60 + 10 * number), "before": "20"}[heard])
        page.keyboard.press("r")
        assert page.evaluate("listeningTest.deck.heard") == "clean"
        page.keyboard.press("n")
    page.locator(".result").first.wait_for()
    table = page.locator("table").inner_text()
    assert "Clean reference\t95.0\t± 0.0\t2" in table and "After\t75.0\t± 9.8\t2" in table and "Before\t20.0" in table
    assert "below 90 in 0 of 2" in page.locator(".result").first.inner_text()


def test_switching_has_no_gap_and_keeps_the_position(page):
    """Rendered through the page's own Deck: the same sine in both versions must come out as one sine, without a sample missing."""
    rendered = page.evaluate(
        """async () => {
          const rate = 44100, context = new OfflineAudioContext(1, rate, rate), buffers = {};
          for (const name of ["a", "b"]) {
            buffers[name] = context.createBuffer(1, rate * 2, rate);
            const samples = buffers[name].getChannelData(0);
            for (let i = 0; i < samples.length; i++) samples[i] = 0.5 * Math.sin(2 * Math.PI * 441 * i / rate);
          }
          const deck = new listeningTest.Deck(context, buffers);
          deck.select("a", 0, 0.001);
          deck.play(0);
          for (const [when, name] of [[0.3, "b"], [0.5, "a"], [0.7, "b"]]) {
            context.suspend(when).then(() => { deck.select(name, context.currentTime); context.resume(); });
          }
          return Array.from((await context.startRendering()).getChannelData(0));
        }"""
    )
    wanted = 0.5 * np.sin(2 * np.pi * 441 * np.arange(RATE) / RATE)
    after_start = slice(RATE // 50, None)
    assert np.abs(np.array(rendered)[after_start] - wanted[after_start]).max() < 1e-3


def test_the_versions_of_a_file_are_decoded_to_one_length(page):
    lengths = page.evaluate(
        """async () => {
          const context = new AudioContext(), items = JSON.parse(document.getElementById("data").textContent), out = [];
          for (const version of items[0].versions) {
            const bytes = Uint8Array.from(atob(version.audio), letter => letter.charCodeAt(0));
            out.push((await context.decodeAudioData(bytes.buffer)).length);
          }
          return out;
        }"""
    )
    assert len(set(lengths)) == 1


@pytest.mark.parametrize(("right", "of"), [(0, 1), (6, 6), (8, 10), (14, 20), (10, 20)])
def test_p_value_is_the_exact_binomial_test(page, right: int, of: int):
    exact = stats.binomtest(right, of, 0.5, alternative="greater").pvalue
    assert page.evaluate(f"listeningTest.binomialTail({right}, {of})") == pytest.approx(exact, rel=1e-9)


def test_csv_cells_are_quoted_and_no_formulas(page):
    text = page.evaluate("""listeningTest.csv([["=1+1", 'a"b', "c,d", -3, "-x"]])""")
    assert text == '\'=1+1,"a""b","c,d",-3,\'-x\r\n'


def test_every_control_has_a_name_and_can_be_reached(page):
    page.locator("#start-mushra").click()
    page.get_by_role("heading", name="File 1 of 2").wait_for()
    for control in page.locator("button:visible, input:visible, select:visible").all():
        named = (
            "e => (e.labels?.length ? e.labels[0].textContent : '') || e.getAttribute('aria-label') || e.textContent"
        )
        assert control.evaluate(named)
        control.focus()
        assert control.evaluate("e => document.activeElement === e")


def test_file_names_are_text_and_audio_is_inside():
    html = blind.page([player(0, HOSTILE)], title="Blind")
    assert "<img src=x" not in html and "http" not in html.replace("http-equiv", "")
    assert base64.b64encode(mp3(0.25)).decode() in html
    assert "no file to listen to" in blind.page([], title="Blind")


def test_compare_page_switches_at_the_same_position_by_key(browser, tmp_path):
    """The listening page itself: space plays, 1 to 3 choose the version, and the position runs on."""
    path = tmp_path / "listening.html"
    path.write_text(listening.page([player(0, "a.wav"), player(1, HOSTILE)], title="Listening"), encoding="utf-8")
    opened = browser.new_context(offline=True).new_page()
    opened.goto(path.as_uri())
    card = opened.locator("section.item").first
    card.locator(".play").click()
    browsers.playwright.expect(card.locator(".play")).to_have_text("Pause")
    for _ in range(100):
        if float(card.locator(".seek").input_value()) > 0.2:
            break
        opened.wait_for_timeout(20)
    places = []
    for key, index in (("2", 1), ("3", 2), ("1", 0)):
        opened.keyboard.press(key)
        assert card.locator(".version input").nth(index).is_checked()
        places.append(float(card.locator(".seek").input_value()))
    assert places == sorted(places) and places[0] > 0.2 and places[-1] < 2.0
    card.locator(".play").focus()
    opened.keyboard.press("Space")
    browsers.playwright.expect(card.locator(".play")).to_have_text("Play")
    assert opened.evaluate("window.harmed") is None
