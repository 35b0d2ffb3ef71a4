"""The model registry (`config/models.yaml`): each model's kind and origin, and how it is made ready. No torch import.

`fetch` makes `artifacts/models/<name>.json`; stages read only that. Downloads go to a temporary name, are bounded in size, checked
against the registry's hash, then renamed; a file that already lies in `artifacts/models/<name>/` is used, so a machine with no network
is served by copying files there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import re
import shutil
import urllib.parse
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from audiorestorer.config import NAME_PATTERN, Settings, read_yaml, validate
from audiorestorer.digest import modules_defining
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import replacing, write_text_atomic
from audiorestorer.models import download
from audiorestorer.store import sha256_file

SUFFIXES = (".th", ".safetensors", ".yaml", ".pth", ".ckpt", ".json", ".csv", ".bin", ".txt", ".onnx")
FILE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._=-]{0,120}$"
MAX_BYTES = 4_000_000_000
BLOCK = 1 << 20
NO_FILES = "none"  # source of a kind that needs no weights
PACKAGE = "package:"  # source of weights that an installed package carries

VERBS = {
    "separate": "separate",
    "fuse": "fuse estimates",
    "denoise": "denoise",
    "enhance": "enhance",
    "recognise": "recognise speech",
    "panns": "tag sounds",
}
# where the kinds of a task are modules with a function `load`; of another task there is one kind
FOLDERS = {"separate": "separators", "denoise": "separators", "recognise": "metrics/recognisers"}
ONLY_KIND = {"fuse": "fusion", "enhance": "enhancer", "panns": "panns"}

log = logging.getLogger("audiorestorer")


def kinds_of(task: str) -> tuple[str, ...]:
    """The kinds of model that can do a task: a module of its folder that has a function `load` is one. Nothing is imported."""
    return modules_defining("load", FOLDERS[task]) if task in FOLDERS else (ONLY_KIND[task],)


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
    size_mb: float | None = Field(None, gt=0, description="about how large; a download may be at most twice this")


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
    sample_rate: int | None = Field(None, ge=4_000, le=384_000, description="Hz")
    max_segment_sec: float | None = Field(None, gt=0, le=600, description="longest segment that the network takes")
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
    def remote(self) -> bool:
        """Whether its files have to be fetched; those of a package only where it is not installed."""
        if self.source.startswith(PACKAGE):
            return self.in_package is None
        return self.source.startswith(("hf:", "https://"))

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
        """The place of a local entry's file or folder, or of an installed package's."""
        entry = self.get(name)
        in_package = entry.in_package if entry.source.startswith(PACKAGE) else None
        return in_package or self._path.parent / entry.source

    def state(self, name: str) -> str:
        """All that a fetched model depends on, as one line: the entry, and the content of local files."""
        entry = self.get(name)
        stamps = {} if entry.remote else {path.name: _stamp(path) for path in _local_files(self.local(name), entry)}
        return json.dumps(
            {"entry": entry.model_dump(exclude={"notes", "url", "max_segment_sec", "fuses"}), "files": stamps},
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
        return entry.model_copy(update={"files": files}).model_dump_json(
            exclude={"notes", "url", "trust", "fuses"}, exclude_none=True
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
    registry = validate(Registry, read_yaml(path), str(path))
    registry._path = Path(path)
    return registry


def _local_files(place: Path, entry: EntrySettings) -> list[Path]:
    if entry.source == NO_FILES:
        return []
    if place.is_dir():
        if entry.files:
            return [place / file.name for file in entry.files]
        return sorted(path for path in place.iterdir() if path.suffix in SUFFIXES and path.is_file())
    return [place]


def _check(path: Path, wanted: FileSettings | None, mend: str) -> str:
    """The full SHA-256 of a file.

    Raises:
        AudioRestorerError: its size or hash is not the one of the registry.
    """
    size = path.stat().st_size / 1e6
    if wanted and wanted.size_mb and not wanted.size_mb / 2 <= size <= wanted.size_mb * 2 and wanted.size_mb >= 1:
        raise AudioRestorerError(f"{path}: is {size:.3g} MB, the registry says about {wanted.size_mb:g} MB: {mend}")
    actual = sha256_file(path)
    if wanted and wanted.sha256 and not actual.startswith(wanted.sha256):
        raise AudioRestorerError(f"{path}: sha256 is {actual}, the registry says {wanted.sha256}: {mend}")
    if wanted and wanted.md5:
        with open(path, "rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
        if md5 != wanted.md5:
            raise AudioRestorerError(f"{path}: md5 is {md5}, the registry says {wanted.md5}: {mend}")
    return actual


def present(name: str, registry: Registry, cache_dir: str | Path) -> bool:
    """Whether all files of a model are on this machine."""
    entry = registry.get(name)
    if entry.remote:
        return all((Path(cache_dir) / name / file.name).is_file() for file in entry.files)
    return all(path.is_file() for path in _local_files(registry.local(name), entry))


def fetch(name: str, registry: str | Path, out_json: str | Path, cache_dir: str | Path) -> dict[str, Any]:
    """Make a model ready and write `out_json` (atomically).

    Returns:
        The record: name, kind, task, source, files (path, sha256), digest, licence, sample_rate, trust.

    Raises:
        AudioRestorerError: no such entry; a local file is missing or has another hash; a download failed (names the file, its size,
            its hash and the folder to put it in).
    """
    loaded = load(registry)
    entry = loaded.get(name)
    files = _fetched(name, entry, Path(cache_dir) / name) if entry.remote else _present(loaded, name, entry)
    record: dict[str, Any] = {
        "name": name,
        "kind": entry.kind,
        "task": entry.task,
        "source": entry.source,
        "files": [{"path": str(path), "sha256": sha256} for path, sha256 in files],
        "digest": hashlib.sha256("".join(sorted(sha256 for _, sha256 in files)).encode()).hexdigest(),
        "licence": entry.licence,
        "sample_rate": entry.sample_rate,
        "trust": entry.trust,
    }
    write_text_atomic(out_json, json.dumps(record, indent=1, sort_keys=True) + "\n")
    return record


def only_file(name: str, registry: str | Path, cache_dir: str | Path) -> Path:
    """The one safetensors file of a model, made ready.

    Raises:
        AudioRestorerError: as `fetch`, or not one such file.
    """
    loaded = load(registry)
    entry = loaded.get(name)
    files = _fetched(name, entry, Path(cache_dir) / name) if entry.remote else _present(loaded, name, entry)
    paths = [path for path, _ in files if path.suffix == ".safetensors"]
    if len(paths) != 1:
        raise AudioRestorerError(f"model {name}: needs one .safetensors file, has {len(paths)}")
    return paths[0]


def fetch_file(name: str, entry: EntrySettings, path: Path) -> None:
    """Download the one file of an entry, unless it is there, and check its hash.

    Raises:
        AudioRestorerError: the download failed (what to put where), or a file with another hash is there.
    """
    _fetched_file(name, entry, entry.files[0], path)


def _present(registry: Registry, name: str, entry: EntrySettings) -> list[tuple[Path, str]]:
    place = registry.local(name)
    hashes = {file.name: file for file in entry.files}
    paths = _local_files(place, entry)
    if not paths and entry.source != NO_FILES:
        raise AudioRestorerError(f"model {name}: {place}: no model files in this folder")
    for path in paths:
        if not path.is_file():
            raise AudioRestorerError(f"model {name}: {path}: no such file; the registry's `source` is {entry.source!r}")
    return [(path, _check(path, hashes.get(path.name), "it is damaged or another file")) for path in paths]


def _fetched(name: str, entry: EntrySettings, folder: Path) -> list[tuple[Path, str]]:
    return [_fetched_file(name, entry, file, folder / file.name) for file in entry.files]


def _fetched_file(name: str, entry: EntrySettings, file: FileSettings, path: Path) -> tuple[Path, str]:
    """A remote file. One that is damaged (cut, say) is named and fetched again; the damaged one stays until then."""
    damage = ""
    if path.is_file():
        try:
            return path, _check(path, _known(path.parent, file), "fetching it again")
        except AudioRestorerError as error:
            log.warning("model %s: %s", name, error)
            damage = f"; the one in {path.parent} is damaged"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _download(entry, file, path)
        sha256 = _check(path, file, "the download is damaged")
    except Exception as error:  # the hub's client raises its own and its transport's errors
        raise AudioRestorerError(_by_hand(name, entry, file, path.parent, error) + damage) from error
    if len(file.sha256 or "") < 64:
        write_text_atomic(path.with_name(f".{path.name}.sha256"), sha256 + "\n")
    return path, sha256


def _known(folder: Path, file: FileSettings) -> FileSettings:
    """The file's entry; where the registry lacks the full hash, with the hash of the file that was fetched first."""
    try:
        sha256 = (folder / f".{file.name}.sha256").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return file
    known = len(sha256) == 64 and sha256.startswith(file.sha256 or "")
    return file.model_copy(update={"sha256": sha256}) if known else file


