"""The model registry (`config/models.yaml`): each model's kind, origin, licence and sizes. No torch import.

`models.fetching` makes a model of it ready.
"""

from __future__ import annotations

import importlib.util
import json
import re
import urllib.parse
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from audiorestorer.config import NAME_PATTERN, Settings, read_yaml, validate
from audiorestorer.digest import modules_defining
from audiorestorer.errors import AudioRestorerError
from audiorestorer.licences import Use, commercial_use
from audiorestorer.models import released
from audiorestorer.places import workflow_root
from audiorestorer.store import sha256_file

SUFFIXES = (".th", ".pt", ".yml", ".safetensors", ".yaml", ".pth", ".ckpt", ".json", ".csv", ".bin", ".txt", ".onnx")
FILE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._=-]{0,120}$"
BLOCK = 1 << 20
NO_FILES = "none"  # source of a kind that needs no weights
PACKAGE = "package:"  # source of weights that an installed package carries

FOR_PEOPLE = ("notes", "url", "fuses", "score")  # keys that no fetched model depends on

VERBS = {
    "separate": "separate",
    "fuse": "fuse estimates",
    "denoise": "denoise",
    "enhance": "enhance",
    "recognise": "recognise speech",
    "panns": "tag sounds",
}
# where the kinds of a task are modules with a function `load`; the kinds of the other tasks
FOLDERS = {"separate": "separators", "denoise": "separators", "recognise": "metrics/recognisers"}
KINDS = {"fuse": ("fusion",), "enhance": ("enhancer", "extension"), "panns": ("panns",)}


def kinds_of(task: str) -> tuple[str, ...]:
    """The kinds of model that can do a task: a module of its folder that has a function `load` is one. Nothing is imported."""
    return modules_defining("load", FOLDERS[task]) if task in FOLDERS else KINDS[task]


class FileSettings(Settings):
    name: str = Field(pattern=FILE_PATTERN, description="file name, no folder")
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{8,64}$", description="full hash, or the first digits that are known"
    )
    md5: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{32}$",
        description="where the publisher gives no other: against damage, not against malice",
    )
    url: str | None = Field(None, pattern=r"^https://", description="where this file lies, if not in `source`")
    mirrors: list[Annotated[str, Field(pattern=r"^https://")]] = Field(
        [], max_length=8, description="where it lies as well, tried in this order; the file then needs a hash"
    )
    size_mb: float | None = Field(None, gt=0, description="about how large; a download may be at most twice this")

    @model_validator(mode="after")
    def _sure(self) -> FileSettings:
        if self.mirrors and not self.sha256 and not self.md5:
            raise ValueError("mirrors need a hash of the file: sha256 or md5")
        return self


