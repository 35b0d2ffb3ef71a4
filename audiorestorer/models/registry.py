"""The model registry (`config/models.yaml`): what each model is, where it comes from, and how it is made ready. No torch import.

`fetch` makes `artifacts/models/<name>.json`; stages read only that. Downloads go to a temporary name, are bounded in size, checked
against the registry's hash, then renamed; a file that already lies in `artifacts/models/<name>/` is used, so a machine with no network
is served by copying files there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from audiorestorer.config import NAME_PATTERN, Settings, read_yaml, validate
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import write_text_atomic
from audiorestorer.store import sha256_file

SUFFIXES = (".th", ".safetensors", ".yaml", ".pth", ".ckpt", ".json", ".csv", ".bin", ".txt")
FILE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._=-]{0,120}$"
MAX_BYTES = 4_000_000_000
TIMEOUT_SEC = 30
BLOCK = 1 << 20


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
        pattern=r"^[a-z][a-z0-9_]{0,40}$", description="module of audiorestorer.separators, or panns, recogniser"
    )
    task: Literal["separate", "denoise", "recognise", "panns"] = Field(description="what it is for")
    source: str = Field(
        min_length=4, description="hf:NAME, an https:// folder, or a local file or folder, relative to the registry"
    )
    files: list[FileSettings] = Field([], description="its files; may be left out for a local source")
    licence: str = Field(min_length=2, description="of the weights")
    sample_rate: int | None = Field(None, gt=0, description="Hz")
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
        return source

    @model_validator(mode="after")
    def _checked(self) -> EntrySettings:
        if self.trust and (not self.files or any(len(file.sha256 or "") != 64 for file in self.files)):
            raise ValueError("trust: true needs the full sha256 (64 digits) of every file under `files`")
        if self.source.startswith(("hf:", "https://")) and not self.files:
            raise ValueError("a remote source needs `files`")
        return self

    @property
    def remote(self) -> bool:
        return self.source.startswith(("hf:", "https://"))


class Registry(Settings):
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

    def local(self, name: str) -> Path:
        """Where a local entry's file or folder lies."""
        return self._path.parent / self.get(name).source

    def state(self, name: str) -> str:
        """All that a fetched model depends on, as one line: the entry, and the content of local files."""
        entry = self.get(name)
        found = {} if entry.remote else {path.name: _stamp(path) for path in _local_files(self.local(name), entry)}
        return json.dumps({"entry": entry.model_dump(exclude={"notes", "url"}), "files": found}, sort_keys=True)

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
            exclude={"notes", "url", "trust"}, exclude_none=True
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
    if place.is_dir():
        if entry.files:
            return [place / file.name for file in entry.files]
        return sorted(path for path in place.iterdir() if path.suffix in SUFFIXES and path.is_file())
    return [place]


def _check(path: Path, wanted: FileSettings | None, mend: str) -> str:
    """The full SHA-256 of a file, which is what the registry says of it."""
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
        What was written: name, kind, task, source, files (path, sha256), digest, licence, sample_rate, trust.

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
    if not paths:
        raise AudioRestorerError(f"model {name}: {place}: no model files in this folder")
    for path in paths:
        if not path.is_file():
            raise AudioRestorerError(f"model {name}: {path}: no such file; the registry's `source` is {entry.source!r}")
    return [(path, _check(path, hashes.get(path.name), "it is damaged or another file")) for path in paths]


def _fetched(name: str, entry: EntrySettings, folder: Path) -> list[tuple[Path, str]]:
    return [_fetched_file(name, entry, file, folder / file.name) for file in entry.files]


def _fetched_file(name: str, entry: EntrySettings, file: FileSettings, path: Path) -> tuple[Path, str]:
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _download(entry, file, path)
        except Exception as error:  # the hub's client raises its own and requests' errors
            raise AudioRestorerError(_by_hand(name, entry, file, path.parent, error)) from error
    return path, _check(path, file, "delete it, then it is fetched again")


def _by_hand(name: str, entry: EntrySettings, file: FileSettings, folder: Path, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    size = f"about {file.size_mb:g} MB" if file.size_mb else "size unknown"
    sha256 = f"sha256 {file.sha256}{'' if len(file.sha256) == 64 else '...'}" if file.sha256 else "sha256 unknown"
    sha256 = f"md5 {file.md5}" if file.md5 and not file.sha256 else sha256
    return (
        f"model {name}: {file.name} could not be fetched from {entry.source} ({reason:.200}). With no network, put the file"
        f" {file.name} ({size}, {sha256}) into {folder}/ ; it is used from there. Licence: {entry.licence}."
    )


def _download(entry: EntrySettings, file: FileSettings, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    limit = int(min(MAX_BYTES, 2e6 * file.size_mb if file.size_mb else MAX_BYTES))
    try:
        if entry.source.startswith("hf:") and not file.url:
            _from_hub(entry.source.removeprefix("hf:"), file.name, temporary)
        else:
            _from_https(file.url or f"{entry.source.rstrip('/')}/{urllib.parse.quote(file.name)}", temporary, limit)
        _check(temporary, file, "the download is damaged")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _from_hub(name: str, file: str, target: Path) -> None:
    """A file of one of demucs' repositories on the Hugging Face hub, by demucs' own names."""
    from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name
    from huggingface_hub import hf_hub_download

    namespace, _, model = name.rpartition("/")
    shutil.copyfile(hf_hub_download(f"{namespace or DEFAULT_NAMESPACE}/{hf_repo_name(model)}", file), target)


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _from_https(url: str, target: Path, limit: int) -> None:
    opener = urllib.request.build_opener(_HttpsOnly)
    done = 0
    with opener.open(url, timeout=TIMEOUT_SEC) as answer, open(target, "wb") as out:
        while block := answer.read(BLOCK):
            done += len(block)
            if done > limit:
                raise AudioRestorerError(f"larger than {limit / 1e6:.0f} MB")
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    expected = answer.headers.get("Content-Length")
    if expected is not None and int(expected) != done:
        raise AudioRestorerError(f"{done} of {expected} bytes arrived")
