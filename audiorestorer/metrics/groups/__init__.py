"""Groups of metrics: each module of this folder is one, and declares it as `GROUP`. What a group says of itself is said there alone:
the report's columns, the cost of a job and the names that a configuration may have are derived from it.

The workflow reads all declarations each time it starts. So a module of this folder imports what is slow to load (scipy, torch, pystoi,
a model's package) inside the function that needs it; numpy, soxr and `metrics.files` are there already. `tests/metrics/test_groups.py`
watches over that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiorestorer.config import METRIC_GROUPS
from audiorestorer.errors import AudioRestorerError
from audiorestorer.metrics import Missing
from audiorestorer.metrics.context import Context
from audiorestorer.resources import Cost

if TYPE_CHECKING:
    from audiorestorer.metrics.files import Sound, Source

FOLDER = Path(__file__).parent
SUFFIXES = {"noisy": "_in", "output": "", "clean": "_clean"}  # side -> what a metric's name ends with
BETTER = {"higher": "higher is better", "lower": "lower is better", "target": "as configured is best"}
LAST = 1000


@dataclass(frozen=True)
class Metric:
    """A column of the results.

    Attributes:
        unit: empty for a bare number.
        better: a key of `BETTER`; `target`: a set value is reached.
        digits: after the point.
        place: in the report, where it is not the group's.
    """

    name: str
    title: str
    unit: str
    better: str
    digits: int = 2
    meaning: str = ""
    place: int | None = None

    def __post_init__(self) -> None:
        if not self.name or not self.title:
            raise ValueError(f"the metric {self.name or self.title!r} has no {'title' if self.name else 'name'}")
        if self.better not in BETTER:
            raise ValueError(f"{self.name}: better: {self.better!r} is not one of {', '.join(BETTER)}")

    @property
    def hint(self) -> str:
        return BETTER[self.better]


class Figures:
    """The figures that a group measures of one item: `values`, and in `missing` the reason for each metric that cannot be had.

    Args:
        names: the metrics that must be measured or missing in the end.
        silent: reasons by side, of files without sound.
        only: the names that are of use; None: all.
    """

    def __init__(
        self, names: Iterable[str], silent: Mapping[str, str] | None = None, only: Collection[str] | None = None
    ) -> None:
        self.names, self.silent, self.only = tuple(names), silent or {}, only
        self.values: dict[str, float] = {}
        self.missing: dict[str, str] = {}
        self.heard: dict[str, str] = {}

    def wanted(self, name: str) -> bool:
        """Whether a metric is of use: a group that takes long over each of its metrics asks before it measures one."""
        return self.only is None or name in self.only

    def put(self, name: str, function: Callable[[], float], *sides: str) -> None:
        """Add a metric, or the reason for its absence: the function raises `Missing`, one of the sides is silent, or the number is
        not finite."""
        try:
            for side in sides:
                if side in self.silent:
                    raise Missing(self.silent[side])
            value = float(function())
        except Missing as reason:
            self.missing[name] = str(reason)
            return
        if math.isfinite(value):
            self.values[name] = value
        else:
            self.missing[name] = "not a finite number: the signals hold NaN or infinity"

    def none(self, reason: str) -> None:
        """Nothing (more) can be measured, for this reason."""
        self.missing |= {name: reason for name in self.names if name not in self.values and name not in self.missing}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Metrics that are measured together.

    A group either compares an item's files (`compute`), or looks at one file at a time (`load` and `sides`). Of the latter each file
    has its own entry in the store, so that a new output leaves what is known of mixture and reference as it is; its metrics are
    named `x` of the output, `x_in` of the mixture and `x_clean` of the reference, and `load`, `names` and `Figures` say `x`.

    Attributes:
        metrics: all that it can measure; in the results table in this order.
        cost: of a job that measures it, by measurement (docs/performance.md).
        place: in the results table, lower is further left.
        compute: puts the metrics of an item's files into `Figures`; what raises `Missing` is the reason for all that are not put yet.
        load: reads a model and gives a function that puts the metrics of one file.
        sides: of `noisy`, `output`, `clean`.
        examined: what the examination found (delay, view, silence) is made use of.
        needs_transcript: an item without one has a reason instead. needs_sound: a silent file has.
        packages: the optional packages that decide whether its metrics can be had.
        unavailable: why nothing can be measured here, or None.
        names: those that can be had with this context, of the names that `load` uses; None: all.
        state: what the figures depend on beside audio and code, JSON-able.
        modules: whose code counts beside the group's own, below `audiorestorer.`.
        note: what a row should say of its figures, given its transcript.
    """

    metrics: tuple[Metric, ...]
    cost: Cost
    place: int = LAST
    compute: Callable[[Source, Figures], None] | None = None
    load: Callable[[Context], Callable[[Sound, Figures], None]] | None = None
    sides: tuple[str, ...] = ()
    examined: bool = False
    needs_transcript: bool = False
    needs_sound: bool = False
    packages: tuple[str, ...] = ()
    unavailable: Callable[[Context], str | None] = lambda context: None
    names: Callable[[Context], Collection[str]] | None = None
    state: Callable[[Context], Any] = lambda context: None
    modules: Callable[[Context], Sequence[str]] = lambda context: ()
    note: Callable[[str], str | None] = lambda transcript: None
    all_names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        if (self.compute is None) == (self.load is None) or bool(self.load) != bool(self.sides):
            raise ValueError("give either compute, or load and sides")
        if unknown := [side for side in self.sides if side not in SUFFIXES]:
            raise ValueError(f"sides: {', '.join(unknown)}: not of {', '.join(SUFFIXES)}")
        names = tuple(metric.name for metric in self.metrics)
        if not names:
            raise ValueError("metrics: none")
        object.__setattr__(self, "all_names", names)
        bases = self.bases()
        wanted = {base + SUFFIXES[side] for base in bases for side in self.sides} or set(names)
        if absent := sorted(wanted.symmetric_difference(names)):
            raise ValueError(f"metrics: {', '.join(absent)}: each of {', '.join(bases)} needs one for {self.sides}")

    def bases(self, context: Context | None = None) -> tuple[str, ...]:
        """The names that `Figures` has: without what the sides add, and of those that can be had with a context."""
        if self.names is not None and context is not None:
            return tuple(self.names(context))
        if not self.sides:
            return self.all_names
        ends = tuple(SUFFIXES[side] for side in self.sides if SUFFIXES[side])
        return tuple(name for name in self.all_names if not name.endswith(ends))

    def columns(self, context: Context) -> list[str]:
        """The names of the results that this context can have."""
        bases = self.bases(context)
        return [base + SUFFIXES[side] for base in bases for side in self.sides] if self.sides else list(bases)

    def measure(self, source: Source, only: Collection[str] | None = None) -> Figures:
        """The figures of an item's files, or of signals in memory; of a group with `compute`."""
        assert self.compute is not None
        return self.measured(self.compute, source, Figures(self.all_names, source.examined.silent, only))

    def measured(self, compute: Callable[[Any, Figures], None], what: Any, figures: Figures) -> Figures:
        """The figures with what `compute` puts into them.

        Raises:
            AudioRestorerError: it forgot a metric, or gave one that is not declared; names the module.
        """
        try:
            compute(what, figures)
        except Missing as reason:
            figures.none(str(reason))
        put = {*figures.values, *figures.missing}
        wrong = [f"{name} is no metric of its GROUP" for name in sorted(put.difference(figures.names))]
        wrong += [f"{name} was not put" for name in figures.names if name not in put and figures.wanted(name)]
        if wrong:
            raise AudioRestorerError(f"{compute.__module__.replace('.', '/')}.py: {', '.join(wrong)}")
        return figures


