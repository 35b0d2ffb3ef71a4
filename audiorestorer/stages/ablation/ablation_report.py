"""The ablation's table, figures and page, from what `evaluate-restorer` measured and what the trainings wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_csv, read_json, write_bytes_atomic, write_csv, write_json, write_text_atomic
from audiorestorer.metrics.ablation import METRICS, table, verdict
from audiorestorer.report import ablation_figures as figures
from audiorestorer.report.sections import Section, page, section

PROMISED = {"adaptive": (10.0, 15.0), "mixed": (20.0, 30.0)}  # percent over the baseline, as the project's seed says
FIELDS = (
    "condition", "row", "metric", "seeds", "items", "mean", "sd", "difference", "low", "high", "relative_percent",
    "relative_low", "relative_high",
)  # fmt: skip
PICTURES = ("metrics", "differences", "curves")
INTRO = (
    "Each strategy of docs/real_recordings.md switched on over one base experiment, trained once a seed, all with the same steps and"
    " data. `input` is the degraded recording itself, `click_repair` the classical AR repair without training. Condition"
    " `unseen`: degradations of a generator that no training draws from, on voices and tracks that none hears. `like_real`: those of"
    " the recordings that the strategies hear without their clean side, on other voices and tracks."
)
CONDITIONS_NAMED = {"unseen": "an unseen generator", "like_real": "degraded like the real recordings"}
TITLES = {metric.name: metric.title for metric in METRICS}


def run(
    results: Sequence[Path], out: Path, baseline: str, *, records: Sequence[Path] = (), settings: str | None = None
) -> list[dict[str, Any]]:
    """Write ablation.json, ablation.csv, ablation.html and the figures into a folder.

    Args:
        results: of `evaluate-restorer`, in the order of the rows.
        records: that `train` wrote, one a training, for the curves: each names a run, and the run's settings its row and seed.
        settings: of the ablation, as JSON, for the record.

    Returns:
        The table: see `metrics.ablation.table`.

    Raises:
        AudioRestorerError: a file that cannot be read or is none of these, or no result of the baseline.
    """
    evaluations = [_result(path) for path in results]
    try:
        rows = table(evaluations, baseline)
    except ValueError as error:
        raise AudioRestorerError(f"ablation-report: {error}") from error
    promises = _promises(rows)
    trained = {one["row"] for one in evaluations if one["seed"] is not None}
    own = [
        row for row in rows if row["row"] in trained
    ]  # doing nothing lies so far off that nothing else could be told apart
    drawn = (figures.by_row(rows), figures.differences(own), figures.curves(_curves(records)))
    pictures = dict(zip(PICTURES, drawn, strict=True))
    for name, png in pictures.items():
        write_bytes_atomic(out / f"{name}.png", png)
    result = {
        "baseline": baseline, "settings": json.loads(settings) if settings else None, "promises": promises, "table": rows,
        "checkpoints": [{name: one[name] for name in ("row", "seed", "sha256")} for one in evaluations],
        "missing": _missing(evaluations),
    }  # fmt: skip
    write_json(out / "ablation.json", result, indent=1, allow_nan=False)
    write_csv(out / "ablation.csv", FIELDS, [{name: row[name] for name in FIELDS} for row in rows])
    write_text_atomic(out / "ablation.html", page("Ablation", INTRO, _sections(rows, promises, pictures)))
    for line in promises:
        print(_said(line), flush=True)
    return rows


def _result(path: Path) -> dict[str, Any]:
    result = read_json(path)
    items = result.get("items")
    if not isinstance(items, list) or not all(isinstance(i, dict) and {"id", "condition"} <= i.keys() for i in items):
        raise AudioRestorerError(f"{path}: no result of evaluate-restorer (items)")
    if not isinstance(result.get("row"), str) or "seed" not in result:
        raise AudioRestorerError(f"{path}: no result of evaluate-restorer (row, seed)")
    return {"sha256": None, **result}


def _promises(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The promised and the measured difference of each row, for each gain and condition."""
    gains = {metric.name for metric in METRICS if metric.gain}
    return [
        {
            "row": row["row"], "condition": row["condition"], "metric": row["metric"], "promised_percent": list(PROMISED[row["row"]]),
            **{name: row[name] for name in ("relative_percent", "relative_low", "relative_high")},
            "verdict": verdict(row, PROMISED[row["row"]]),
        }
        for row in rows
        if row["row"] in PROMISED and row["metric"] in gains and row["difference"] is not None
    ]  # fmt: skip


