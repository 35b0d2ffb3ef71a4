"""The page in a real browser, on a real server: from the upload to the zip, by the keyboard alone, and with names that are markup."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from tests import browser as browsers
from tests.serving.conftest import ROOT, Server

pytestmark = browsers.needed
HOSTILE = "<img src=x onerror=harmed=1>&amp;'\".wav"
CLIPS = ROOT / "data/pilot/input"
PHONE, WIDE = {"width": 360, "height": 740}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browsers.launched("--autoplay-policy=no-user-gesture-required") as browser:
        yield browser


@pytest.fixture
def opened(chromium: Any, server: Server) -> Iterator[Any]:
    yield from page_of(chromium, server)


def page_of(chromium: Any, server: Server) -> Iterator[Any]:
    """The server's page; fails on any script error, refused content, or question to another host."""
    context = chromium.new_context(viewport=WIDE, accept_downloads=True)
    page = context.new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda message: trouble.append(message.text) if "Content Security" in message.text else None)
    page.on(
        "request",
        lambda request: None if request.url.startswith((server.origin, "data:")) else trouble.append(request.url),
    )
    page.goto(server.origin)
    yield page
    assert page.evaluate("typeof harmed") == "undefined"
    assert not trouble
    context.close()


def expect(locator: Any) -> Any:
    return browsers.playwright.expect(locator)


