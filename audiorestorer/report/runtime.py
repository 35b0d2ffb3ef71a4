"""The run-time page: seconds of audio per second of work, by stage and model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from audiorestorer.progress import Work
from audiorestorer.report.sections import page, section

INTRO = (
    "The work of each stage's jobs when they last computed something; items that lay in the store cost nothing and are not"
    " counted. Wall time is that of the jobs, one after the other, without their start-up; CPU time is of all their threads."
)


def totals(records: Iterable[Work]) -> list[Work]:
    """The sums by stage and model, the most expensive first."""
    sums: dict[tuple[str, str], Work] = {}
    for work in records:
        key = (work.stage, work.model)
        total = sums.get(key, Work(*key))
        sums[key] = replace(
            total,
            items=total.items + work.items,
            done=total.done + work.done,
            computed=total.computed + work.computed,
            audio_sec=total.audio_sec + work.audio_sec,
            load_sec=total.load_sec + work.load_sec,
            work_sec=total.work_sec + work.work_sec,
            cpu_sec=total.cpu_sec + work.cpu_sec,
        )
    return sorted(sums.values(), key=lambda work: (-work.work_sec, work.stage, work.model))


def table(works: Sequence[Work]) -> list[dict[str, str]]:
    """One row per stage and model."""
    all_sec = sum(work.work_sec for work in works)
    rows = []
    for work in works:
        rows.append(
            {
                "stage": work.stage, "model": work.model or "–", "items": str(work.computed),
                "audio, s": f"{work.audio_sec:.1f}", "wall, s": f"{work.work_sec:.1f}", "CPU, s": f"{work.cpu_sec:.1f}",
                "start-up, s": f"{work.load_sec:.1f}", "audio per wall second": _rate(work.audio_sec, work.work_sec),
                "audio per CPU second": _rate(work.audio_sec, work.cpu_sec),
                "share of wall time": f"{100 * work.work_sec / all_sec:.1f} %" if all_sec else "–",
            }
        )  # fmt: skip
    return rows


def _rate(audio_sec: float, seconds: float) -> str:
    return f"{audio_sec / seconds:.1f}" if audio_sec and seconds else "–"


def runtime_page(records: Iterable[Work]) -> str:
    """The page as HTML text."""
    rows = table(totals(records))
    lines = [] if rows else ["No job left a record of its time."]
    return page("Run time", INTRO, [section("Seconds of audio by stage and model", lines, rows)])