def _missing(results: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many figures are missing, by row, metric and reason."""
    counts: dict[str, int] = {}
    for result in results:
        for item in result["items"]:
            for metric, reason in (item.get("missing") or {}).items():
                key = f"{result['row']}: {metric}: {reason}"
                counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items()))


def _curves(records: Sequence[Path]) -> dict[str, list[dict[str, list[tuple[float, float]]]]]:
    """Row -> its trainings' curves, from the run folders' monitoring."""
    curves: dict[str, list[dict[str, list[tuple[float, float]]]]] = {}
    for path in records:
        record = read_json(path)
        if not isinstance(record.get("run"), str):
            raise AudioRestorerError(f"{path}: no record of a training run (field run)")
        rows = read_csv(Path(record["run"]) / "logs" / "monitoring.csv")
        lines = {
            name: [(float(row["step"]), float(row[name])) for row in rows if row.get(name)] for name in figures.CURVES
        }
        curves.setdefault(path.stem.rpartition(".")[0] or path.stem, []).append(lines)
    return curves


def _sections(
    rows: Sequence[Mapping[str, Any]], promises: Sequence[Mapping[str, Any]], pictures: Mapping[str, bytes]
) -> list[Section]:
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    sections = []
    for condition in conditions:
        own_rows = [row for row in rows if row["condition"] == condition]
        items = max(row["items"] for row in own_rows)
        title = f"{condition}: {CONDITIONS_NAMED.get(condition, condition)}"
        sections.append(
            section(title, [f"{items} items. Mean ± standard deviation over seeds."], _wide(own_rows, _mean))
        )
        sections.append(
            section(
                f"{condition}: difference to the baseline",
                ["In brackets: 95 % interval over seeds and items together."],
                _wide([row for row in own_rows if row["difference"] is not None], _change),
            )  # fmt: skip
        )
    sections.append(section("By row", (), (), pictures["metrics"]))
    sections.append(section("Differences", (), (), pictures["differences"]))
    said = [_said(line) for line in promises] or ["None of the rows has a promise to be held against."]
    sections.append(section("What was promised", said))
    sections.append(section("Training curves", ["Thin: one training; thick: their mean."], (), pictures["curves"]))
    return sections


def _wide(rows: Sequence[Mapping[str, Any]], cell: Any) -> list[dict[str, str]]:
    """A line a row, a column a metric."""
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        line = lines.setdefault(row["row"], {"row": row["row"], "seeds": str(row["seeds"])})
        line[TITLES[row["metric"]]] = cell(row)
    return list(lines.values())


def _mean(row: Mapping[str, Any]) -> str:
    return _number(row["mean"]) + (f" ± {row['sd']:.2g}" if row["sd"] is not None else "")


def _change(row: Mapping[str, Any]) -> str:
    text = _number(row["difference"], sign="+")
    if row["low"] is not None:
        text += f" [{_number(row['low'], sign='+')}, {_number(row['high'], sign='+')}]"
    return text if row["relative_percent"] is None else f"{text}, {row['relative_percent']:+.0f} %"


def _number(value: float, sign: str = "") -> str:
    return (
        f"{value:{sign}.1f}" if abs(value) >= 10 else f"{value:{sign}.3f}" if abs(value) < 1 else f"{value:{sign}.2f}"
    )


def _said(line: Mapping[str, Any]) -> str:
    low, high = line["promised_percent"]
    head = f"{line['row']}, {line['condition']}, {TITLES[line['metric']]}: promised +{low:g} to +{high:g} %"
    if line["relative_percent"] is None:
        return f"{head}: {line['verdict']}"
    limits = "" if line["relative_low"] is None else f" [{line['relative_low']:+.0f}, {line['relative_high']:+.0f}]"
    return f"{head}, found {line['relative_percent']:+.1f} %{limits}: {line['verdict']}"
