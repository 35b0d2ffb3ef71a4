"""The one loop that all stages share: a shard's items through one stage, each finished item kept, progress logged.

A stage gives its name, how an item's key is made and the function that makes an item's files. The loop looks in the store first,
calls `load` at the first item that needs work and never again, and writes the shard's manifest when all items are done.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, write_manifest
from audiorestorer.store import Entry, Store, key_of

log = logging.getLogger("audiorestorer")
Worker = TypeVar("Worker")

PROGRESS_EVERY_SEC = 10.0


class RejectItem(AudioRestorerError):
    """This item cannot be processed, for the reason given; it becomes a rejected row and the batch goes on."""


class StageFailed(AudioRestorerError):
    """An item failed in a way that was not foreseen; the finished items stay in the store."""


@dataclass
class Made:
    """What a stage made of an item: files in the scratch folder by name, and the fields of its row."""

    files: Mapping[str, Path]
    row: Mapping[str, Any]


@dataclass
class Stage(Generic[Worker]):
    """One stage bound to its settings.

    Attributes:
        name: folder in the store, e.g. `separate/pilot_a`.
        settings: what the result depends on beside content and code, JSON-able.
        code: digest of the modules used (`digest.code_digest`).
        weights: digest of the model's weights, empty where there is none.
        load: makes the worker (a model); called once, at the first item that needs it.
        process: (worker, item, scratch folder) -> Made. Pure but for the files in scratch.
        inputs: an item's input contents (SHA-256), the rest of the key. Default: its `sha256`.
        describe: (entry, item) -> the new row, from a finished entry's files.
    """

    name: str
    settings: Any
    code: str
    load: Callable[[], Worker]
    process: Callable[[Worker, Item, Path], Made]
    describe: Callable[[Entry, Item], Item]
    weights: str = ""
    inputs: Callable[[Item], Any] = lambda item: item.sha256

    def key(self, item: Item) -> str:
        return key_of(
            stage=self.name, input=self.inputs(item), settings=self.settings, code=self.code, weights=self.weights
        )


def run_shard(stage: Stage[Any], items: Iterable[Item], out_manifest: str | Path, store_root: str | Path) -> list[Item]:
    """Run a shard through a stage (`run_items`) and write its manifest."""
    rows = run_items(stage, items, store_root)
    write_manifest(out_manifest, rows)
    return rows


def run_items(stage: Stage[Any], items: Iterable[Item], store_root: str | Path) -> list[Item]:
    """The rows of a shard after a stage; what the store lacks is computed.

    Raises:
        StageFailed: an item failed in an unforeseen way. The others were finished first, so nothing that could be done is left undone.
    """
    rows = list(items)
    store = Store(store_root, stage.name)
    progress = Progress(stage.name, len(rows))
    out: list[Item] = []
    failures: list[str] = []
    worker: Any = None
    loaded = False
    for item in rows:
        if not item.ok:
            out.append(item)
            progress.count("rejected")
            continue
        key = stage.key(item)
        entry = store.get(key)
        if entry is None:
            if not loaded:
                worker, loaded = stage.load(), True
            try:
                with store.scratch() as scratch:
                    made = stage.process(worker, item, scratch)
                    entry = store.put(key, made.files, made.row)
            except RejectItem as error:
                log.warning("%s: %s: rejected: %s", stage.name, item.id, error)
                out.append(item.rejected(f"{stage.name}: {error}"))
                progress.count("rejected")
                continue
            except Exception as error:
                log.exception("%s: %s: %s: failed", stage.name, item.id, item.noisy)
                failures.append(f"{item.id} ({item.noisy}): {type(error).__name__}: {error}")
                progress.count("failed")
                continue
            progress.count("computed", item.duration or 0.0)
        else:
            progress.count("in store")
        out.append(stage.describe(entry, item))
    progress.finish()
    if failures:
        raise StageFailed(
            f"{stage.name}: {len(failures)} of {len(rows)} items failed, the others are finished and kept:\n  "
            + "\n  ".join(failures)
        )
    return out


class Progress:
    """Counts items on standard error: a line at most every few seconds, and one at the end."""

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total = name, total
        self.counts: dict[str, int] = {}
        self.audio_sec = 0.0
        self.start = self.last = time.monotonic()

    def count(self, what: str, audio_sec: float = 0.0) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        self.audio_sec += audio_sec
        if time.monotonic() - self.last >= PROGRESS_EVERY_SEC:
            self._line(eta=True)

    def finish(self) -> None:
        self._line(eta=False)

    def _line(self, *, eta: bool) -> None:
        self.last = time.monotonic()
        seconds = self.last - self.start
        done = sum(self.counts.values())
        parts = ", ".join(f"{number} {what}" for what, number in self.counts.items()) or "nothing to do"
        text = f"{self.name}: {done}/{self.total} items ({parts}), {seconds:.1f} s"
        if self.audio_sec:
            text += f", {self.audio_sec / max(seconds, 1e-9):.1f} s of audio a second"
        if eta and done:
            text += f", about {seconds / done * (self.total - done):.0f} s left"
        print(text, file=sys.stderr, flush=True)
