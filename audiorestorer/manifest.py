"""Manifests: one JSON Lines file a (stage, shard), one row an item. No torch import."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from audiorestorer import tables
from audiorestorer.errors import AudioRestorerError
from audiorestorer.names import as_text, is_text

RowType = TypeVar("RowType", bound=BaseModel)
MADE_AGAIN = "if a stage made it, delete it and run the same command: it is made again"
ESCAPED_SURROGATE = "\\ud"
ID_MAX_CHARS = 120  # a file name of 255 bytes, less suffixes and a hash


class Item(BaseModel):
    """One row. `path` is what the last stage made; `noisy` stays the original input.

    `sr`, `channels` and `duration` are the input's and stay so through the whole chain; `sha256` is the content of `path`,
    `relative` is the input's path below the input folder, `conditions` what its transcript row says of it (voice, music, snr_db);
    `noisy_sha256` and `clean_sha256` that of the input and of its reference; `output` is the relative path of the cleaned file.
    `status` is `ok` or `rejected`; a rejected row carries `reason` and is passed on by every later stage.
    `notes` says what a user should know of a row that went through: a sentence per kind (`header`, `reference`, `loudness`, `speech`).
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
    notes: dict[str, str] | None = None

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    def field(self, name: str) -> Any:
        """A field that a stage added, or None."""
        return (self.model_extra or {}).get(name)

    def updated(self, **changes: Any) -> Item:
        """A copy with these fields changed or added; `notes` are added to those that the row has."""
        if self.notes and "notes" in changes:
            changes["notes"] = {**self.notes, **(changes["notes"] or {})}
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


def output_names(wanted: Mapping[str, str]) -> dict[str, str]:
    """Outputs by their input's relative path, no two alike (case folded too).

    Args:
        wanted: those of each input by itself. Where several inputs want one name, they keep their suffix in it
            (`a.ogg -> a.ogg.flac`); what still collides gets a short hash of its input's path.
    """
    names = dict(wanted)
    for hashed in (False, True):
        crowd = Counter(name.casefold() for name in names.values())
        for relative, name in names.items():
            if crowd[name.casefold()] > 1:
                names[relative] = f"{relative}{f'-{short_hash(relative)}' if hashed else ''}{Path(name).suffix}"
    return names


def inside(folder: Path, relative: str) -> Path:
    """The file below a folder that a relative path means.

    Raises:
        AudioRestorerError: it would lie outside of the folder.
    """
    if os.path.isabs(relative) or ".." in Path(relative).parts:
        raise AudioRestorerError(f"{relative!r}: lies outside of {folder}")
    return folder / relative


def temporary_beside(path: Path) -> Path:
    """A hidden name in the same folder for a file that is being written; short, whatever the length of the final name."""
    return path.with_name(f".{short_hash(path.name)}.{os.getpid()}.tmp")


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write a text file (UTF-8) so that nothing half-written ever stands under its name."""
    write_bytes_atomic(path, text.encode("utf-8", "surrogateescape"))


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary name beside a file (its folder is made): written there, it takes the file's place, or is removed by an exception."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:  # a write that fails names no file
        raise OSError(error.errno, error.strerror, str(path)) from error
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


def write_bytes_atomic(path: str | Path, content: bytes) -> None:
    """Write a file so that nothing half-written ever stands under its name."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


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
        AudioRestorerError: cannot be read, or a row has another number of cells than the header.
    """
    return [{name: plain_cell(value) for name, value in row.items()} for row in tables.read_exact(path)]


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        AudioRestorerError: cannot be read, not JSON, or no object.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise AudioRestorerError(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise AudioRestorerError(f"{path}: not valid JSON: {error}; {MADE_AGAIN}") from error
    if not isinstance(found, dict):
        raise AudioRestorerError(f"{path}: not a JSON object; {MADE_AGAIN}")
    return found


def write_json(path: str | Path, value: Mapping[str, Any], *, indent: int = 2, allow_nan: bool = True) -> None:
    """Write a JSON object for people to read, atomically."""
    write_text_atomic(path, json.dumps(value, indent=indent, allow_nan=allow_nan) + "\n")


def write_rows(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON Lines, atomically; no row at all is one blank line (never zero bytes).

    Raises:
        AudioRestorerError: a text that is not UTF-8; the file is left as it was.
    """
    lines = [_text_line(path, json.dumps(row, ensure_ascii=False)) for row in rows]
    write_text_atomic(path, "".join(line + "\n" for line in lines) or "\n")


def _text_line(path: str | Path, line: str) -> str:
    """The line; what no reader could take is not written."""
    if not is_text(line):
        raise AudioRestorerError(
            f"{path}: a row holds text that is not UTF-8: rename the file that it names: {as_text(line):.400}"
        )
    return line


def named_from(path: Path, base: Path) -> str:
    """How a manifest in the folder `base` names a file: relative for what lies in it, else absolute."""
    path, base = path.resolve(), base.resolve()
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


def write_manifest(path: str | Path, items: Iterable[Item]) -> None:
    """Write rows, sorted by id, atomically. An empty shard is a file with one comment-free blank line (never zero bytes).

    Raises:
        AudioRestorerError: a text that is not UTF-8; the file is left as it was.
    """
    rows = [item.model_dump(exclude_none=True) for item in sorted(items, key=lambda item: item.id)]
    lines = [json.dumps(row, ensure_ascii=True, sort_keys=True) for row in rows]
    for row, line in zip(rows, lines, strict=True):
        if ESCAPED_SURROGATE in line:  # of a character beyond the first 65,536, or of a byte that is no UTF-8
            _text_line(path, json.dumps(row, ensure_ascii=False))
    write_text_atomic(path, "\n".join(lines) + "\n")


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The lines of a JSON Lines file with their numbers, from 1; blank ones are left out.

    Raises:
        AudioRestorerError: cannot be read.
    """
    try:
        with open(path, "rb") as file:
            encoding = tables.encoding_of(file.read(4))
        with open(path, encoding=encoding) as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except OSError as error:
        raise AudioRestorerError(f"{path}: cannot read the manifest: {error.strerror}") from error
    except UnicodeError as error:
        reason = getattr(error, "reason", error)
        raise AudioRestorerError(
            f"{path}: cannot read the manifest: not UTF-8 text: {reason}: save it as UTF-8"
        ) from error


def read_rows(path: str | Path, kind: type[RowType]) -> Iterator[tuple[int, RowType]]:
    """The rows of a JSON Lines file with their line numbers.

    Raises:
        AudioRestorerError: cannot be read, or a line is no valid row (names file, line and field).
    """
    for number, line in read_lines(path):
        try:
            yield number, kind.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "row"
            raise AudioRestorerError(f"{path}:{number}: {where}: {first['msg']}") from error


def read_manifest(path: str | Path) -> list[Item]:
    """Read rows.

    Raises:
        AudioRestorerError: the file is missing, or a line is no valid row (names file, line and reason), or an id stands twice.
    """
    items: dict[str, Item] = {}
    try:
        for number, item in read_rows(path, Item):
            if item.id in items:
                raise AudioRestorerError(f"{path}:{number}: id {item.id!r} stands twice")
            items[item.id] = item
        if not os.path.getsize(path):
            raise AudioRestorerError(f"{path}: an empty file is no manifest")
    except AudioRestorerError as error:
        raise AudioRestorerError(f"{error}; {MADE_AGAIN}") from error
    return list(items.values())


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
