"""Summary statistics of a batch: medians with bootstrap confidence intervals, before/after in pairs, and by condition."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS = 4
RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0
LEAST_FOR_INTERVAL = 5  # fewer values: every resample is one of a handful, and the interval says nothing
BATCH_VALUES = 2_000_000  # numbers drawn at once: bounds memory for large batches
GROUPS = (2, 40)  # a condition with fewer or more different values is no table
INFORMATIVE_WER = 0.5  # above it on clean speech, errors are the recogniser's own


def interval(values: NDArray[np.float64]) -> list[float] | None:
    """95 % bootstrap interval of the median (percentile method, Efron 1979); None for fewer than five values."""
    if len(values) < LEAST_FOR_INTERVAL:
        return None
    rng, count = np.random.default_rng(SEED), max(1, BATCH_VALUES // len(values))
    medians = [
        np.median(values[rng.integers(0, len(values), (min(count, RESAMPLES - done), len(values)))], axis=1)
        for done in range(0, RESAMPLES, count)
    ]
    tail = 50 * (1 - CONFIDENCE)
    return [round(float(end), DIGITS) for end in np.percentile(np.concatenate(medians), [tail, 100 - tail])]


def describe(values: Sequence[float], reasons: Sequence[str] = ()) -> dict[str, Any]:
    """Median with its interval, quartiles, mean, range and counts; the most frequent reason where values are missing.

    No value: no figure, never a zero.
    """
    out: dict[str, Any] = {"n": len(values), "n_missing": len(reasons)}
    if len(values):
        array = np.asarray(values, dtype=np.float64)
        q25, median, q75 = np.percentile(array, [25, 50, 75])
        figures = {
            "median": median,
            "q25": q25,
            "q75": q75,
            "mean": array.mean(),
            "min": array.min(),
            "max": array.max(),
        }
        out |= {name: round(float(value), DIGITS) for name, value in figures.items()}
        ci95 = interval(array)
        if ci95:
            out["ci95"] = ci95
    if reasons:
        out["missing_reason"] = Counter(reasons).most_common(1)[0][0]
    return out


def paired(before: Sequence[float], after: Sequence[float]) -> dict[str, Any]:
    """The differences after - before of the same files: median with its interval, share that rose, fell and stayed, and the
    two-sided Wilcoxon signed-rank p-value (absent for fewer than five files or no difference at all)."""
    difference = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    out: dict[str, Any] = {"n": len(difference)}
    if not len(difference):
        return out
    out["median"] = round(float(np.median(difference)), DIGITS)
    ci95 = interval(difference)
    if ci95:
        out["ci95"] = ci95
    for name, share in (("rose", difference > 0), ("fell", difference < 0), ("same", difference == 0)):
        out[name] = int(share.sum())
    if len(difference) >= LEAST_FOR_INTERVAL and np.any(difference):
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # small samples with ties: scipy says that it takes the normal approximation
            from scipy import stats  # takes two seconds to load

            out["wilcoxon_p"] = float(f"{stats.wilcoxon(difference).pvalue:.3g}")
    return out


def conditions_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The conditions by which a batch can be split: those with 2 to 40 different values, numbers in rising order."""
    found: dict[str, set[Any]] = {}
    for row in rows:
        for name, value in (row.get("conditions") or {}).items():
            found.setdefault(name, set()).add(value)
    out = {}
    for name, values in sorted(found.items()):
        if GROUPS[0] <= len(values) <= GROUPS[1]:
            out[name] = sorted(values, key=lambda value: (isinstance(value, str), value))
    return out


def uninformative(summary: Mapping[str, Any], by_condition: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where WER says nothing: the whole batch, or groups of it, whose clean speech the recogniser gets wrong by more than half."""
    out = []
    for name in ("wer", "wer_open"):
        clean = (summary.get(f"{name}_clean") or {}).get("median")
        if clean is not None and clean > INFORMATIVE_WER:
            out.append({"metric": name, "wer_clean": clean})
            continue
        for condition, groups in by_condition.items():
            for group in groups:
                clean = (group["metrics"].get(f"{name}_clean") or {}).get("median")
                if clean is not None and clean > INFORMATIVE_WER:
                    out.append({"metric": name, "condition": condition, "value": group["value"], "wer_clean": clean})
    return out