@cache
def named(name: str) -> Group:
    """The group of a module.

    Raises:
        AudioRestorerError: there is no such module, or what it declares is not complete; names the file and what is missing.
    """
    path = FOLDER / f"{name}.py"
    if not path.is_file():
        raise AudioRestorerError(f"{path}: no such file: the group of metrics {name!r} is not there")
    try:
        group = getattr(import_module(f"{__name__}.{name}"), "GROUP", None)
    except (
        TypeError,
        ValueError,
        ImportError,
    ) as error:  # an argument of the declaration is missing or wrong, or a package is
        raise AudioRestorerError(f"{path}: {error}") from error
    if not isinstance(group, Group):
        raise AudioRestorerError(f"{path}: declares no GROUP (a `metrics.groups.Group`)")
    return group


@cache
def known() -> Mapping[str, Group]:
    """All groups by name.

    Raises:
        AudioRestorerError: as `named`, or two groups have a metric of one name.
    """
    groups = {name: named(name) for name in METRIC_GROUPS}
    owner: dict[str, str] = {}
    for name, group in groups.items():
        for metric in group.metrics:
            if owner.setdefault(metric.name, name) != name:
                raise AudioRestorerError(
                    f"{FOLDER / name}.py: the metric {metric.name} is one of {FOLDER / owner[metric.name]}.py too"
                )
    return groups


def in_order() -> tuple[Metric, ...]:
    """The metrics of all groups, as the report shows them."""
    placed = [
        (group.place if metric.place is None else metric.place, metric)
        for group in known().values()
        for metric in group.metrics
    ]
    return tuple(metric for _, metric in sorted(placed, key=lambda pair: pair[0]))


def optional_packages() -> list[str]:
    """The installed ones of the packages that groups can do without."""
    packages = dict.fromkeys(package for group in known().values() for package in group.packages)
    return [package for package in packages if util.find_spec(package) is not None]


def costs(names: Iterable[str]) -> list[Cost]:
    """The costs of these groups."""
    return [named(name).cost for name in names]
