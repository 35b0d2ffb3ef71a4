"""Figures, tables and pages: what a stranger's names can do to them, what is missing, and equal bytes for equal input."""

import base64
import gzip
import io
import json
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from audiorestorer.report import batch_figures, figures, listening, results, tables
from audiorestorer.report.metricinfo import METRICS
from audiorestorer.report.summary import summary_markdown
from audiorestorer.stages.batch import collect

HOSTILE = '<script>alert(1)</script>|`x`\n"onload="y\u202e\udcff'


def item(number: int, **more: object) -> dict[str, object]:
    gain = 5.0 + number
    values = {"si_sdr_in_db": -1.0, "si_sdr_db": gain - 1.0, "si_sdr_improvement_db": gain, "stoi_in": 0.7, "stoi": 0.8}
    return (
        {"id": f"i{number}", "input": f"a/{number}.wav", "status": "ok", "conditions": {"snr_db": number % 3 * 5}}
        | values
        | more
    )


def metrics(*items: dict[str, object], rejected: int = 0) -> dict[str, object]:
    statistics = {"median": 6.5, "q25": 5.0, "q75": 8.0, "mean": 6.6, "n": len(items), "n_missing": 0}
    gone = {
        "median": None,
        "q25": None,
        "q75": None,
        "mean": None,
        "n": 0,
        "n_missing": len(items),
        "missing_reason": "no | recogniser",
    }
    by_snr = {"0": statistics, "10": statistics, "5": statistics}
    return {
        "items": list(items), "counts": {"ok": len(items), "rejected": rejected},
        "summary": {"si_sdr_improvement_db": statistics, "wer": gone, "si_sdr_improvement_db_by_snr": by_snr},
        "rejected": [{"id": f"r{i}", "input": HOSTILE, "reason": HOSTILE} for i in range(rejected)],
    }  # fmt: skip


def tone(seconds: float = 1.0, rate: int = 16000) -> tuple[np.ndarray, int]:
    noise = np.random.default_rng(0).standard_normal((1, int(seconds * rate))) * 0.05
    return noise.astype(np.float32), rate


def player(number: int, audio_bytes: int = 30_000, chosen: str = "worst", file: str = "a.wav") -> listening.Player:
    entry = {"id": f"i{number}", "chosen": chosen, "start_sec": 1.5, "seconds": 6.0}
    names = ("before", "after", "clean")
    return listening.player(entry, item(number, input=file), dict.fromkeys(names, bytes(audio_bytes)), b"png")


def test_spectrograms_are_small_and_equal() -> None:
    versions = {name: tone(6.0, 44100) for name in ("before", "after", "clean")}
    first = figures.spectrograms(versions)
    assert first == figures.spectrograms(versions)
    assert len(first) < 120_000
    picture = Image.open(io.BytesIO(first))
    assert picture.width > 900 and not picture.info.get("Software")


@pytest.mark.parametrize("samples", [0, 1, 10])
def test_spectrograms_of_next_to_nothing(samples: int) -> None:
    audio = np.zeros((2, samples), np.float32)
    assert figures.spectrograms({"before": (audio, 8000), "after": tone()})


def test_level_of_a_full_scale_sine_is_0_db() -> None:
    time = np.arange(16000) / 16000
    level, _ = figures.level_db(np.sin(2 * np.pi * 1000 * time).astype(np.float32)[None], 16000)
    assert abs(level.max()) < 0.1


@pytest.mark.parametrize("draw", [figures.overview, batch_figures.distributions, batch_figures.worst])
def test_overview_figures(draw) -> None:
    full = metrics(*(item(number) for number in range(30)))
    assert draw(full) == draw(full)
    assert len(draw(full)) < 120_000
    assert draw(metrics()) and draw(metrics({"id": "x", "status": "ok", "missing": {"stoi": "no reference"}}))
    many = metrics(*(item(number, conditions={"snr_db": number * 0.37}) for number in range(30)))
    assert draw(many)


def test_results_escape_names_and_give_reasons() -> None:
    missing = {"stoi": HOSTILE, "pesq": HOSTILE}
    html = results.page(metrics(item(0, input=HOSTILE, stoi=None, missing=missing), item(1, pesq=2.0), rejected=1))
    assert "<script>alert" not in html and "&lt;script&gt;alert" in html and '"onload="' not in html
    assert "\u202e" not in html and "\udcff" not in html
    for cell in ('<td class=m title="&lt;script', '0.700<br><i class=m title="&lt;script'):
        assert cell in html
    assert "higher is better" in html and "aria-sort" in html and "position: sticky" in html


