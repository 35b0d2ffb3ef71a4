"""The first screen of the results page and the head of the summary: the figures of metrics.json, and only what was measured."""

import re
from typing import Any

import numpy as np
import pytest

from audiorestorer.report import outcome, results
from audiorestorer.report.metricinfo import BY_NAME, shown
from audiorestorer.report.summary import summary_markdown
from audiorestorer.stages.batch import collect
from tests.report.test_pages import item, metrics, player

MEASURED = ("music_to_speech_db", "si_sdr_db", "stoi", "wer")
REASON = "the weights are not here"


def batch(count: int = 12, names: tuple[str, ...] = MEASURED, **missing: str) -> dict[str, Any]:
    """What `collect` makes of files with these metrics before and after, and of reasons for others."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        row = {
            "id": f"i{number}",
            "input": f"a/{number}.wav",
            "status": "ok",
            "conditions": {},
            "missing": dict(missing),
        }
        for name in names:
            row[collect.before_of(name)], row[name] = (round(float(value), 4) for value in rng.normal(0, 5, 2))
        if "si_sdr_db" in names:
            row["si_sdr_improvement_db"] = round(row["si_sdr_db"] - row["si_sdr_in_db"], 4)
        rows.append(row)
    return {
        "items": rows, "summary": collect.summarise(rows), "paired": collect.pairs_of(rows), "counts": {"ok": count, "rejected": 2},
        "rejected": [{"id": f"r{n}", "input": f"broken/{n}.wav", "reason": "silent"} for n in range(2)],
    }  # fmt: skip


def screen(page: str) -> str:
    """What stands before the notes and the table, as text."""
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", page[page.index("<h1>") : page.index('id="rejected"')]))


def test_counts_and_the_four_figures_are_those_of_the_metrics() -> None:
    found = batch()
    text, summary = screen(results.page(found)), summary_markdown(found, {}, [])
    head = summary[: summary.index("## ")]
    assert "12 of 14 files were restored and 2 rejected." in text and "12 of 14 files were restored" in head
    for name in MEASURED:
        metric, before, after = BY_NAME[name], found["summary"][collect.before_of(name)], found["summary"][name]
        change = found["paired"][name]
        number = [shown(value, metric) for value in (before["median"], after["median"])]
        limits = [" to ".join(shown(end, metric) for end in part["ci95"]) for part in (before, after, change)]
        ways = ("rose", "fell") if metric.better == "higher" else ("fell", "rose")
        counts = f"files: {change[ways[0]]} better, {change[ways[1]]} worse"
        assert f"{number[0]} → {number[1]} 95 %: {limits[0]} → {limits[1]}" in text
        assert f"({limits[2]}) {counts}" in text and counts in head
        assert f"{number[0]} ({limits[0]}) → **{number[1]}** ({limits[1]})" in head


def test_the_three_files_that_gained_least_are_links_to_their_rows() -> None:
    found = batch()
    ids = [row["id"] for row in sorted(found["items"], key=lambda row: row["si_sdr_improvement_db"])[:3]]
    page = results.page(found)
    links = re.findall(r'<li><a class="row" href="#(item-\w+)">', page)
    assert links == [f"item-{name}" for name in ids] and all(f'<tr id="{link}">' in page for link in links)
    assert re.findall(r"\(results\.html#item-(\w+)\)", summary_markdown(found, {}, [])) == ids


def test_without_references_the_blind_figure_and_dnsmos_stand_in() -> None:
    names = ("music_to_speech_blind_db", "dnsmos_ovrl")
    found = batch(
        names=names, stoi="no reference", stoi_in="no reference", si_sdr_db="no reference", wer="no transcript"
    )
    figures = outcome.key_figures(found)
    assert [figure.title for figure in figures] == [
        "music to speech, blind (dB)",
        "SI-SDR (dB)",
        "DNSMOS overall (MOS)",
        "WER",
    ]
    assert [figure.missing for figure in figures] == ["", "no reference", "", "no transcript"]
    text = screen(results.page(found))
    assert "no transcript" in text and "0.000" not in text and "by music to speech, blind" in text
    assert "WER: not measured: no transcript" in summary_markdown(found, {}, [])


def test_what_was_not_asked_for_and_few_files_make_no_figure_and_no_interval() -> None:
    assert [figure.title for figure in outcome.key_figures(batch(names=("stoi",)))] == ["STOI"]
    assert outcome.key_figures(batch(names=())) == [] and 'class="figures"' not in results.page(batch(names=()))
    (figure,) = outcome.key_figures(batch(3, names=("stoi",)))
    assert (figure.before_interval, figure.change_interval) == ("–", "–") and figure.after != "–"


def test_before_and_after_share_a_column_and_what_nobody_measured_takes_none() -> None:
    found = batch(music_presence=REASON, music_presence_in=REASON, noise_presence=REASON)
    page = results.page(found)
    titles = re.findall(r'<th scope="col" title="[^"]*">([^<]*)<', page)
    assert titles == ["SI-SDR", "music to speech", "STOI", "WER"]
    assert page.count(REASON) == 1 and f"music presence, noise presence ({REASON})" in page
    assert page.count(">change</button>") == 4 and "mixed at" not in page
    cell = results._cell({"stoi_in": 0.9, "stoi": 0.8}, results.Column(BY_NAME["stoi"], ("stoi_in", "stoi")))
    assert str(cell) == "<td class=w>0.900<br><b>0.800</b><br><small>−0.100</small>"


def test_texts_follow_what_the_run_did() -> None:
    assert "the recogniser heard" not in results.page(batch())
    assert "the recogniser heard" in results.page(metrics(item(0, heard={"wer": "x"})))
    assert "none" in results.page({"items": [], "counts": {}, "summary": {}})


@pytest.mark.parametrize("ranks", [True, False])
def test_the_picture_is_of_a_typical_file_or_of_all(ranks: bool) -> None:
    found = metrics(*(item(number) if ranks else {"id": f"i{number}", "status": "ok"} for number in range(5)))
    players = [player(number) for number in (4, 1, 2)]
    chosen = outcome.typical(players, found)
    assert chosen and chosen.id == ("i2" if ranks else "i4")
    assert chosen.picture_uri in results.page(found, players) and "A typical file" in results.page(found, players)
    assert "data:image/png;base64,cG5n" in results.page(found, (), b"png") and outcome.typical((), found) is None
    assert "<img" not in results.page(found)
