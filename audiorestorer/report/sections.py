"""A page of sections, each with lines, a figure and a table: the training report and the sanity report."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from audiorestorer.report.figures import AFTER, BEFORE, png_bytes
from audiorestorer.report.listening import template

MOST_ROWS = 200  # a table shows no more; the CSV has them all


@dataclass(frozen=True)
class Section:
    """One part of a page. `picture` is PNG, base64."""

    title: str
    lines: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = field(default_factory=list)
    picture: str = ""


def section(
    title: str, lines: Sequence[str] = (), table: Sequence[Mapping[str, Any]] = (), png: bytes = b""
) -> Section:
    """A section with a table, whose rows are given by column name."""
    head = list(table[0]) if table else []
    rows = [["" if row.get(name) is None else str(row[name]) for name in head] for row in table[:MOST_ROWS]]
    said = [*lines, f"{len(table) - MOST_ROWS} more rows are in the CSV."] if len(table) > MOST_ROWS else list(lines)
    return Section(title, said, head, rows, base64.b64encode(png).decode("ascii"))


def page(title: str, intro: str, sections: Sequence[Section] = (), body: str = "") -> str:
    """The page as HTML text; all that is put into it is escaped, but for markup in `body`, which comes before the sections."""
    return template("training.html.j2").render(title=title, intro=intro, sections=sections, body=body)


def curve(
    steps: Sequence[float], values: Mapping[str, Sequence[float]], *, across: str, up: str, smooth: int = 1
) -> bytes:
    """Lines over steps as PNG, each the running mean of `smooth` points (drawn from where it is full)."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axis = figure.add_subplot()
    for number, (name, line) in enumerate(values.items()):
        means = [sum(line[max(0, k + 1 - smooth) : k + 1]) / min(k + 1, smooth) for k in range(len(line))]
        axis.plot(steps, means, label=name, color=(AFTER, BEFORE, "#009E73", "#CC79A7")[number % 4], linewidth=1.4)
    axis.set_xlabel(across)
    axis.set_ylabel(up)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return png_bytes(figure)
