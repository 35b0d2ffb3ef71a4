"""The ablation's arithmetic: rows (what was switched on) by seeds (how often it was trained) by items (what it was tested on).

A row's figure is the mean over seeds and items; its spread the standard deviation of the seeds' means. The difference to the baseline
is taken item by item, and seed by seed where both have that seed: the same seed is the same initial weights and the same draws. Its
interval resamples seeds and items together (a bootstrap of two crossed factors, Owen 2007): few seeds make it wide, one seed leaves
the seeds' chance out of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiorestorer.metrics.statistics import CONFIDENCE, LEAST_FOR_INTERVAL

Floats = NDArray[np.float64]
RESAMPLES = 4000
SEED = 0
DIGITS = 4


@dataclass(frozen=True)
class Metric:
    """A column. `better` 1: higher is better. `gain`: of the input it is 0, so that a share of the baseline's says something."""

    name: str
    title: str
    better: int
    gain: bool


METRICS = (
    Metric("si_sdr_db", "SI-SDR (dB)", 1, False),
    Metric("si_sdr_improvement_db", "SI-SDR gain (dB)", 1, True),
    Metric("lsd_db", "LSD (dB)", -1, False),
    Metric("lsd_improvement_db", "LSD gain (dB)", 1, True),
    Metric("composite", "composite", 1, False),
    Metric("composite_gain", "composite over the input's", 1, True),
    Metric("impulse_removal", "impulse removal", 1, True),
    Metric("transient_preservation", "transient preservation", 1, False),
    Metric("transient_improvement", "transient gain", 1, True),
)
Results = Sequence[Mapping[str, Any]]  # of `evaluate-restorer`: row, seed, items


def table(results: Results, baseline: str) -> list[dict[str, Any]]:
    """One row a (condition, row, metric), in the order of the results.

    Each has `seeds, items, mean, sd, seed_means`; against the baseline `difference` with `low, high`, and of a gain
    `relative_percent` with `relative_low, relative_high`: the difference as a share of the baseline's gain, where that is surely
    above zero. What cannot be computed is None. Items that not every result has a figure of are left out of that metric.

    Raises:
        ValueError: no result of the baseline.
    """
    names = list(dict.fromkeys(str(result["row"]) for result in results))
    if baseline not in names:
        raise ValueError(f"no result of the baseline {baseline!r}")
    conditions = list(dict.fromkeys(item["condition"] for result in results for item in result["items"]))
    rows = []
    for condition in conditions:
        for metric in METRICS:
            found = _values(results, condition, metric.name)
            if found is None:
                continue
            for name in names:
                rows.append({"condition": condition, "row": name, "metric": metric.name}
                            | compared(found[name], found[baseline], metric.gain))  # fmt: skip
    order = {name: number for number, name in enumerate(names)}
    place = {metric.name: number for number, metric in enumerate(METRICS)}
    return sorted(rows, key=lambda row: (conditions.index(row["condition"]), order[row["row"]], place[row["metric"]]))


Seeds = dict[int | None, Floats]  # seed -> the items' figures; None: what has no seed


def compared(values: Seeds, base: Seeds, gain: bool) -> dict[str, Any]:
    """A row's figure, and what it is against the baseline; the baseline against itself has no difference."""
    own = np.stack(list(values.values()))
    means = own.mean(axis=1)
    out: dict[str, Any] = {
        "seeds": len(own), "items": own.shape[1], "mean": _rounded(means.mean()),
        "sd": _rounded(means.std(ddof=1)) if len(means) > 1 else None, "seed_means": [_rounded(mean) for mean in means],
        "difference": None, "low": None, "high": None, "relative_percent": None, "relative_low": None, "relative_high": None,
    }  # fmt: skip
    first, second = _paired(values, base)
    if values is base or not len(first):
        return out
    out["difference"] = _rounded(first.mean() - second.mean())
    drawn = _resampled(first, second)
    if drawn is not None:
        out["low"], out["high"] = _limits(drawn[0] - drawn[1])
    if gain and second.mean() > 0 and (drawn is None or drawn[1].min() > 0):
        out["relative_percent"] = _rounded(100 * (first.mean() - second.mean()) / second.mean())
        if drawn is not None:
            out["relative_low"], out["relative_high"] = _limits(100 * (drawn[0] - drawn[1]) / drawn[1])
    return out


def verdict(row: Mapping[str, Any], promised: tuple[float, float]) -> str:
    """The judgement in words: a relative gain with its interval against a promised one, in percent."""
    percent, low, high = (row.get(name) for name in ("relative_percent", "relative_low", "relative_high"))
    if percent is None:
        return "cannot be stated: the baseline has no sure gain"
    if low is None or high is None:
        return "no interval: too few items"
    if low >= promised[0]:
        return "kept"
    if high < 0:
        return "worse than the baseline"
    return "not kept" if high < promised[0] else "undecided: the interval holds values below and above it"


def _values(results: Results, condition: str, metric: str) -> dict[str, Seeds] | None:
    """Row -> seed -> figures of the items that all results have, in one order; None where there is no such item."""
    figures: dict[tuple[str, int | None], dict[str, float]] = {}
    for result in results:
        items = [item for item in result["items"] if item["condition"] == condition]
        found = {item["id"]: float(item[metric]) for item in items if item.get(metric) is not None}
        figures[str(result["row"]), result["seed"]] = found
    common = sorted(set.intersection(*(set(found) for found in figures.values())))
    if not common:
        return None
    out: dict[str, Seeds] = {}
    for (name, seed), found in figures.items():
        out.setdefault(name, {})[seed] = np.array([found[item] for item in common])
    return out


def _paired(values: Seeds, base: Seeds) -> tuple[Floats, Floats]:
    """Both as `[seeds, items]` of the same seeds; what has no seed goes with each of the other's."""
    if None in values:
        values = dict.fromkeys(base, values[None])
    if None in base:
        base = dict.fromkeys(values, base[None])
    both = [seed for seed in values if seed in base]
    if not both:
        return np.zeros((0, 0)), np.zeros((0, 0))
    return np.stack([values[seed] for seed in both]), np.stack([base[seed] for seed in both])


def _resampled(first: Floats, second: Floats) -> tuple[Floats, Floats] | None:
    """Means of both over the same resampled seeds and items, `[RESAMPLES]` each; None of too few items."""
    seeds, items = first.shape
    if items < LEAST_FOR_INTERVAL:
        return None
    rng = np.random.default_rng(SEED)
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    of_items = rng.multinomial(items, np.full(items, 1 / items), RESAMPLES) / items
    return tuple((of_seeds @ each * of_items).sum(axis=1) for each in (first, second))


def _limits(drawn: Floats) -> tuple[float, float]:
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return _rounded(low), _rounded(high)


def _rounded(value: Any) -> float:
    return round(float(value), DIGITS)
