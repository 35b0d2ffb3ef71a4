"""The listening page: one HTML file that holds pictures and players of a few items, and needs nothing beside it.

Snakemake's report.html shows an HTML result in an iframe whose address is a `data:` URI. Chromium refuses such an address above
2 MiB (the frame stays empty), so pages made for the report are kept below `REPORT_PAGE_BYTES`, and say what they leave out.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from audiorestorer.report.metricinfo import METRICS, get_number, known, shown

REPORT_PAGE_BYTES = 1_550_000  # base64 makes this 2.07 million characters; the limit is 2,097,152
SUMMARY_METRICS = known(
    "si_sdr_in_db", "si_sdr_db", "si_sdr_improvement_db", "stoi_in", "stoi", "music_to_speech_in_db", "music_to_speech_db",
)  # fmt: skip
LABELS = {"before": "Before", "unenhanced": "Before the enhancer", "after": "After", "clean": "Clean reference"}
REASONS = {
    "worst": "among the files that gained least",
    "best": "among the files that gained most",
    "sample": "drawn at random",
}


@dataclass(frozen=True)
class Version:
    """A player: `key` is the number key that chooses it."""

    name: str
    label: str
    key: int
    audio: bytes

    @property
    def uri(self) -> str:
        return "data:audio/mpeg;base64," + base64.b64encode(self.audio).decode()


@dataclass(frozen=True)
class Player:
    """An item on the page."""

    id: str
    file: str
    chosen: str
    start_sec: float
    seconds: float
    versions: Sequence[Version]
    picture: bytes
    figures: Sequence[tuple[str, str]] = field(default=())
    detail: bytes = b""

    @property
    def reason(self) -> str:
        return REASONS.get(self.chosen, self.chosen)

    @property
    def picture_uri(self) -> str:
        return picture_uri(self.picture)

    @property
    def detail_uri(self) -> str:
        return picture_uri(self.detail)

    @property
    def page_bytes(self) -> int:
        """Estimate of the bytes that the item adds to a page."""
        return 4 * (len(self.picture) + sum(len(version.audio) for version in self.versions)) // 3 + 6000


def picture_uri(png: bytes) -> str:
    """A picture as the address of an image inside the page; empty for none."""
    return "data:image/png;base64," + base64.b64encode(png).decode() if png else ""


@cache
def template(name: str) -> Template:
    """A template of this package; everything that is put into it is escaped."""
    environment = Environment(
        loader=PackageLoader("audiorestorer.report", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(name)


def player(
    entry: Mapping[str, Any], item: Mapping[str, Any], files: Mapping[str, bytes], picture: bytes, detail: bytes = b""
) -> Player:
    """A player from an entry of snippets.json, the item's row of metrics.json and the contents of its files."""
    names = [name for name in LABELS if name in files]
    figures = [
        (f"{metric.title}{f' ({metric.unit})' if metric.unit else ''}", shown(value, metric))
        for metric in METRICS
        if metric.name in SUMMARY_METRICS and (value := get_number(item, metric.name)) is not None
    ]
    return Player(
        str(entry["id"]), str(item.get("input") or entry["id"]), str(entry["chosen"]), float(entry["start_sec"]),
        float(entry["seconds"]), [Version(name, LABELS[name], i, files[name]) for i, name in enumerate(names, 1)],
        picture, figures, detail,
    )  # fmt: skip


def page(players: Sequence[Player], *, title: str, limit_bytes: int | None = None) -> str:
    """The page as HTML text. With `limit_bytes`, items that do not fit are named at its end instead, and details stay out."""
    inside: list[Player] = []
    left_out: list[Player] = []
    size = 16_000  # style, script and text
    for candidate in players:
        fits = limit_bytes is None or size + candidate.page_bytes <= limit_bytes
        (inside if fits else left_out).append(candidate)
        size += candidate.page_bytes if fits else 400
    return template("listening.html.j2").render(
        players=inside,
        left_out=left_out,
        title=title,
        details=limit_bytes is None,
        clean=any(version.name == "clean" for player in inside for version in player.versions),
    )


def details_page(players: Sequence[Player], limit_bytes: int = REPORT_PAGE_BYTES) -> str:
    """The players' effective masks and loudness over time, in their order, as far as the limit goes."""
    inside: list[Player] = []
    size = 6_000
    for candidate in (player for player in players if player.detail):
        size += 4 * len(candidate.detail) // 3 + 1200
        if size > limit_bytes:
            break
        inside.append(candidate)
    left_out = sum(bool(player.detail) for player in players) - len(inside)
    return template("details.html.j2").render(players=inside, left_out=left_out)