def by_tab(page: Any, name: str) -> None:
    """Go to a control by the Tab key alone; it must show that it has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()") == name:
            break
    else:
        raise AssertionError(f"{name}: not reached")
    shown = "e => [e, e.nextElementSibling, e.closest('.preset')].some(x => x && getComputedStyle(x).outlineStyle === 'solid')"
    assert page.evaluate(f"({shown})(document.activeElement)"), name


def test_the_form_by_keyboard_and_what_is_refused(opened: Any, server: Server, tmp_path: Path) -> None:
    (tmp_path / HOSTILE).write_bytes(b"x" * 10)
    (tmp_path / "large.wav").write_bytes(b"x" * 100_001)
    by_tab(opened, "Restore")
    opened.keyboard.press("Enter")
    expect(opened.get_by_role("alert")).to_have_text("Choose recordings first.")
    by_tab(opened, "Choose a folder")
    by_tab(opened, "Name of the batch (optional)")
    opened.keyboard.type(HOSTILE)
    opened.get_by_label("Choose files").set_input_files([tmp_path / HOSTILE, tmp_path / "large.wav"])
    expect(opened.locator("#names li")).to_have_text([HOSTILE, "large.wav"])
    by_tab(opened, "Restore")
    opened.keyboard.press("Enter")
    expect(opened.get_by_role("alert").first).to_contain_text(
        "large.wav: it is larger than 100 kB, the most for a file"
    )
    card = opened.get_by_role("article", name=HOSTILE)
    expect(card.locator(".state")).to_have_text("Running")
    by_tab(opened, "Stop")
    opened.keyboard.press("Enter")
    expect(card.locator(".state")).to_have_text("Stopped")
    expect(opened.locator("#news")).to_contain_text("Stopped")
    opened.once("dialog", lambda dialog: dialog.accept())
    by_tab(opened, "Remove")
    opened.keyboard.press("Enter")
    expect(card).to_have_count(0)
    assert opened.evaluate("document.activeElement.id") == "batches-title"


def test_a_chosen_folder_keeps_its_tree_and_a_path_must_be_allowed(opened: Any, server: Server, tmp_path: Path) -> None:
    (tmp_path / "tapes/side a").mkdir(parents=True)
    for name in ("one.wav", "side a/two.wav", ".DS_Store"):
        (tmp_path / "tapes" / name).write_bytes(b"x")
    opened.get_by_label("Choose a folder").set_input_files(tmp_path / "tapes")
    expect(opened.locator("#names li")).to_have_text(["tapes/one.wav", "tapes/side a/two.wav"])
    expect(opened.locator("#count")).to_have_text("2 files chosen, 2 B. 1 hidden file left out.")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/one.wav").write_bytes(b"other")
    files = opened.get_by_label("Choose files")
    for path in ("tapes/one.wav", "other/one.wav", "other/one.wav"):
        files.set_input_files(tmp_path / path)
    expect(opened.locator("#names li")).to_have_text(
        ["tapes/one.wav", "tapes/side a/two.wav", "one.wav", "one (2).wav"]
    )
    expect(opened.locator("#count")).to_contain_text("1 file chosen twice.")
    opened.get_by_role("button", name="Choose none of these").click()
    expect(opened.locator("#chosen")).to_be_hidden()
    opened.get_by_label("Or the path of a folder").fill("/etc")
    opened.get_by_role("button", name="Restore").click()
    expect(opened.get_by_role("alert")).to_contain_text("/etc: is not in a folder that this server may read.")


def test_a_dropped_folder_is_taken_with_all_that_it_holds(opened: Any, tmp_path: Path) -> None:
    (tmp_path / "tapes").mkdir()
    for number in range(130):  # a browser lists a hundred at a time
        (tmp_path / f"tapes/{number}.wav").write_bytes(b"x")
    (tmp_path / "one.wav").write_bytes(b"x")
    place = opened.locator("#drop").bounding_box()
    files = [str(tmp_path / "tapes"), str(tmp_path / "one.wav")]
    session = opened.context.new_cdp_session(opened)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send(
            "Input.dispatchDragEvent",
            {
                "type": kind,
                "x": place["x"] + 9,
                "y": place["y"] + 9,
                "data": {"items": [], "files": files, "dragOperationsMask": 1},
            },
        )
    expect(opened.locator("#count")).to_have_text("131 files chosen, 131 B.")
    expect(opened.locator("#names li").last).to_have_text("and 123 more")


def test_the_page_fits_a_phone_and_all_controls_have_names(opened: Any) -> None:
    opened.set_viewport_size(PHONE)
    wide = opened.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide[0] <= wide[1]
    nameless = """() => [...document.querySelectorAll("input, button, a[href], progress")]
      .filter(e => !(e.labels?.length || e.textContent.trim() || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")))
      .map(e => e.outerHTML)"""
    assert opened.evaluate(nameless) == []


def test_a_server_that_ended_is_told(chromium: Any, tmp_path: Path) -> None:
    one = Server(tmp_path / "queue")
    pages = page_of(chromium, one)
    page = next(pages)
    expect(page.locator("#none")).to_be_visible()
    assert one.end() == 0
    expect(page.locator("#offline")).to_have_text("The server does not answer. Is it still running?")
    pages.close()


@pytest.mark.slow
def test_from_the_upload_to_the_zip(chromium: Any, tmp_path: Path) -> None:
    """Two recordings, one with markup for a name, and a broken one; killed with the server in the middle, and gone on."""
    source = tmp_path / "tapes"
    source.mkdir()
    clips = sorted(path for path in CLIPS.rglob("*.wav") if path.parent.name != "broken")[:2]
    for clip, name in zip(clips, (HOSTILE, "plain.wav"), strict=True):
        shutil.copy(clip, source / name)
    (source / "broken.wav").write_bytes(b"no sound")
    one = Server(tmp_path / "queue", "--cores", "2")
    pages = page_of(chromium, one)
    page = next(pages)
    page.get_by_label("Noisy speech").check()
    page.get_by_label("Choose files").set_input_files(sorted(source.iterdir()))
    page.get_by_role("button", name="Restore").click()
    card = page.get_by_role("article")
    expect(card.locator(".state")).to_have_text("Running", timeout=30_000)
    batch = next(row["id"] for row in one.ask("GET", "/batches.json").json["batches"])
    pages.close()
    assert one.end() == 0
    one = Server(tmp_path / "queue", "--cores", "2")
    pages = page_of(chromium, one)
    page = next(pages)
    expect(page.get_by_role("progressbar")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("article").locator(".state")).to_have_text("Done", timeout=240_000)
    expect(page.get_by_role("article").locator(".detail")).to_have_text("2 recordings restored, 1 rejected.")
    page.get_by_role("link", name="Listen and compare").click()

    expect(page.get_by_role("rowheader", name="DNSMOS overall")).to_be_visible()
    names = page.locator(".recordings h3")
    expect(names).to_have_text([HOSTILE, "broken.wav", "plain.wav"])
    expect(page.locator(".recordings .trouble")).to_contain_text("Rejected: ")
    listen(page)
    seek(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all as a zip").click()
    archive = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
    assert archive.testzip() is None
    held = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    uploads = [path.name for path in (tmp_path / "queue" / batch / "input").iterdir()]
    assert held.keys() == {*uploads, "report.html"} - {"broken.wav"}
    for clip, name in zip(clips, sorted(set(uploads) - {"broken.wav"}), strict=True):
        assert sf.info(io.BytesIO(held[name])).frames == sf.info(str(clip)).frames

    with page.context.expect_page() as other:
        page.get_by_role("link", name="Open the report").click()
    expect(other.value).to_have_title("Results")
    assert other.value.evaluate("origin") == "null"
    half = one.ask("GET", f"/batches/{batch}/recordings/0/after", Range="bytes=100-199")
    assert half.status == 206 and len(half.body) == 100
    assert one.ask("GET", f"/batches/{batch}/recordings/1/after").status == 404  # it was rejected
    pages.close()
    assert one.end() == 0


def until(page: Any, condition: str) -> None:
    """Wait for what a script says; Playwright's own way of it needs `eval`, which the page's policy forbids."""
    for _ in range(250):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise AssertionError(condition)


def listen(page: Any) -> None:
    """Play a snippet: switching to the other version keeps the position."""
    card = page.locator(".item").first
    card.locator(".play").click()
    expect(card.locator(".play")).to_have_text("Pause")
    until(page, "listening.players[0].now() > 0.2")
    assert page.evaluate("listening.players[0].gains.map(gain => Math.round(gain.gain.value))") == [1, 0]
    page.keyboard.press("2")
    until(page, "listening.players[0].gains[1].gain.value > 0.9")
    assert page.evaluate("listening.players[0].now()") > 0.2
    page.keyboard.press("Space")
    expect(card.locator(".play")).to_have_text("Play")


def seek(page: Any) -> None:
    """A whole recording can be sought in."""
    player = page.get_by_label("After: plain.wav").last
    place = player.evaluate(
        """async player => {
          player.preload = "auto";
          player.load();
          await new Promise(resolve => player.addEventListener("loadedmetadata", resolve, {once: true}));
          player.currentTime = player.duration / 2;
          await new Promise(resolve => player.addEventListener("seeked", resolve, {once: true}));
          return player.currentTime / player.duration;
        }"""
    )
    assert abs(place - 0.5) < 0.01
