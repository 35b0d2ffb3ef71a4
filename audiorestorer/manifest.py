"""Manifests: one JSON Lines file a (stage, shard), one row an item. No torch import."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from audiorestorer.errors import AudioRestorerError

ID_MAX_CHARS = 120  # a file name of 255 bytes, less suffixes and a hash


class Item(BaseModel):
    """One row. `path` is what the last stage made; `noisy` stays the original input.

    `sr`, `channels` and `duration` are the input's and stay so through the whole chain; `sha256` is the content of `path`,
    `relative` is the input's path below the input folder, `conditions` what its transcript row says of it (voice, music, snr_db);
    `noisy_sha256` and `clean_sha256` that of the input and of its reference; `output` is the relative path of the cleaned file.
    `status` is `ok` or `rejected`; a rejected row carries `reason` and is passed on by every later stage.
    Fields that a stage adds beyond these (`stems`, `gain_db`, ...) are kept.
    """

    model_config = ConfigDict(extra="allow")

    id: str
    split: str = "render"
    clean: str | None = None
    noisy: str
    relative: str | None = None
    conditions: dict[str, str] | None = None
    sr: int | None = None
    duration: float | None = None
    path: str | None = None
    sha256: str | None = None
    channels: int | None = None
    noisy_sha256: str | None = None
    clean_sha256: str | None = None
    output: str | None = None
    transcript: str | None = None
    stems: dict[str, str] | None = None
    status: str = "ok"
    reason: str | None = None

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    def field(self, name: str) -> Any:
        """A field that a stage added, or None."""
        return (self.model_extra or {}).get(name)

    def updated(self, **changes: Any) -> Item:
        """A copy with these fields changed or added."""
        return Item.model_validate({**self.model_dump(), **changes})

    def rejected(self, reason: str) -> Item:
        return self.updated(status="rejected", reason=reason)


def shard_of(item_id: str, shards: int) -> int:
    """The shard of an item: a stable hash modulo `shards`, so that adding a file touches one shard only."""
    return int(hashlib.sha1(item_id.encode()).hexdigest(), 16) % shards


def item_id(relative: str, separator: str = "_") -> str:
    """A readable id of a relative path: `a/b/c.wav -> a_b_c`. Only letters, digits, `_`, `-` and `.` remain.

    Not unique by itself: `unique_ids` resolves collisions.
    """
    stem = unicodedata.normalize("NFC", os.path.splitext(relative)[0])
    name = separator.join(part for part in stem.split("/") if part)
    name = re.sub(r"[^\w.-]", "_", name).lstrip(".-") or "item"
    if len(name.encode()) > ID_MAX_CHARS:
        name = name.encode()[: ID_MAX_CHARS - 9].decode(errors="ignore") + "_" + short_hash(relative)
    return name


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def unique_ids(relatives: Sequence[str], separator: str = "_") -> dict[str, str]:
    """Ids of relative paths; those whose plain ids are equal (case folded too) all get a short hash of their path."""
    plain = {relative: item_id(relative, separator) for relative in relatives}
    count: dict[str, int] = {}
    for name in plain.values():
        count[name.casefold()] = count.get(name.casefold(), 0) + 1
    return {
        relative: name if count[name.casefold()] == 1 else f"{name}-{short_hash(relative)}"
        for relative, name in plain.items()
    }


def inside(folder: Path, relative: str) -> Path:
    """The file below a folder that a relative path means.

    Raises:
        AudioRestorerError: it would lie outside of the folder.
    """
    if os.path.isabs(relative) or ".." in Path(relative).parts:
        raise AudioRestorerError(f"{relative!r}: lies outside of {folder}")
    return folder / relative


def keep_inputs(targets: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raises AudioRestorerError: an output that would replace an input."""
    resolved = {path.resolve() for path in inputs}
    for target in targets:
        if target.resolve() in resolved:
            raise AudioRestorerError(f"{target}: the output would replace this input: choose another output folder")


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write a text file (UTF-8) so that nothing half-written ever stands under its name."""
    write_bytes_atomic(path, text.encode("utf-8", "surrogateescape"))


def write_bytes_atomic(path: str | Path, content: bytes) -> None:
    """Write a file so that nothing half-written ever stands under its name."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(path: str | Path, fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV, atomically; a field that a row lacks stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomic(path, text.getvalue())


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """The rows of a CSV with a header.

    Raises:
        AudioRestorerError: cannot be read.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AudioRestorerError(f"{path}: cannot read: {error}") from error


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        AudioRestorerError: cannot be read, not JSON, or no object.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise AudioRestorerError(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise AudioRestorerError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise AudioRestorerError(f"{path}: not a JSON object")
    return found


def write_manifest(path: str | Path, items: Iterable[Item]) -> None:
    """Write rows, sorted by id, atomically. An empty shard is a file with one comment-free blank line (never zero bytes)."""
    rows = sorted(items, key=lambda item: item.id)
    lines = [json.dumps(item.model_dump(exclude_none=True), ensure_ascii=True, sort_keys=True) for item in rows]
    write_text_atomic(path, "\n".join(lines) + "\n")


def read_manifest(path: str | Path) -> list[Item]:
    """Read rows.

    Raises:
        AudioRestorerError: the file is missing, or a line is no valid row (names file, line and reason), or an id stands twice.
    """
    items: list[Item] = []
    seen: set[str] = set()
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                item = Item.model_validate_json(line)
                if item.id in seen:
                    raise AudioRestorerError(f"{path}:{number}: id {item.id!r} stands twice")
                seen.add(item.id)
                items.append(item)
    except OSError as error:
        raise AudioRestorerError(f"{path}: cannot read the manifest: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AudioRestorerError(f"{path}: not UTF-8 text: {error.reason}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise AudioRestorerError(f"{path}:{number}: {where or 'row'}: {first['msg']}") from error
    return items


def shard_range(numbers: Iterable[int]) -> str:
    """Shard numbers as one short text, `[0-3,7]`: a command line cannot hold a path for each of many thousands."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return "[" + ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts) + "]"


def in_range(paths: Iterable[Path]) -> list[Path]:
    """Paths, of which those whose name is a `shard_range` and a suffix stand for each of its shards."""
    out: list[Path] = []
    for path in paths:
        found = re.fullmatch(r"\[(\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)\](\.\w+)", path.name)
        if not found:
            out.append(path)
            continue
        for part in found[1].split(","):
            first, _, last = part.partition("-")
            out += [path.with_name(f"{number}{found[2]}") for number in range(int(first), int(last or first) + 1)]
    return out


def read_manifests(paths: Iterable[str | Path]) -> list[Item]:
    """The rows of several shards, sorted by id."""
    return sorted((item for path in paths for item in read_manifest(path)), key=lambda item: item.id)
