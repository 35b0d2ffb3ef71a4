"""The progress of a run and its cost: jobs leave records beside their manifests, and readers add them up. No torch import.

A record is `<shard>[.<part>].work.json`, rewritten while the job works. Those of a finished run stay: they are the report's run times.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_text_atomic

VARIABLE, EVERY_SEC = "AUDIORESTORER_PROGRESS", 30.0
SUFFIX = ".work.json"
CLOCK_SLACK_SEC = 2.0  # between this machine's clock and a file server's


@dataclass
class Work:
    """The work of one job so far, or when it last computed something.

    `done` of `items` are finished, `computed` of them by this job; `audio_sec` is what it computed in `work_sec` of wall time and
    `cpu_sec` of all its threads, after `load_sec` of start-up.
    """

    stage: str
    model: str = ""
    items: int = 0
    done: int = 0
    computed: int = 0
    audio_sec: float = 0.0
    load_sec: float = 0.0
    work_sec: float = 0.0
    cpu_sec: float = 0.0

    def write(self, path: Path) -> None:
        write_text_atomic(path, json.dumps({key: _short(value) for key, value in asdict(self).items()}) + "\n")


def _short(value: str | int | float) -> str | int | float:
    return round(value, 3) if isinstance(value, float) else value


def work_file(manifest: Path, part: str = "") -> Path:
    """The record of the job that writes a manifest; `part` where it has several."""
    return manifest.with_suffix(f".{part}{SUFFIX}" if part else SUFFIX)


def read(path: Path) -> Work | None:
    """A record; None where there is none that can be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(Work)}
        return Work(**{key: value for key, value in values.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def records(manifests: Path) -> list[Work]:
    """All records below a folder of manifests."""
    return [work for path in sorted(manifests.rglob(f"*{SUFFIX}")) if (work := read(path))]


@dataclass(frozen=True)
class Job:
    """A job that a run will do: the manifest that it writes, how many items are in it and how many records it leaves."""

    manifest: Path
    stage: str
    items: int
    parts: int = 1


class Run:
    """The jobs of a run, looked at from outside while they work."""

    def __init__(self, jobs: Sequence[Job], start: float) -> None:
        self.jobs, self.start = jobs, start
        self.finished: dict[Path, float] = {}  # manifests that were written, with their jobs' seconds

    def line(self, now: float) -> str:
        """Items finished and a second, the time left, and each stage's share of the work so far."""
        stages = len({job.stage for job in self.jobs})
        steps = sum(job.items for job in self.jobs)
        done: dict[str, float] = {}
        left: dict[str, float] = {}
        cost: dict[str, float] = {}
        lying = {folder: self._new(folder) for folder in {job.manifest.parent for job in self.jobs}}
        for job in self.jobs:
            share, work_sec = self._look(job, lying[job.manifest.parent])
            done[job.stage] = done.get(job.stage, 0.0) + share * job.items
            left[job.stage] = left.get(job.stage, 0.0) + (1 - share) * job.items
            cost[job.stage] = cost.get(job.stage, 0.0) + work_sec
        elapsed = max(now - self.start, 1e-3)
        items, of = sum(done.values()) / max(stages, 1), steps / max(stages, 1)
        rate = items / elapsed
        text = f"progress: {items:.0f} of {of:.0f} items, {rate:.{1 if rate >= 1 else 2}f} a second"
        known = [stage for stage in done if done[stage] >= 1]
        beside = max(sum(cost.values()) / elapsed, 1e-3)  # how many jobs work at a time
        rest = sum(left[stage] * cost[stage] / done[stage] for stage in known) / beside
        if rest:
            unknown = any(left[stage] for stage in done if stage not in known)
            text += f", {'more than' if unknown else 'about'} {_duration(rest)} left"
        return text + _shares(cost)

    def _look(self, job: Job, lying: dict[str, list[Path]]) -> tuple[float, float]:
        """The share of a job that is done, and its seconds of work."""
        if job.manifest in self.finished:
            return 1.0, self.finished[job.manifest]
        paths = lying.get(job.manifest.stem, [])
        works = [work for path in paths if path != job.manifest and (work := read(path))]
        seconds = sum(work.work_sec for work in works)
        if job.manifest in paths:
            self.finished[job.manifest] = seconds
            return 1.0, seconds
        shares = sum(work.done / max(work.items, 1) for work in works)
        return min(shares / max(job.parts, len(works)), 1.0), seconds

    def _new(self, folder: Path) -> dict[str, list[Path]]:
        """A folder's files since the run began, by shard."""
        by_shard: dict[str, list[Path]] = {}
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                with suppress(OSError):  # it may be replaced just now
                    if entry.stat().st_mtime >= self.start - CLOCK_SLACK_SEC:
                        by_shard.setdefault(entry.name.split(".")[0], []).append(Path(entry.path))
        return by_shard


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _shares(cost: dict[str, float]) -> str:
    total = sum(cost.values())
    if not total:
        return ""
    ranked = sorted(cost.items(), key=lambda pair: -pair[1])
    return "; time: " + ", ".join(
        f"{stage} {100 * spent / total:.0f} %" for stage, spent in ranked if spent > 0.005 * total
    )


def every_sec(environment: Mapping[str, str]) -> float:
    """Seconds between a run's lines of progress, by AUDIORESTORER_PROGRESS; 0: none.

    Raises:
        AudioRestorerError: no number of seconds.
    """
    text = environment.get(VARIABLE, "") or str(EVERY_SEC)
    with suppress(ValueError):
        if 0 <= float(text) <= threading.TIMEOUT_MAX:
            return float(text)
    raise AudioRestorerError(f"{VARIABLE}: {text!r} is no number of seconds; 0 is silence")


def watch(jobs: Iterable[Job], every_sec: float, say: Callable[[str], None] | None = None) -> Callable[[], None]:
    """Say every few seconds how far a run is, from a thread that ends with the process.

    Returns:
        What stops it, after a last line.
    """
    run = Run(list(jobs), time.time())
    tell = say or (lambda text: print(text, file=sys.stderr, flush=True))
    stopped = threading.Event()

    def loop() -> None:
        while not stopped.wait(every_sec) and len(run.finished) < len(run.jobs):
            tell(run.line(time.time()))

    def stop() -> None:
        if not stopped.is_set() and run.jobs:
            stopped.set()
            tell(run.line(time.time()))

    if run.jobs and every_sec > 0:
        threading.Thread(target=loop, name="progress", daemon=True).start()
    return stop
