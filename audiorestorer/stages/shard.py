"""The one loop that all stages share: a shard's items through one stage, each finished item kept, progress logged.

A stage gives its name, how an item's key is made and the function that makes an item's files. The loop looks in the store first,
calls `load` once if an item needs work, and writes the shard's manifest when all items are done. Where a stage says so, several
items are in work at a time, each in a thread.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from audiorestorer.errors import AGAIN, AudioRestorerError, MachineError, of_the_machine
from audiorestorer.forked import unordered
from audiorestorer.manifest import Item, write_manifest
from audiorestorer.progress import Work, work_file
from audiorestorer.stages.inputs import InputChanged, InputDamaged, checked
from audiorestorer.store import Entry, Source, Store, key_of

log = logging.getLogger("audiorestorer")
Worker = TypeVar("Worker")

PROGRESS_EVERY_SEC = 10.0
TOLD = 20  # items that a message names


class RejectItem(AudioRestorerError):
    """This item cannot be processed, for the reason given; it becomes a rejected row and the batch goes on."""


class StageFailed(AudioRestorerError):
    """An item failed in a way that was not foreseen; the finished items stay in the store."""


@dataclass
class ItemResult:
    """The output of a stage for an item: files in the scratch folder by name, and the fields of its row."""

    files: Mapping[str, Path]
    row: Mapping[str, Any]


@dataclass
class Stage(Generic[Worker]):
    """One stage bound to its settings.

    Attributes:
        name: folder in the store, e.g. `separate/pilot_a`.
        settings: all that the result depends on beside content and code, JSON-able.
        code: digest of the modules used (`digest.code_digest`).
        weights: digest of the model's weights, empty where there is none.
        model: the model's name, for the run times; no part of a key.
        load: makes the worker (a model); called once, at the first item that needs it.
        process: (worker, item, scratch folder) -> ItemResult. Pure but for the files in scratch.
        inputs: an item's input contents (SHA-256), the rest of the key. Default: its `sha256`.
        describe: (entry, item) -> the new row, from a finished entry's files.
        in_work: worker -> how many items are in work at a time, each in a thread; shortest first, so that neighbours are alike.
        joined: worker -> a context that each of these threads enters while it takes items.
        processes: how many items are in work at a time, each in a forked process, where `process` holds Python's lock.
        part: which of an item's files it works on, for the lines of its progress; empty: all.
    """

    name: str
    settings: Any
    code: str
    load: Callable[[], Worker]
    process: Callable[[Worker, Item, Path], ItemResult]
    describe: Callable[[Entry, Item], Item]
    weights: str = ""
    model: str = ""
    inputs: Callable[[Item], Any] = lambda item: item.sha256
    in_work: Callable[[Worker], int] = lambda worker: 1
    joined: Callable[[Worker], AbstractContextManager[Any]] = lambda worker: nullcontext()
    processes: int = 1
    part: str = ""

    def key(self, item: Item) -> str:
        return key_of(
            stage=self.name, input=self.inputs(item), settings=self.settings, code=self.code, weights=self.weights
        )


def run_shard(
    stage: Stage[Any],
    items: Iterable[Item],
    out_manifest: str | Path,
    store_root: str | Path,
    given: Sequence[Path] = (),
) -> list[Item]:
    """Run a shard through a stage (`run_items`) and write its manifest."""
    rows = run_items(stage, items, store_root, work_file(Path(out_manifest)), given)
    write_manifest(out_manifest, rows)
    return rows


def run_items(
    stage: Stage[Any],
    items: Iterable[Item],
    store_root: str | Path,
    record: Path | None = None,
    given: Sequence[Path] = (),
) -> list[Item]:
    """The rows of a shard after a stage; entries that the store lacks are computed.

    Args:
        record: the file for its progress and cost (`progress.Work`).
        given: the manifests that the items come from. They are deleted where a file that they name is damaged: the stage before then
            makes it again.

    Raises:
        StageFailed: an item failed in an unforeseen way. The others were finished first.
        MachineError: the machine refused (no space, no rights); at once.
    """
    rows = list(items)
    store = Store(store_root, stage.name)
    progress = Progress(Work(stage.name, stage.model, len(rows)), rows, record, stage.part)
    out: dict[str, Item] = {}
    todo: dict[str, list[Item]] = {}  # items of equal content are computed once
    for item in rows:
        if not item.ok:
            out[item.id] = item
            progress.count(item, "rejected")
            continue
        key = stage.key(item)
        entry = store.get(key)
        if entry is None:
            todo.setdefault(key, []).append(item)
        else:
            store.touch(key)
            out[item.id] = stage.describe(entry, item)
            progress.count(item, "in store")
    failures: list[str] = []
    damaged: list[str] = []
    if todo:
        worker = stage.load()
        progress.start_work()
        _work(stage, worker, todo, store, out, failures, damaged, progress)
    progress.finish()
    if damaged:
        for path in given:
            path.unlink(missing_ok=True)
        raise StageFailed(_message(stage.name, "cannot be read", damaged, rows, f"{AGAIN}: they are made again"))
    if failures:
        raise StageFailed(_message(stage.name, "failed", failures, rows, f"mend or remove them, and {AGAIN}"))
    return [out[item.id] for item in rows]


def _message(stage: str, fate: str, reasons: list[str], rows: list[Item], remedy: str) -> str:
    shown = sorted(reasons)[:TOLD]
    more = [f"and {len(reasons) - TOLD} more"] if len(reasons) > TOLD else []
    head = f"{stage}: {len(reasons)} of {len(rows)} items {fate}, the others are finished and kept; {remedy}:"
    return "\n  ".join([head, *shown, *more])


def _work(
    stage: Stage[Any], worker: Any, todo: Mapping[str, list[Item]], store: Store, out: dict[str, Item], failures: list[str],
    damaged: list[str], progress: Progress,
) -> None:  # fmt: skip
    """Compute the keys of `todo`; rows go to `out`, unforeseen errors to `failures`, files that an earlier stage must make again to
    `damaged`."""
    pairs = list(todo.items())
    if stage.processes > 1:
        _work_in_processes(stage, worker, pairs, store, out, failures, damaged, progress)
        return
    threads = min(max(1, stage.in_work(worker)), len(todo))
    if threads > 1:
        pairs.sort(key=lambda pair: (pair[1][0].duration or 0.0, pair[1][0].id))
    waiting: queue.SimpleQueue[tuple[str, list[Item]]] = queue.SimpleQueue()
    for pair in pairs:
        waiting.put(pair)
    stopped = threading.Event()

    def take() -> None:
        try:
            with stage.joined(worker):
                while not stopped.is_set():
                    try:
                        key, items = waiting.get_nowait()
                    except queue.Empty:
                        return
                    fate = _compute(stage, worker, key, items, store, out, failures, damaged)
                    for item in items:
                        progress.count(item, fate)
        except BaseException:
            stopped.set()
            raise

    if threads == 1:
        take()
        return
    with ThreadPoolExecutor(threads, thread_name_prefix=stage.name) as pool:
        try:
            for future in [pool.submit(take) for _ in range(threads)]:
                future.result()
        except SystemExit as error:  # of a thread: it must not end the job as if all were done
            raise StageFailed(f"{stage.name}: a thread was ended from outside: {AGAIN}") from error
        except BaseException:
            stopped.set()
            raise


def _work_in_processes(
    stage: Stage[Any], worker: Any, pairs: list[tuple[str, list[Item]]], store: Store, out: dict[str, Item], failures: list[str],
    damaged: list[str], progress: Progress,
) -> None:  # fmt: skip
    """As `_work`; the longest items first, so that none is left over at the end."""
    pairs.sort(key=lambda pair: (-(pair[1][0].duration or 0.0), pair[1][0].id))

    def compute(number: int) -> tuple[str, dict[str, Item], list[str], list[str]]:
        key, items = pairs[number]
        own: tuple[dict[str, Item], list[str], list[str]] = ({}, [], [])
        return _compute(stage, worker, key, items, store, *own), *own

    for number, (fate, rows, failed, lost) in unordered(compute, len(pairs), stage.processes):
        out.update(rows)
        failures += failed
        damaged += lost
        for item in pairs[number][1]:
            progress.count(item, fate)


def _compute(
    stage: Stage[Any], worker: Any, key: str, items: list[Item], store: Store, out: dict[str, Item], failures: list[str],
    damaged: list[str],
) -> str:  # fmt: skip
    """Compute one key for the items that have it; returns their fate: `computed`, `rejected` or `failed`."""
    first = items[0]
    try:
        with store.scratch() as scratch:
            with checked(first, store.root):
                result = stage.process(worker, first, scratch)
            entry = store.put(key, result.files, result.row, _source(items, result))
    except RejectItem as error:
        log.warning("%s: %s: rejected: %s", stage.name, first.id, error)
        out.update({item.id: item.rejected(f"{stage.name}: {error}") for item in items})
        return "rejected"
    except (InputChanged, InputDamaged) as error:
        log.error("%s: %s: %s", stage.name, first.id, error)
        (damaged if isinstance(error, InputDamaged) else failures).append(f"{first.id}: {error}")
        return "failed"
    except Exception as error:
        if isinstance(error, OSError) and (reason := of_the_machine(error)):
            raise MachineError(f"{stage.name}: {first.id}: {reason}") from error
        foreseen = isinstance(error, AudioRestorerError | MemoryError)
        log.error("%s: %s: %s: failed", stage.name, first.id, first.noisy, exc_info=None if foreseen else error)
        failures += [f"{item.id} ({item.noisy}): {type(error).__name__}: {error}" for item in items]
        return "failed"
    out.update({item.id: stage.describe(entry, item) for item in items})
    return "computed"


def _source(items: list[Item], result: ItemResult) -> Source:
    """The recording behind items of equal content. Ingest learns its hash by its work; commands over a folder start from it."""
    first = items[0]
    own = first.sha256 if first.path == first.noisy else None
    sha256 = result.row.get("noisy_sha256") or first.noisy_sha256 or own
    return Source(sha256, tuple({name for item in items for name in (item.relative, item.id) if name}))


def _cpu_sec() -> float:
    """Processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


