"""One run of the workflow: its lock, how far it is, and what earlier runs left on the disk. No torch import."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from audiorestorer import locks, progress
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import read_manifest
from audiorestorer.store import join
from audiorestorer.workflow import Workflow

KEPT_TOLD = 5  # files that stayed in the output folder and are named at the end of a run
REPLACE = "to have ours, move or delete them and run the same command again, or add --config replace_edited=true"
GONE = "they are no longer of the input"


def kept_lines(output_state: str) -> list[str]:
    """What is said at the end of a run: the files in the output folder that are not what this run made, and why."""
    try:
        with open(output_state, encoding="utf-8") as file:
            state = json.load(file)
        groups = ((state["kept"], REPLACE), (state["stale"], GONE))
    except (OSError, ValueError, KeyError):
        return []
    lines = []
    for entries, remedy in groups:
        lines += [f"{entry['file']}: kept: {entry['reason']}" for entry in entries[:KEPT_TOLD]]
        if entries:
            lines.append(f"{len(entries)} files were kept (all in {output_state}): {remedy}")
    return lines


class Run:
    """What the rules ask of the disk, and what goes on beside the jobs for as long as they run.

    Attributes:
        stop_watching, stop_job_server: end what was started beside the jobs.
    """

    def __init__(self, flow: Workflow) -> None:
        self.flow = flow
        self._lock: IO[str] | None = None
        self.stop_watching: Callable[[], None] = lambda: None
        self.stop_job_server: Callable[[], None] = lambda: None

    def lock(self) -> None:
        """Refuse a second run on the same folder. The kernel drops this lock when the process dies, kill -9 included: no `--unlock`.

        Raises:
            AudioRestorerError: another run has it.
        """
        os.makedirs(self.flow.artifacts, exist_ok=True)
        # Nothing is written to it; it stays open as long as the run.
        self._lock = open(f"{self.flow.artifacts}/.lock", "a")  # noqa: SIM115
        message = (
            f"another run is working in {self.flow.artifacts}: wait for it, or give this one --config artifacts=DIR"
        )
        locks.take(self._lock, message)
        if self.flow.cfg.store:
            join(self.flow.store, self.flow.artifacts)

    def publishing_round(self, shard: str) -> int:
        """A number that grows where a published file is gone, and only then: a deleted output folder must not stay "nothing to be
        done". The job notes it, so that the next run gives the same."""
        path = self.flow.manifest("publish").format(shard=shard)
        if not os.path.exists(path):  # in a bucket
            path = f"{self.flow.ledger}/rounds/{shard}.jsonl"
        try:
            last = int(Path(f"{self.flow.ledger}/rounds/{shard}").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            last = 0
        if not os.path.exists(path):
            return last
        try:
            is_absent = any(row.ok and not os.path.lexists(row.published or "") for row in read_manifest(path))
        except AudioRestorerError:
            is_absent = True  # damaged: published again
        return last + is_absent

    def absent_archives(self) -> int:
        """How many archives of the last delivery are gone; -1: its list is damaged, so that it is packed again."""
        if not os.path.exists(self.flow.delivery):
            return 0
        try:
            with open(self.flow.delivery, encoding="utf-8") as file:
                names = [line.split(maxsplit=1)[1].rstrip("\n") for line in file]
        except (ValueError, IndexError):
            return -1
        return sum(not os.path.exists(os.path.join(os.path.dirname(self.flow.delivery), name)) for name in names)

    def stage_jobs(self, written: Iterable[tuple[str, str]], items: Mapping[str, int]) -> Iterator[progress.Job]:
        """The jobs that write a stage's manifest.

        Args:
            written: (first output, shard) of the run's jobs; of no shard: empty.
            items: recordings in each shard.
        """
        root = f"{self.flow.artifacts}/manifests/"
        for path, shard in written:
            before, found, inner = path.partition(root)  # with a bucket it is a copy in a folder of Snakemake's
            if found and (not before or before.endswith("/")):
                stage = os.path.dirname(inner)
                parts = 1 + len(self.flow.cfg.evaluate.metrics) if stage == "evaluate" else 1
                yield progress.Job(Path(path), stage, items[shard], parts)

    def watch(self, written: Iterable[tuple[str, str]], items: Mapping[str, int], every_sec: float) -> None:
        """Say on the terminal how far the run is, until `stop_watching`. `every_sec` 0 is silence."""
        state_file = os.environ.get(progress.STATE_VARIABLE)
        self.stop_watching = progress.watch(
            self.stage_jobs(written, items), every_sec, state_file=Path(state_file) if state_file else None
        )
