"""Manifests: one JSON Lines file a (stage, shard), one row an item. No torch import."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
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


def folded(name: str) -> str:
    """What two names have in common that some file systems take for one: case and Unicode's composed and decomposed forms aside."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def unique_ids(relatives: Sequence[str], separator: str = "_") -> dict[str, str]:
    """Ids of relative paths; those whose plain ids are equal (case folded too) all get a short hash of their path."""
    plain = {relative: item_id(relative, separator) for relative in relatives}
    count = Counter(folded(name) for name in plain.values())
    return {
        relative: name if count[folded(name)] == 1 else f"{name}-{short_hash(relative)}"
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


def temporary_beside(path: Path) -> Path:
    """A hidden name in the same folder for a file that is being written; short, whatever the length of the final name."""
    return path.with_name(f".{short_hash(path.name)}.{os.getpid()}.tmp")


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write a text file (UTF-8) so that nothing half-written ever stands under its name."""
    write_bytes_atomic(path, text.encode("utf-8", "surrogateescape"))


def write_bytes_atomic(path: str | Path, content: bytes) -> None:
    """Write a file so that nothing half-written ever stands under its name."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


FORMULA = re.compile(r"'*[=+\-@\t\r]")


def cell(value: Any) -> Any:
    """A CSV cell that no spreadsheet takes for a formula: a text that begins like one gets an apostrophe (undone by `plain_cell`)."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) and not _is_number(value) else value


def plain_cell(text: str) -> str:
    """The text that `cell` was given."""
    return text[1:] if text.startswith("'") and FORMULA.match(text[1:]) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def write_csv(path: str | Path, fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV, atomically; a field that a row lacks stays empty. Texts as `cell`."""
    lines = _Lines()
    writer = csv.DictWriter(lines, fields, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    write_text_atomic(path, "".join(lines))


class _Lines(list[str]):
    """Rows that end in a line feed alone. The writer is told of both characters, or it would not quote a text with the other."""

    def write(self, row: str) -> None:
        self.append(row.removesuffix("\r\n") + "\n")


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """The rows of a CSV with a header, with the texts that `write_csv` was given.

    Raises:
        AudioRestorerError: cannot be read.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return [
                {name: plain_cell(value) if isinstance(value, str) else value for name, value in row.items()}
                for row in csv.DictReader(file)
            ]
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


def read_manifests(paths: Iterable[str | Path]) -> list[Item]:
    """The rows of several shards, sorted by id."""
    return sorted((item for path in paths for item in read_manifest(path)), key=lambda item: item.id)