def _by_hand(name: str, entry: EntrySettings, file: FileSettings, folder: Path, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    source = (
        f"{file.url}, nor is it in an installed {entry.source}" if entry.source.startswith(PACKAGE) else entry.source
    )
    size = f"about {file.size_mb:g} MB" if file.size_mb else "size unknown"
    sha256 = f"sha256 {file.sha256}{'' if len(file.sha256) == 64 else '...'}" if file.sha256 else "sha256 unknown"
    sha256 = f"md5 {file.md5}" if file.md5 and not file.sha256 else sha256
    return (
        f"model {name}: {file.name} could not be fetched from {source} ({reason:.400}). With no network, put the file"
        f" {file.name} ({size}, {sha256}) into {folder}/ ; it is used from there. Licence: {entry.licence}."
    )


def _download(entry: EntrySettings, file: FileSettings, path: Path) -> None:
    limit = int(min(MAX_BYTES, 2e6 * file.size_mb if file.size_mb else MAX_BYTES))
    if entry.source.startswith("hf:") and not file.url:
        _from_hub(entry.source.removeprefix("hf:"), file, path, limit)
        return
    url = file.url or f"{entry.source.rstrip('/')}/{urllib.parse.quote(file.name)}"
    resume = file.sha256 is not None or file.md5 is not None
    download.fetch(url, path, limit, lambda part: _check(part, file, "the download is damaged"), resume=resume)


def _from_hub(name: str, file: FileSettings, path: Path, limit: int) -> None:
    """A file of one of demucs' repositories on the Hugging Face hub, by demucs' own names; the hub's client resumes and verifies."""
    from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name
    from huggingface_hub import constants, hf_hub_download

    if not constants.ENDPOINT.startswith("https://"):
        raise AudioRestorerError(f"HF_ENDPOINT is {constants.ENDPOINT}: only https:// is downloaded")
    namespace, _, model = name.rpartition("/")
    cached = hf_hub_download(f"{namespace or DEFAULT_NAMESPACE}/{hf_repo_name(model)}", file.name)
    if os.path.getsize(cached) > limit:
        raise AudioRestorerError(f"larger than {limit / 1e6:.0f} MB")
    with replacing(path) as temporary:
        shutil.copyfile(cached, temporary)
        _check(temporary, file, "the download is damaged")
