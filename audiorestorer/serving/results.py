"""The results of a finished run, as its own records name them: figures, listening cards, recordings before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import inside, read_json
from audiorestorer.launch.results import RESULT
from audiorestorer.manifest import Item, read_manifests
from audiorestorer.names import in_line
from audiorestorer.report import listening, tables
from audiorestorer.report.metricinfo import BY_NAME, shown
from audiorestorer.serving.batches import Batch

ROWS = 200  # recordings with players of their own; the report lists all
REPORT_SUFFIXES = (".html", ".png", ".md")


@dataclass(frozen=True)
class Version(listening.Version):
    """A version whose audio is at an address of this server."""

    address: str = ""

    @property
    def uri(self) -> str:
        return self.address


@dataclass(frozen=True)
class Card(listening.Player):
    """A player whose picture is at an address of this server."""

    address: str = ""

    @property
    def picture_uri(self) -> str:
        return self.address


@dataclass(frozen=True)
class Figure:
    """A median before and after, as text; an en dash where there is none."""

    title: str
    before: str
    after: str
    unit: str


@dataclass(frozen=True)
class Row:
    """A recording: its name, what is said of it, and whether it can be heard."""

    name: str
    said: str
    ok: bool


@lru_cache(maxsize=4)
def _sorted_items(manifests: tuple[tuple[Path, int], ...]) -> list[Item]:
    """The rows of manifests, each with its time, by name. A player asks for its file many times, a part each."""
    return sorted(read_manifests([path for path, _ in manifests]), key=lambda item: item.relative or item.id)


class Results:
    """Reads what the run left in its folder. Whatever is missing there is left out."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.artifacts = batch.work / "artifacts"

    def counts(self) -> dict[str, Any]:
        """How many recordings were restored, and how many rejected."""
        result = self.batch.record(RESULT)
        return {name: result.get(name, 0) for name in ("files", "rejected")}

    def figures(self) -> list[Figure]:
        """The key figures as the report shows them."""
        figures = []
        for row in self.batch.record(RESULT).get("figures", ()):
            metric = BY_NAME[row["name"]]
            before, after = ("–" if row[side] is None else shown(row[side], metric) for side in ("before", "after"))
            figures.append(Figure(tables.both_title(metric), before, after, metric.unit))
        return figures

    def _path(self, text: str) -> Path | None:
        """A file that a record names; None where it is not there."""
        path = self.batch.work / text  # an absolute path stays as it is
        return path if path.is_file() else None

    def _snippets(self) -> list[Mapping[str, Any]]:
        try:
            return list(read_json(self.artifacts / "eval/snippets.json").get("items", ()))
        except AudioRestorerError:
            return []

    def players(self) -> list[Card]:
        """The listening cards, as in the report."""
        try:
            rows = {str(item["id"]): item for item in read_json(self.artifacts / "eval/metrics.json").get("items", ())}
        except AudioRestorerError:
            rows = {}
        cards = []
        for number, entry in enumerate(self._snippets()):
            item = {**rows.get(str(entry["id"]), {})}
            item["input"] = tables.plain(item.get("input") or entry["id"])
            base = f"/batches/{self.batch.id}/snippets/{number}"
            player = listening.player(entry, item, dict.fromkeys(entry["files"], b""), b"")
            versions = [
                Version(each.name, each.label, each.key, b"", f"{base}/{each.name}") for each in player.versions
            ]
            fields = {**vars(replace(player, versions=versions)), "address": f"{base}/spectrogram"}
            cards.append(Card(**fields))
        return cards

    def snippet(self, number: int, name: str) -> Path | None:
        entries = self._snippets()
        if number >= len(entries):
            return None
        entry = entries[number]
        text = entry.get("spectrogram") if name == "spectrogram" else entry["files"].get(name)
        return self._path(str(text)) if text else None

    def _items(self) -> list[Item]:
        paths = sorted((self.artifacts / "manifests/publish").glob("*.jsonl"))
        try:
            return _sorted_items(tuple((path, path.stat().st_mtime_ns) for path in paths))
        except (AudioRestorerError, OSError):
            return []

    def rows(self) -> list[Row]:
        """The first recordings of the batch, by the names that they were uploaded under."""
        names = {upload.stored: upload.shown for upload in self.batch.uploads}
        rows = []
        for item in self._items()[:ROWS]:
            name = item.relative or item.id
            said = " ".join((item.notes or {}).values()) if item.ok else str(item.reason)
            rows.append(Row(in_line(names.get(name, name)), said, item.ok))
        return rows

    def more(self) -> int:
        """How many recordings there are beyond those of `rows`."""
        return max(0, len(self._items()) - ROWS)

    def recording(self, number: int, side: str) -> Path | None:
        items = self._items()
        if number >= len(items) or not items[number].ok:
            return None
        item = items[number]
        if side == "before":
            return self._path(item.source or item.noisy)
        return self._path(str(self.batch.output / item.output)) if side == "after" and item.output else None

    def has_report(self) -> bool:
        return (self.artifacts / "report/results.html").is_file()

    def report_file(self, name: str) -> Path | None:
        """A page or picture in the report's folder."""
        folder = self.artifacts / "report"
        try:
            path = inside(folder, name).resolve()
        except (AudioRestorerError, ValueError, OSError):
            return None
        kept = path.is_relative_to(folder.resolve()) and path.suffix in REPORT_SUFFIXES
        return path if kept and path.is_file() else None
