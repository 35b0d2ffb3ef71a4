"""Files that several modules read and write: atomic writing, JSON, JSON Lines, CSV, and names below a folder. No torch import."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from audiorestorer import tables
from audiorestorer.checking import json_object
from audiorestorer.errors import AudioRestorerError
from audiorestorer.names import as_text, is_text
from audiorestorer.temporaries import temporary_beside

RowType = TypeVar("RowType", bound=BaseModel)
MADE_AGAIN = "if a stage made it, delete it and run the same command: it is made again"
FORMULA = re.compile(r"'*[=+\-@\t\r]")


def inside(folder: Path, relative: str) -> Path:
    """The file below a folder that a relative path means.

    Raises:
        AudioRestorerError: it would lie outside of the folder.
    """
    if os.path.isabs(relative) or ".." in Path(relative).parts:
        raise AudioRestorerError(f"{relative!r}: lies outside of {folder}")
    return folder / relative


def named_from(path: Path, base: Path) -> str:
    """The name of a file in a manifest of the folder `base`: relative for what lies in it, else absolute."""
    path, base = path.resolve(), base.resolve()
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


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


def write_bytes_atomic(path: str | Path, content: bytes) -> None:
    """Write a file so that nothing half-written ever stands under its name."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write a text file (UTF-8) so that nothing half-written ever stands under its name."""
    write_bytes_atomic(path, text.encode("utf-8", "surrogateescape"))


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        AudioRestorerError: cannot be read, not JSON, a repeated key, or no object.
    """
    try:
        return json_object(Path(path).read_text(encoding="utf-8-sig"), str(path))
    except OSError as error:
        raise AudioRestorerError(f"{path}: cannot read: {error.strerror}") from error
    except UnicodeError as error:
        raise AudioRestorerError(f"{path}: not valid JSON: {error}; {MADE_AGAIN}") from error
    except AudioRestorerError as error:
        raise AudioRestorerError(f"{error}; {MADE_AGAIN}") from error


def write_json(path: str | Path, value: Mapping[str, Any], *, indent: int = 2, allow_nan: bool = True) -> None:
    """Write a JSON object for people to read, atomically."""
    write_text_atomic(path, json.dumps(value, indent=indent, allow_nan=allow_nan) + "\n")


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


def read_objects(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON Lines file with their line numbers. `read_rows` checks their fields, too.

    Raises:
        AudioRestorerError: cannot be read, or a line is no JSON object (names file, line and reason).
    """
    for number, line in read_lines(path):
        yield number, json_object(line, f"{path}:{number}")


def write_rows(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON Lines, atomically; no row at all is one blank line (never zero bytes).

    Raises:
        AudioRestorerError: a text that is not UTF-8; the file is left as it was.
    """
    lines = [text_line(path, json.dumps(row, ensure_ascii=False)) for row in rows]
    write_text_atomic(path, "".join(line + "\n" for line in lines) or "\n")


def text_line(path: str | Path, line: str) -> str:
    """The line; what no reader could take is not written."""
    if not is_text(line):
        raise AudioRestorerError(
            f"{path}: a row holds text that is not UTF-8: rename the file that it names: {as_text(line):.400}"
        )
    return line


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
    return text == text.strip()  # a tab before a number is no number to a spreadsheet


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
