"""The ablation's arithmetic on numbers that can be worked out by hand."""

from typing import Any

import numpy as np
import pytest

from audiorestorer.metrics.ablation import METRICS, table, verdict

GAIN, LSD = "si_sdr_improvement_db", "lsd_db"


def result(
    row: str, seed: int | None, gains: list[float], condition: str = "unseen", **more: list[float]
) -> dict[str, Any]:
    items = [
        {"id": f"i{k}", "condition": condition, GAIN: gain, **{name: values[k] for name, values in more.items()}}
        for k, gain in enumerate(gains)
    ]
    return {"row": row, "seed": seed, "items": items}


def cell(rows: list[dict[str, Any]], row: str, metric: str = GAIN, condition: str = "unseen") -> dict[str, Any]:
    (found,) = [r for r in rows if (r["row"], r["metric"], r["condition"]) == (row, metric, condition)]
    return found


def test_mean_spread_difference_and_share() -> None:
    base = [
        result("base", seed, [level, level + 1, level + 2, level + 3, level + 4]) for seed, level in ((1, 1), (2, 3))
    ]
    more = [result("more", one["seed"], [item[GAIN] + 1 for item in one["items"]]) for one in base]
    rows = table([*base, *more, result("fixed", None, [0.0] * 5)], "base")
    own = cell(rows, "base")
    assert (own["mean"], own["seeds"], own["items"], own["seed_means"]) == (4.0, 2, 5, [3.0, 5.0])
    assert own["sd"] == pytest.approx(np.sqrt(2), abs=1e-4)
    assert own["difference"] is None and own["relative_percent"] is None
    found = cell(rows, "more")
    assert (found["mean"], found["difference"], found["low"], found["high"]) == (5.0, 1.0, 1.0, 1.0)  # 1 everywhere
    assert found["relative_percent"] == 25.0 and found["relative_low"] < 25 < found["relative_high"]
    fixed = cell(rows, "fixed")
    assert (fixed["mean"], fixed["sd"], fixed["seeds"], fixed["difference"]) == (0.0, None, 1, -4.0)
    assert fixed["relative_percent"] == -100.0 and fixed["low"] < -4 < fixed["high"]
    assert [row["row"] for row in rows] == ["base", "more", "fixed"]


def test_the_same_seed_is_compared_with_itself() -> None:
    """Seeds differ by 10, rows by 0.5 in each seed: pairs show it, and a seed that one side lacks is left out."""
    levels = {1: 0.0, 2: 10.0, 3: 20.0}
    base = [result("base", seed, [level] * 6) for seed, level in levels.items()]
    row = [result("row", seed, [levels[seed] + 0.5] * 6) for seed in (3, 1)]
    found = cell(table([*base, *row], "base"), "row")
    assert (found["difference"], found["low"], found["high"]) == (0.5, 0.5, 0.5)
    assert cell(table([*base, result("row", 9, [1.0] * 6)], "base"), "row")["difference"] is None


def test_the_interval_knows_items_and_seeds() -> None:
    """Its width is about that of a normal interval of the items, wider where seeds differ too."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(400)
    base = [result("base", seed, [5.0] * 400) for seed in (1, 2, 3)]
    calm = [result("row", seed, list(6 + noise)) for seed in (1, 2, 3)]
    found = cell(table([*base, *calm], "base"), "row")
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * noise.std() / 20, rel=0.1)
    wild = [result("row", seed, list(6 + shift + noise)) for seed, shift in ((1, -1), (2, 0), (3, 1))]
    wide = cell(table([*base, *wild], "base"), "row")
    assert wide["high"] - wide["low"] > 4 * (found["high"] - found["low"]) and wide["low"] < 1 < wide["high"]
    assert table([*base, *wild], "base") == table([*base, *wild], "base")  # the resamples are always the same


def test_what_cannot_be_had_is_none() -> None:
    few = [result("base", 1, [1.0, 2.0]), result("row", 1, [2.0, 3.0])]
    found = cell(table(few, "base"), "row")
    assert (found["difference"], found["low"], found["relative_percent"], found["relative_low"]) == (
        1.0,
        None,
        66.6667,
        None,
    )
    lost = [result("base", 1, [-1.0] * 6), result("row", 1, [2.0] * 6)]
    assert cell(table(lost, "base"), "row")["relative_percent"] is None  # no share of a loss
    unsure = [result("base", 1, [-9.0, 10.0, -9.0, 10.0, 5.0, -6.0]), result("row", 1, [2.0] * 6)]
    assert cell(table(unsure, "base"), "row")["relative_percent"] is None
    with pytest.raises(ValueError, match="nobody"):
        table(few, "nobody")


def test_only_items_that_all_have_count_and_conditions_stay_apart() -> None:
    first = result("base", 1, [1.0, 2.0, 9.0], **{LSD: [4.0, 5.0, 6.0]})
    second = result("row", 1, [3.0, 4.0, 0.0], **{LSD: [1.0, 1.0, 1.0]})
    del second["items"][2][GAIN]
    for one, level in ((first, 7.0), (second, 8.0)):
        one["items"].append({"id": "i0", "condition": "like_real", GAIN: level})
    rows = table([first, second], "base")
    assert cell(rows, "base")["mean"] == 1.5 and cell(rows, "row")["items"] == 2
    assert (
        cell(rows, "row", LSD)["difference"] == -4.0 and cell(rows, "row", LSD)["relative_percent"] is None
    )  # no gain
    assert cell(rows, "row", condition="like_real")["difference"] == 1.0
    assert not [row for row in rows if row["condition"] == "like_real" and row["metric"] == LSD]
    names = [metric.name for metric in METRICS]
    assert [names.index(row["metric"]) for row in rows if row["condition"] == "unseen" and row["row"] == "row"] == [
        1,
        2,
    ]


@pytest.mark.parametrize(
    ("percent", "low", "high", "said"),
    [
        (14.0, 11.0, 18.0, "kept"), (5.0, -2.0, 9.0, "not kept"), (12.0, 2.0, 20.0, "undecided"), (-9.0, -12.0, -3.0, "worse"),
        (None, None, None, "cannot be stated"), (12.0, None, None, "too few"),
    ],
)  # fmt: skip
def test_verdicts(percent: float | None, low: float | None, high: float | None, said: str) -> None:
    row = {"relative_percent": percent, "relative_low": low, "relative_high": high}
    assert said in verdict(row, (10.0, 15.0))