class EntrySettings(Settings):
    kind: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,40}$",
        description="module of separators or of metrics.recognisers, or fusion, enhancer or panns",
    )
    task: Literal["separate", "fuse", "denoise", "enhance", "recognise", "panns"] = Field(
        description="what the model does"
    )
    source: str = Field(
        min_length=4,
        description="hf:NAME, an https:// folder, package:NAME/FOLDER (of an installed package; where it is missing, each file's"
        " `url`), a local file or folder relative to the registry, or none",
    )
    files: list[FileSettings] = Field([], description="its files; may be left out for a local source")
    licence: str = Field(min_length=2, description="of the weights")
    commercial: Use | None = Field(
        None,
        description="whether it allows commercial use, where its name does not tell; a run says at its start where not, and its"
        " report where unclear",
    )
    score: str | None = Field(None, max_length=300, description="its published quality, on what, and who says so")
    sample_rate: int | None = Field(None, ge=4_000, le=384_000, description="Hz")
    max_segment_sec: float | None = Field(None, gt=0, le=600, description="longest segment that the network takes")
    network: dict[str, Any] | None = Field(
        None,
        description="sizes of the network, with the names of its released configuration (kinds roformer, bandit and enhancer)",
    )
    fuses: list[str] = Field([], description="task fuse: the models whose estimates it was trained to join")
    url: str | None = Field(None, pattern=r"^https://", description="for people")
    trust: bool = Field(
        False, description="load a pickle that needs more than tensors; every file then needs its full sha256"
    )
    notes: str | None = Field(None, description="for people")

    @field_validator("source")
    @classmethod
    def _known(cls, source: str) -> str:
        if source.startswith("http://"):
            raise ValueError("only https:// is downloaded")
        try:
            urllib.parse.urlsplit(source)
        except ValueError as error:
            raise ValueError(f"{source:.60} is no address: {error}") from error
        if source.startswith("hf:") and not re.match(r"^hf:([A-Za-z0-9_-]+/)?[A-Za-z0-9_-]+$", source):
            raise ValueError("hf:NAME, or hf:NAMESPACE/NAME")
        if source.startswith(PACKAGE) and not re.match(r"^package:[A-Za-z_]\w*(/\w[\w-]*)*$", source, re.ASCII):
            raise ValueError("package:NAME, or package:NAME/FOLDER, with the name that Python imports")
        return source

    @model_validator(mode="after")
    def _checked(self) -> EntrySettings:
        if self.kind not in kinds_of(self.task):
            folder = FOLDERS.get(self.task)
            place = f": there is no audiorestorer/{folder}/{self.kind}.py with a function `load`" if folder else ""
            raise ValueError(
                f"kind {self.kind!r} is none of task {self.task}{place}; its kinds: {', '.join(kinds_of(self.task))}"
            )
        if self.network is not None:
            released.check_keys(self.kind, self.network)
        if (self.task == "fuse") != bool(self.fuses):
            raise ValueError("task fuse, and no other, needs `fuses`: the models that it was trained to join")
        if self.trust and (not self.files or any(len(file.sha256 or "") != 64 for file in self.files)):
            raise ValueError("trust: true needs the full sha256 (64 digits) of every file under `files`")
        if self.source.startswith(("hf:", "https://", PACKAGE)) and not self.files:
            raise ValueError("a remote source needs `files`")
        if self.source.startswith(PACKAGE) and not all(file.url for file in self.files):
            raise ValueError("a package as source needs the `url` of every file, for machines that lack it")
        return self

    @property
    def commercial_use(self) -> Use | None:
        """Whether its licence allows commercial use; None: nobody says."""
        return commercial_use(self.licence, self.commercial)

    @property
    def remote(self) -> bool:
        """Whether its files have to be fetched; those of a package only where it is not installed."""
        if self.source.startswith(PACKAGE):
            return self.in_package is None
        return self.source.startswith(("hf:", "https://"))

    @property
    def package(self) -> str | None:
        """The package of the index that carries its files; None: no package does."""
        if not self.source.startswith(PACKAGE):
            return None
        return self.source.removeprefix(PACKAGE).partition("/")[0].replace("_", "-")

    @property
    def in_package(self) -> Path | None:
        """The folder of an installed package that its files lie in. Nothing is imported."""
        name, _, folder = self.source.removeprefix(PACKAGE).partition("/")
        spec = importlib.util.find_spec(name)
        places = [Path(place) / folder for place in (spec and spec.submodule_search_locations) or []]
        return next((place for place in places if all((place / file.name).is_file() for file in self.files)), None)


