"""Figures of a batch: every metric has a panel, the worst come first by the surest measure, names do no harm."""

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure

from audiorestorer.report import batch_figures, outcome, tables
from audiorestorer.report.metricinfo import METRICS

RNG = np.random.default_rng(0)


def batch(count: int, names: list[str]) -> dict[str, object]:
    items = [{"id": f"i{n:02}", "status": "ok"} | {name: float(RNG.normal()) for name in names} for n in range(count)]
    return {"items": items, "summary": {}}


def drawn(monkeypatch: pytest.MonkeyPatch, figure_of, *args) -> Figure:
    kept: list[Figure] = []
    original = batch_figures.png_bytes
    monkeypatch.setattr(batch_figures, "png_bytes", lambda figure: kept.append(figure) or original(figure))
    assert figure_of(*args)
    return kept[-1]


def test_each_metric_is_in_exactly_one_panel() -> None:
    sides = tables.sides_of()
    inside = [name for names in sides.values() for name in names.values()]
    assert sorted(inside) == sorted(metric.name for metric in METRICS)
    assert sides["wer"] == {"before": "wer_in", "after": "wer", "clean": "wer_clean"}
    assert sides["music_to_speech_blind_db"] == {
        "before": "music_to_speech_blind_in_db", "after": "music_to_speech_blind_db",
    }  # fmt: skip
    assert sides["si_sdr_improvement_db"] == {"after": "si_sdr_improvement_db"}


@pytest.mark.parametrize("count", [1, 6, 16, len(METRICS)])
def test_panels_state_n_and_missing_and_keep_their_size(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [metric.name for metric in METRICS[:count]]
    found = batch(12, names)
    del found["items"][0][names[0]]
    figure = drawn(monkeypatch, batch_figures.distributions, found)
    ticks = [label.get_text() for axis in figure.axes for label in axis.get_xticklabels()]
    assert sum("n = 11\n1 missing" in tick for tick in ticks) == 1
    assert sum("n = 12" in tick for tick in ticks) == count - 1
    assert all(axis.get_position().height * figure.get_figheight() > 1.2 for axis in figure.axes)


def test_intervals_are_optional_and_odd_ones_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = batch(8, ["stoi"])
    for limits, lines in ((None, 1), ([0.1, 0.2], 2), ([0.1, float("nan")], 1), ([0.1], 1), ("ab", 1)):
        found["summary"] = {"stoi": {"ci95": limits}}
        figure = drawn(monkeypatch, batch_figures.distributions, found)
        assert len(figure.axes[0].get_lines()) == lines


def rows(**values: list[float]) -> list[dict[str, object]]:
    size = len(next(iter(values.values())))
    return [{"id": f"i{n}", "status": "ok"} | {key: value[n] for key, value in values.items()} for n in range(size)]


def test_ranks_by_the_surest_measure_least_gain_first() -> None:
    blind = rows(music_to_speech_blind_in_db=[0.0, 0.0, 5.0, 0.0], music_to_speech_blind_db=[-9.0, 3.0, -20.0, -1.0])
    by, order = outcome.ranked(blind)
    assert by == "music_to_speech_blind_db" and [item["id"] for item in order] == ["i1", "i3", "i0", "i2"]
    sure = rows(si_sdr_in_db=[0.0, 5.0], si_sdr_db=[8.0, 9.0], si_sdr_improvement_db=[8.0, 4.0])
    by, order = outcome.ranked([*sure, *({**item, "id": f"b{item['id']}"} for item in blind)])
    assert by == "si_sdr_improvement_db" and [item["id"] for item in order] == ["i1", "i0"]
    assert outcome.ranked([{"id": "x", "status": "ok"}]) == ("", [])


def test_the_worst_says_how_many_it_could_not_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    items = rows(si_sdr_in_db=[0.0] * 15, si_sdr_db=[1.0] * 15, si_sdr_improvement_db=[1.0] * 15)
    figure = drawn(monkeypatch, batch_figures.worst, {"items": [*items, {"id": "x", "status": "ok"}]})
    assert figure.axes[0].get_title() == "The 10 of 15 files that gained least, worst first; 1 not measured"
    assert len(figure.axes[0].get_yticks()) == 10


def test_names_that_the_font_lacks_do_not_warn() -> None:
    assert batch_figures.shortened("\u6f22\u5b57 caf\u00e9.wav") == "?? caf\u00e9.wav"
    items = rows(si_sdr_in_db=[0.0], si_sdr_db=[1.0], si_sdr_improvement_db=[1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert batch_figures.worst({"items": [{**items[0], "input": "\u6f22\u5b57$x$.wav"}]})
