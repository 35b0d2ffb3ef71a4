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
from audiorestorer.files import replacing, write_text_atomic

VARIABLE, EVERY_SEC = "AUDIORESTORER_PROGRESS", 30.0
STATE_VARIABLE = "AUDIORESTORER_PROGRESS_FILE"
STATE_SEC, STATE_SHARE = 0.5, 20  # between two states at least, and as a multiple of what finding one takes
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


@dataclass(frozen=True)
class State:
    """How far a run is, for a program that shows it: what `progress.json` holds.

    Attributes:
        state: starting, running, done, nothing_to_do or failed.
        stage: what is worked on; empty where that is not known.
        done, total: recordings; a recording counts in parts, by the stages that are done.
        share: of the whole work that is done, 0 to 1.
        seconds_left: None where nothing can be said yet.
        message: one sentence for people.
    """

    state: str
    stage: str = ""
    done: int = 0
    total: int = 0
    share: float = 0.0
    seconds_left: float | None = None
    message: str = ""

    def write(self, path: Path) -> None:
        """Replace the file; where that is not possible (no space, say) it stays as it was: the run is worth more than its display."""
        with suppress(OSError), replacing(path) as temporary:
            temporary.write_text(json.dumps({key: _short(value) for key, value in asdict(self).items()}) + "\n")

    @classmethod
    def read(cls, path: Path) -> State | None:
        """What is there; None where nothing can be read."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})
        except (OSError, ValueError, TypeError):
            return None


def tell(environment: Mapping[str, str], state: State) -> None:
    """Write a state where the program that started this run looks for it; nothing where none did."""
    if name := environment.get(STATE_VARIABLE):
        state.write(Path(name))


@dataclass
class Tally:
    """Items by stage: those that are done, those that are left, and the seconds of work that the former took."""

    done: dict[str, float]
    left: dict[str, float]
    cost: dict[str, float]

    @property
    def items(self) -> float:
        """Recordings that are done, in parts."""
        return sum(self.done.values()) / max(len(self.done), 1)

    @property
    def of(self) -> float:
        return self.items + sum(self.left.values()) / max(len(self.left), 1)

    def seconds_left(self, elapsed: float) -> tuple[float, bool]:
        """The seconds that the stages of known speed still need (0: none is known), and whether others come on top."""
        known = [stage for stage in self.done if self.done[stage] >= 1]
        beside = max(sum(self.cost.values()) / elapsed, 1e-3)  # how many jobs work at a time
        rest = sum(self.left[stage] * self.cost[stage] / self.done[stage] for stage in known) / beside
        return rest, any(self.left[stage] for stage in self.done if stage not in known)


class Run:
    """The jobs of a run, looked at from outside while they work."""

    def __init__(self, jobs: Sequence[Job], start: float) -> None:
        self.jobs, self.start = jobs, start
        self.finished: dict[Path, float] = {}  # manifests that were written, with their jobs' seconds
        self._stage, self._spent = "", dict[str, float]()

    def line(self, now: float) -> str:
        """Items finished and a second, the time left, and each stage's share of the work so far."""
        tally, elapsed = self._tally(), max(now - self.start, 1e-3)
        rate = tally.items / elapsed
        text = f"progress: {tally.items:.0f} of {tally.of:.0f} items, {rate:.{1 if rate >= 1 else 2}f} a second"
        rest, is_more = tally.seconds_left(elapsed)
        if rest:
            text += f", {'more than' if is_more else 'about'} {duration(rest)} left"
        return text + _shares(tally.cost)

    def state(self, now: float) -> State:
        """The same for a program. The stage is the one that worked most since the last call."""
        tally = self._tally()
        worked = {stage: spent - self._spent.get(stage, 0.0) for stage, spent in tally.cost.items()}
        busiest = max(worked, key=lambda stage: worked[stage], default="")
        if busiest and worked[busiest] > 0:
            self._stage = busiest
        self._spent = tally.cost
        stage = self._stage if len(self.finished) < len(self.jobs) else "report"
        rest, _ = tally.seconds_left(max(now - self.start, 1e-3))
        share = tally.items / tally.of if tally.of else 0.0
        return State("running", stage, int(tally.items + 1e-6), round(tally.of), share, rest or None)

    def _tally(self) -> Tally:
        tally = Tally({}, {}, {})
        lying = {folder: self._new(folder) for folder in {job.manifest.parent for job in self.jobs}}
        for job in self.jobs:
            share, work_sec = self._look(job, lying[job.manifest.parent])
            tally.done[job.stage] = tally.done.get(job.stage, 0.0) + share * job.items
            tally.left[job.stage] = tally.left.get(job.stage, 0.0) + (1 - share) * job.items
            tally.cost[job.stage] = tally.cost.get(job.stage, 0.0) + work_sec
        return tally

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


def duration(seconds: float) -> str:
    """Seconds for people."""
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


def watch(
    jobs: Iterable[Job], every_sec: float, say: Callable[[str], None] | None = None, state_file: Path | None = None
) -> Callable[[], None]:
    """Say every few seconds how far a run is, from a thread that ends with the process.

    Args:
        state_file: where to keep the run's `State` for another program.

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
            tell(run.line(time.time()))
        stopped.set()

    if run.jobs and every_sec > 0:
        threading.Thread(target=loop, name="progress", daemon=True).start()
    if state_file is not None:
        _keep_state(Run(run.jobs, run.start), state_file, stopped)
    return stop


def _keep_state(run: Run, path: Path, stopped: threading.Event) -> None:
    """Write a run's state at once, and whenever it changes, until it is stopped."""
    last = run.state(time.time())
    last.write(path)

    def loop(last: State = last) -> None:
        pause = STATE_SEC
        while not stopped.wait(pause):
            began = time.monotonic()
            now = run.state(time.time())
            if now != last:
                now.write(path)
                last = now
            pause = max(STATE_SEC, STATE_SHARE * (time.monotonic() - began))
        run.state(time.time()).write(path)

    threading.Thread(target=loop, name="state", daemon=True).start()