class Registry(Settings):
    """The entries by name. See `load`."""

    models: dict[str, EntrySettings] = Field(description="entries by name")
    _path: Path = PrivateAttr(default=Path("models.yaml"))

    @field_validator("models")
    @classmethod
    def _names(cls, models: dict[str, EntrySettings]) -> dict[str, EntrySettings]:
        for name in models:
            if not re.match(NAME_PATTERN, name):
                raise ValueError(f"{name!r}: a name has letters, digits, _ and - only")
        return models

    def get(self, name: str) -> EntrySettings:
        """Raises AudioRestorerError: no such entry."""
        if name not in self.models:
            raise AudioRestorerError(f"{self._path}: no model {name!r}; it has {', '.join(sorted(self.models))}")
        return self.models[name]

    def check_task(self, name: str, tasks: Collection[str], where: str) -> None:
        """Raises AudioRestorerError: no such entry, or one that is for something else than `where` in the configuration needs."""
        task = self.get(name).task
        if task not in tasks:
            fitting = sorted(other for other, entry in self.models.items() if entry.task in tasks)
            raise AudioRestorerError(
                f"{where}: model {name} is there to {VERBS[task]}, not to {VERBS[min(tasks)]}; models that are:"
                f" {', '.join(fitting) or 'none'} ({self._path})"
            )

    def check_segment(self, name: str, segment_sec: float | None, where: str) -> None:
        """
        Args:
            where: the section of the configuration that uses the model.

        Raises:
            AudioRestorerError: no such entry, or a segment longer than its network takes.
        """
        longest = self.get(name).max_segment_sec
        if longest is not None and segment_sec is not None and segment_sec > longest:
            raise AudioRestorerError(
                f"{where}.segment_sec: longer than model {name} takes (got {segment_sec:g}); allowed: above 0,"
                f" at most {longest:g}, or null (seconds; null is the model's own)"
            )

    def local(self, name: str) -> Path:
        """The place of a local entry's file or folder, or of an installed package's. In a copy of our registry at another place
        (`snakedeploy` makes one) the entries of our own weights still name these."""
        entry = self.get(name)
        in_package = entry.in_package if entry.source.startswith(PACKAGE) else None
        place = self._path.parent / entry.source
        if in_package or place.exists():
            return in_package or place
        ours = workflow_root() / "config" / entry.source
        return ours if ours.exists() else place

    def state(self, name: str) -> str:
        """All that a fetched model depends on, as one line: the entry, and the content of local files."""
        entry = self.get(name)
        stamps = {} if entry.remote else {path.name: _stamp(path) for path in local_files(self.local(name), entry)}
        return json.dumps(
            {"entry": entry.model_dump(exclude={"max_segment_sec", *FOR_PEOPLE}), "files": stamps},
            sort_keys=True,
        )

    def origin(self, name: str, file: str) -> str:
        """The entry with one of its files alone, as JSON: all that a download of it depends on.

        Raises:
            AudioRestorerError: no such entry, or no such file in it.
        """
        entry = self.get(name)
        files = [known for known in entry.files if known.name == file]
        if not files:
            raise AudioRestorerError(f"{self._path}: model {name} has no file {file!r}")
        # what a person changes in an entry fetches nothing again
        return entry.model_copy(update={"files": files, "licence": "the registry says it"}).model_dump_json(
            exclude={"trust", "network", "commercial", "sample_rate", "max_segment_sec", *FOR_PEOPLE},
            exclude_none=True,
            exclude_defaults=True,
        )


def _stamp(path: Path) -> str:
    try:
        size = path.stat().st_size
        return sha256_file(path) if size <= 64 * BLOCK else f"{size}:{path.stat().st_mtime_ns}"
    except OSError:
        return "missing"


def load(path: str | Path) -> Registry:
    """Read a registry.

    Raises:
        AudioRestorerError: unreadable, or an unknown key or wrong value (names file and key).
    """
    registry = validate(Registry, read_yaml(path, foreign=True), str(path))  # a pasted `network` may hold tuples
    registry._path = Path(path)
    return registry


def local_files(place: Path, entry: EntrySettings) -> list[Path]:
    """The files of a local entry: those that it names, or all of a folder that can belong to a model."""
    if entry.source == NO_FILES:
        return []
    if place.is_dir():
        if entry.files:
            return [place / file.name for file in entry.files]
        return sorted(path for path in place.iterdir() if path.suffix in SUFFIXES and path.is_file())
    return [place]
