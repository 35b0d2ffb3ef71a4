"""What a run shows while it works: one bar on a terminal, a plain line now and then where there is none."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from audiorestorer.progress import State, duration, every_sec


def screen() -> Screen:
    """The one that suits standard error."""
    return Bar() if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else Screen()


class Screen:
    """Plain lines: at the start, and every half minute (AUDIORESTORER_PROGRESS sets the seconds, 0 is silence)."""

    def __init__(self) -> None:
        self.every, self.last, self.began = every_sec(os.environ), 0.0, time.monotonic()
        self.said = False  # whether the first line of a running workflow is there

    def show(self, state: State) -> None:
        now = time.monotonic() - self.began
        first = not self.said and state.state == "running"
        if self.every and (first or now - self.last >= self.every):
            self.last, self.said = now, self.said or first
            print(f"audiorestorer: {text_of(state)}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Nothing is shown any more."""


class Bar(Screen):
    """One bar for the whole batch."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        self.bar: Any = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(), console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self.task = self.bar.add_task("starting", total=None, left="")
        self.bar.start()

    def show(self, state: State) -> None:
        if state.state != "running":
            return
        files = f"{state.done} of {state.total} files" if state.total else ""
        left = "" if state.seconds_left is None else f"about {duration(state.seconds_left)} left,"
        description = ", ".join(filter(None, (state.stage, files))).replace("[", "\\[")
        self.bar.update(self.task, description=description, total=1.0, completed=state.share, left=left)

    def end(self) -> None:
        self.bar.stop()


def text_of(state: State) -> str:
    """`fuse: 3 of 14 files, 37 %, about 40 s left`; before the first job `starting: the batch is planned`."""
    if state.state != "running":
        return f"{state.state}: {state.message}" if state.message else state.state
    text = f"{state.stage or 'planning'}: {state.done} of {state.total} files, {100 * state.share:.0f} %"
    return text if state.seconds_left is None else f"{text}, about {duration(state.seconds_left)} left"