@pytest.mark.parametrize(
    ("count", "share", "all_in"),
    [(10_000, 1.0, True), (10_000, 0.5, False), pytest.param(100_000, 1.0, False, marks=pytest.mark.slow)],
)
def test_results_of_a_large_batch_stay_showable(count: int, share: float, all_in: bool) -> None:
    """10,000 files with figures as various as real ones are all in the page; of 100,000, or in half of its bytes, it says how many
    are not."""
    rng = np.random.default_rng(0)
    names = [metric.name for metric in METRICS[:26]]
    rows = [dict(zip(names, rng.normal(0, 10, 26).tolist(), strict=True)) for _ in range(count)]
    for row in rows:
        row["si_sdr_db"] = row["si_sdr_in_db"] + row["si_sdr_improvement_db"]
    found = metrics(*(item(n, **row) for n, row in enumerate(rows)))
    limit = int(share * listening.REPORT_PAGE_BYTES)
    html = results.page(found, limit_bytes=limit)
    assert len(html.encode()) < limit
    assert ("are not in this page" not in html) == all_in
    data = json.loads(gzip.decompress(base64.b64decode(html.split('id="packed">')[1].split("<")[0])))
    assert (len(data["files"]) == count) == all_in and len(data["files"]) > share * 5_000
    before, after = data["values"][[head[0] for head in data["heads"]].index("SI-SDR")]
    gains = [new - old for old, new in zip(before, after, strict=True)]
    assert all(low <= high + 1 for low, high in pairwise(gains))  # who gained least comes first; both ends are rounded
    by_name = {row["input"]: row for row in found["items"]}
    for place in (0, len(gains) // 2, len(gains) - 1):
        assert after[place] == round(by_name[data["files"][place]]["si_sdr_db"] * 100)


def test_results_without_items() -> None:
    assert "none" in results.page(metrics())


def test_listening_page_has_players_and_switches() -> None:
    html = listening.page([player(0, file=HOSTILE), player(1)], title="Listening")
    assert html.count("<audio ") == 6 and html.count('type="radio"') == 6 and html.count('class="play"') == 2
    assert "data:audio/mpeg;base64," in html and 'src="http' not in html and "default-src 'none'" in html
    assert "<script>alert" not in html and "&lt;script&gt;alert" in html
    assert all(f"<kbd>{key}</kbd>" in html for key in ("1", "2", "3", "space"))
    assert html == listening.page([player(0, file=HOSTILE), player(1)], title="Listening")


def test_listening_page_keeps_below_the_limit_and_says_what_it_leaves_out() -> None:
    players = [player(number, audio_bytes=90_000, file="n" * 300) for number in range(60)]
    html = listening.page(players, title="L", limit_bytes=listening.REPORT_PAGE_BYTES)
    assert 1_000_000 < len(html.encode()) <= listening.REPORT_PAGE_BYTES
    assert "Not on this page" in html and "more</li>" in html


def test_listening_page_without_references_does_not_speak_of_them() -> None:
    entry = {"id": "i0", "chosen": "sample", "start_sec": 0.0, "seconds": 6.0}
    pair = listening.player(entry, item(0), dict.fromkeys(("before", "after"), b"mp3"), b"png")
    html = listening.page([pair], title="L")
    assert "clean" not in html and "<kbd>3</kbd>" not in html and "clean" in listening.page([player(0)], title="L")


def test_listening_page_without_files() -> None:
    assert "no file to listen to" in listening.page([], title="L")


def test_summary_says_all_and_escapes() -> None:
    models = [{"name": "dns64", "kind": "dns64", "licence": "CC-BY-NC 4.0", "weights": "ab" * 32}]
    text = summary_markdown(metrics(item(0), rejected=1), {"fuse": {"note": "a```b"}}, models)
    assert "+6.50 dB overall; +6.50 dB at 0 dB input SNR, +6.50 dB at 5 dB" in text
    assert (
        "## Rejected files" in text
        and "&lt;script&gt;alert(1)&lt;/script&gt;\\|\\`x\\`" in text
        and "<script>" not in text
    )
    assert "no \\| recogniser" in text and "No commercial use" in text and "ab" * 32 in text
    assert "````yaml" in text and "| torch |" in text and "| python |" in text


def test_summary_of_nothing() -> None:
    text = summary_markdown({"items": [], "counts": {"ok": 0, "rejected": 0}, "summary": {}, "rejected": []}, {}, [])
    assert "## Rejected files\n\nnone" in text


def test_notes_and_what_was_left_out_are_on_the_first_page_and_in_the_summary() -> None:
    items = [item(number, notes={"speech": f"lost {number} dB {HOSTILE}"}) for number in range(5)]
    items.append(item(5, notes={"loudness": "2 LU short"}))
    content = metrics(*items) | {
        "notes": collect.notes_of([dict(row) for row in items]),
        "left_out": [
            {"kind": "format", "count": 4, "first": ["x.m4a"], "text": f"4 files were left out: x.m4a {HOSTILE}"}
        ],
    }
    page, summary = results.page(content), summary_markdown(content, {}, [])
    head = page[: page.index('<table id="results">')]
    for text in (head, summary):
        assert "lost 0 dB" in text and "2 LU short" in text and "4 files were left out: x.m4a" in text
        assert text.index("lost 0 dB") < text.index("2 LU short") and "<script>alert" not in text
    assert "lost 4 dB" not in head and "and 2 more" in head and "lost 4 dB" in summary
    assert "note: 2 LU short" in page
    assert [row["notes"] for row in collect.table(items[5:])] == ["2 LU short"]
    clean = results.page(metrics(item(0)))
    assert 'class="note"' not in clean and "Files to look at" not in summary_markdown(metrics(item(0)), {}, [])


def test_the_worst_files_come_first(monkeypatch) -> None:
    seen: list[list[str]] = []
    original = batch_figures._dumbbells

    def spy(axis, ends, way) -> None:
        seen.append([f"{gain:.1f}" for gain in way * (ends[:, 1] - ends[:, 0])])
        original(axis, ends, way)

    monkeypatch.setattr(batch_figures, "_dumbbells", spy)
    batch_figures.worst(metrics(*(item(number) for number in (7, 3, 11, 5)), item(0, input=HOSTILE)), count=3)
    blind = {"music_to_speech_in_db": -3.0, "music_to_speech_db": -9.0, "si_sdr_in_db": None, "si_sdr_db": None}
    batch_figures.worst(metrics(item(1, si_sdr_improvement_db=None, **blind)))
    assert seen == [["5.0", "8.0", "10.0"], ["6.0"]]


def test_long_names_keep_both_ends_and_hostile_ones_do_no_harm() -> None:
    short = batch_figures.shortened("a" * 100 + "end.wav")
    assert (
        len(short) == batch_figures.MAX_LABEL
        and short.startswith("aaa")
        and short.endswith("end.wav")
        and "\u2026" in short
    )
    assert batch_figures.shortened("$x$\u202e\n\udcff") == "?x????"


def test_tables_of_intervals_pairs_and_conditions() -> None:
    found = metrics(item(0), item(1))
    found["summary"]["stoi"] = {"median": 0.8, "n": 9, "ci95": [0.75, 0.85]}
    found["paired"] = {"stoi": {"n": 9, "median": 0.1, "ci95": [0.05, 0.2], "rose": 8, "fell": 1, "same": 0, "wilcoxon_p": 0.01},
                       "wer": {"n": 9, "median": -0.2, "rose": 1, "fell": 7, "same": 1}}  # fmt: skip
    groups = [{"value": HOSTILE, "n": 2, "metrics": {"stoi": {"median": 0.5}, "wer_clean": {"median": 0.9}}}]
    found["by_condition"] = {"voice": groups}
    found["wer_not_informative"] = [{"metric": "wer", "condition": "voice", "value": HOSTILE, "wer_clean": 0.9}]
    assert next(row for row in tables.summary_rows(found) if row[0] == "STOI after")[2] == "0.750 to 0.850"
    stoi, wer = tables.paired_rows(found)
    assert stoi == ["STOI", "+0.100", "0.050 to 0.200", "8", "1", "0", "0.01"]
    assert wer[:5] == ["WER", "−0.200", "–", "7", "1"]  # fewer errors are better
    html = results.page(found)
    assert "By voice" in html and "not informative" in html and "<script>alert" not in html
    assert "## By voice" in summary_markdown(found, {}, [])
