"""What a run of `audiorestorer run` ends with: the report in its place, `result.json`, and five lines."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from audiorestorer.errors import AudioRestorerError, of_the_machine
from audiorestorer.files import read_json, replacing, write_json
from audiorestorer.folders import make
from audiorestorer.launch.plan import ARTIFACTS, Plan
from audiorestorer.names import as_text, in_line
from audiorestorer.report.metricinfo import BY_NAME, number, shown
from audiorestorer.report.outcome import key_names
from audiorestorer.report.tables import both_title, sides_of
from audiorestorer.store import sha256_file

RESULT = "result.json"
REJECTED_TOLD = 3


@dataclass(frozen=True)
class Figure:
    """The medians of one metric over all files, before and after."""

    name: str
    unit: str
    before: float | None
    after: float | None


@dataclass
class Result:
    """The end of a run, for a program: what `result.json` holds.

    Attributes:
        files: recordings that are restored. rejected: those that could not be used.
        report_sha256: of the report that was written, so that the next run knows whether the file there is still ours.
    """

    exit_code: int
    files: int = 0
    rejected: int = 0
    figures: list[Figure] = field(default_factory=list)
    report: str | None = None
    output: str = ""
    seconds: float = 0.0
    reasons: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    report_sha256: str | None = None

    def write(self, work: Path) -> None:
        values = asdict(self)
        values["reasons"] = values["reasons"][:REJECTED_TOLD]
        with suppress(OSError):  # no space: the exit code and the lines say the same
            write_json(work / RESULT, values)


def last_result(work: Path) -> dict[str, Any]:
    """The record of the last run in this folder; empty where there is none."""
    try:
        return read_json(work / RESULT)
    except AudioRestorerError:
        return {}


def of_metrics(plan: Plan) -> Result:
    """The counts and figures of the workflow's metrics.json; without one, empty."""
    try:
        metrics = read_json(plan.work / ARTIFACTS / "eval/metrics.json")
    except AudioRestorerError:
        return Result(0, output=str(plan.output))
    counts = metrics.get("counts") or {}
    reasons = [
        (str(row.get("input") or row.get("id")), str(row.get("reason"))) for row in metrics.get("rejected") or ()
    ]
    return Result(
        0, counts.get("ok", 0), counts.get("rejected", 0), figures_of(metrics), output=str(plan.output), reasons=reasons
    )


def figures_of(metrics: Mapping[str, Any]) -> list[Figure]:
    """The report's key figures that have a median after the run."""
    summary, sides = metrics.get("summary") or {}, sides_of()
    figures = []
    for name in key_names(metrics):
        medians = {side: number((summary.get(each) or {}).get("median")) for side, each in sides[name].items()}
        if medians.get("after") is not None:
            figures.append(Figure(name, BY_NAME[name].unit, medians.get("before"), medians["after"]))
    return figures


def check_report_place(plan: Plan) -> None:
    """Refuse to write the report over a file that is no report of the last run, or where no file can be made.

    Raises:
        AudioRestorerError: somebody else's file has its name, somebody changed it, or its folder takes no file.
        OSError: the machine refused (no right, no space).
    """
    if plan.report.exists() and sha256_file(plan.report) != last_result(plan.work).get("report_sha256"):
        raise AudioRestorerError(
            f"{plan.report}: this file is not the report of an earlier run here, and is kept: move it, or give --report FILE"
        )
    make("--report", plan.report.parent)
    try:
        with tempfile.TemporaryFile(dir=plan.report.parent):
            pass
    except OSError as error:
        if of_the_machine(error):
            raise
        raise AudioRestorerError(
            f"--report: {as_text(str(plan.report))}: cannot be written: {error.strerror}"
        ) from error


def place_report(plan: Plan, made: Path) -> str | None:
    """Copy the workflow's report to where it belongs; its SHA-256, or None where the workflow made none."""
    if not made.is_file():
        return None
    with replacing(plan.report) as temporary:
        shutil.copyfile(made, temporary)
    return sha256_file(plan.report)


def lines_of(result: Result, plan: Plan, log: Path) -> list[str]:
    """Five lines: files, rejected, before -> after, the report, the log."""
    rejected = "none"
    if result.rejected:
        told = [f"{in_line(name)} ({in_line(_short(reason))})" for name, reason in result.reasons[:REJECTED_TOLD]]
        more = f" and {result.rejected - len(told)} more" if result.rejected > len(told) else ""
        rejected = f"{result.rejected}: {', '.join(told)}{more}"
    figures = "; ".join(_figure(figure) for figure in result.figures)
    return [
        f"files     {result.files} restored in {as_text(os.fspath(plan.output))}",
        f"rejected  {rejected}",
        f"figures   {figures or 'none could be measured: the report says why'}",
        f"report    {as_text(result.report or 'none was made')}",
        f"log       {as_text(os.fspath(log))}",
    ]


def _short(reason: str) -> str:
    return reason if len(reason) <= 80 else reason[:77] + "..."


def _figure(figure: Figure) -> str:
    metric = BY_NAME[figure.name]
    unit = f" {figure.unit}" if figure.unit else ""
    before = f"{shown(figure.before, metric)} -> " if figure.before is not None else ""
    return f"{both_title(metric)} {before}{shown(figure.after, metric)}{unit}"