class Progress:
    """Counts items on standard error: a line at most every few seconds, and one at the end. Safe in threads.

    The time that is left goes by the seconds of audio, not by the number of items: those in the store took none.
    """

    def __init__(self, work: Work, items: list[Item], record: Path | None = None, part: str = "") -> None:
        self.work, self.record = work, record
        self.title = f"{work.stage} ({part})" if part else work.stage
        self.left_sec = sum(item.duration or 0.0 for item in items)
        self.counts: dict[str, int] = {}
        self.start = self.last = self.work_start = time.monotonic()
        self.cpu_start = _cpu_sec()
        self._lock = threading.Lock()

    def start_work(self) -> None:
        self.work_start, self.cpu_start = time.monotonic(), _cpu_sec()
        self.work.load_sec = self.work_start - self.start

    def count(self, item: Item, fate: str) -> None:
        with self._lock:
            self.counts[fate] = self.counts.get(fate, 0) + 1
            self.work.done += 1
            self.left_sec -= item.duration or 0.0
            if fate == "computed":
                self.work.computed += 1
                self.work.audio_sec += item.duration or 0.0
            if time.monotonic() - self.last >= PROGRESS_EVERY_SEC:
                self._line(eta=True)

    def finish(self) -> None:
        self._line(eta=False)

    def _line(self, *, eta: bool) -> None:
        self.last = time.monotonic()
        work = self.work
        work.work_sec, work.cpu_sec = self.last - self.work_start, _cpu_sec() - self.cpu_start
        parts = ", ".join(f"{number} {fate}" for fate, number in self.counts.items()) or "nothing to do"
        text = f"{self.title}: {work.done}/{work.items} items ({parts}), {self.last - self.start:.1f} s"
        if work.audio_sec:
            text += f", {work.load_sec:.1f} s of it before the first"
            text += f", {work.audio_sec / max(work.work_sec, 1e-9):.1f} s of audio a second"
            if eta:
                text += f", about {work.work_sec / work.audio_sec * max(self.left_sec, 0.0):.0f} s left"
        print(text, file=sys.stderr, flush=True)
        # a job that found all in the store leaves the record of the one that computed it
        if self.record and work.computed:
            work.write(self.record)
