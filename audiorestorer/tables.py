"""Tables that other programs wrote (TSV, CSV; Excel, Windows, old Macs) as rows, or refused with what to do.

The text is UTF-8, with or without a byte-order mark, or UTF-16 or UTF-32 with one. Cells are separated by tabs, commas, semicolons or
pipes, as the header line shows. A cell is quoted where it begins and ends with a quote and all quotes inside are doubled; any other
quote is text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audiorestorer.errors import AudioRestorerError

MAX_BYTES = 1 << 29
MAX_CELL = 1 << 17  # characters: more is a quote that nobody closed
DELIMITERS = ",\t;|"
SAVE = "save it as UTF-8 text (in Excel: CSV UTF-8)"
# UTF-32's mark begins with UTF-16's
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LINE_END = re.compile(r"\r\n|\r|\n")
SEPARATOR_LINE = re.compile(r'"?sep=([\t,;|])"?[\t,;| ]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)  # Excel's own
INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u202a\u202c\u2060"  # what copying from a dialog or page brings along


class Row(NamedTuple):
    """A line's number, from 1, and its cells by column. `too_many`: it has more cells than the header, and was not understood."""

    line: int
    cells: dict[str, str]
    too_many: bool


@dataclass(frozen=True)
class Table:
    """A header's columns, as they are called here, and the rows below it."""

    columns: list[str]
    rows: list[Row]


def encoding_of(head: bytes) -> str:
    """The encoding that a file's first bytes name; UTF-8 where they name none."""
    return next((name for mark, name in MARKS if head.startswith(mark)), "utf-8")


def read_text(path: str | Path) -> str:
    """A text file as a whole.

    Raises:
        AudioRestorerError: cannot be read, or is no text in an encoding that is known; names the line.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AudioRestorerError(f"{path}: cannot read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise AudioRestorerError(f"{path}: larger than {MAX_BYTES >> 20} MB: not a table")
    if content.startswith(b"PK\x03\x04"):
        raise AudioRestorerError(f"{path}: an Excel workbook or another zip, not text: {SAVE}")
    encoding = encoding_of(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise AudioRestorerError(f"{path}: {_undecodable(content, encoding, error)}: {SAVE}") from error
    if "\0" in text:
        line = len(LINE_END.findall(text[: text.index("\0")])) + 1
        raise AudioRestorerError(f"{path}: line {line}: a NUL character, so not UTF-8 text: {SAVE}")
    return text


def _undecodable(content: bytes, encoding: str, error: UnicodeDecodeError) -> str:
    if not encoding.startswith("utf-8"):
        return f"its first bytes say {encoding.upper()}, but it is not, or cut short"
    line = len(re.findall(rb"\r\n|\r|\n", content[: error.start])) + 1
    return f"line {line}: the byte 0x{content[error.start]:02x} is not UTF-8"


def read_table(path: str | Path, needed: Mapping[str, Sequence[str]]) -> Table:
    """The rows of a table with a header that are not blank. Columns in any letter case; cells without the spaces around them.

    Args:
        needed: columns that must be there, by the name that they get: what they may be called, the best first.

    Raises:
        AudioRestorerError: cannot be read, has no such columns (says what the header should be), or a cell is huge.
    """
    text = read_text(path)
    delimiter, header, body = _header(path, text, needed)
    columns = _columns(path, header, needed)
    rows = []
    for line, cells in body:
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        while len(cells) > len(columns) and not cells[-1]:
            cells.pop()
        named = {name: cell for name, cell in zip(columns, cells, strict=False) if name and cell}
        rows.append(Row(line, named, len(cells) > len(columns)))
    return Table(columns, rows)


def is_table(path: str | Path, needed: Mapping[str, Sequence[str]]) -> bool:
    """Whether a text's first line names these columns (as for `read_table`).

    Raises:
        AudioRestorerError: cannot be read as text.
    """
    text = read_text(path)
    try:
        _header(path, text, needed)
    except AudioRestorerError:
        return False
    return True


def read_exact(path: str | Path) -> list[dict[str, str]]:
    """The rows of a CSV with a header, names and cells as they stand.

    Raises:
        AudioRestorerError: cannot be read, or a row has another number of cells than the header.
    """
    text = read_text(path)
    _, header, body = _header(path, text, {})
    rows = []
    for line, cells in body:
        if len(cells) != len(header):
            raise AudioRestorerError(f"{path}: line {line}: {len(cells)} cells, the header has {len(header)}")
        rows.append(dict(zip(header, cells, strict=True)))
    return rows


Lines = Iterator[tuple[int, list[str]]]


def _header(path: str | Path, text: str, needed: Mapping[str, Sequence[str]]) -> tuple[str, list[str], Lines]:
    """The delimiter, the first line with text in it, and the lines below it."""
    said = SEPARATOR_LINE.match(text)
    start, before = (said.end(), 1) if said else (0, 0)
    headers = {}
    for delimiter in said[1] if said else DELIMITERS:
        lines = _lines(path, text, delimiter, start, before + 1)
        headers[delimiter] = next((cells for _, cells in lines if any(map(_plain, cells))), []), lines
    able = [mark for mark, (cells, _) in headers.items() if not _missing(cells, needed)]
    if not able:
        split = [mark for mark in "\t|;," if mark in headers and len(headers[mark][0]) > 1]
        delimiter = split[0] if split else next(iter(headers))
        raise AudioRestorerError(f"{path}: {_no_header(headers[delimiter][0], delimiter, needed)}")
    delimiter = max(able, key=lambda mark: len(headers[mark][0]))
    return delimiter, *headers[delimiter]


def _plain(name: str) -> str:
    """A column's name as it is compared: no quotes, spaces, marks and letter case."""
    return name.strip(INVISIBLE + " \t\xa0\"'").casefold()


def _missing(header: Sequence[str], needed: Mapping[str, Sequence[str]]) -> list[str]:
    have = {_plain(cell) for cell in header}
    return [name for name, known in needed.items() if not have & set(known)]


def _columns(path: str | Path, header: Sequence[str], needed: Mapping[str, Sequence[str]]) -> list[str]:
    """The columns by our names; the first of `needed`'s names that is there counts, others of them keep their own."""
    columns = [_plain(cell) for cell in header]
    for name, known in needed.items():
        column = next(each for each in known if each in columns)
        if columns.count(column) > 1:
            raise AudioRestorerError(f"{path}: its header has the column {column!r} twice")
        columns = [name if each == column else "" if each == name else each for each in columns]
    return columns


def _no_header(header: Sequence[str], delimiter: str, needed: Mapping[str, Sequence[str]]) -> str:
    wanted = " and ".join(
        f"{name} (or {', '.join(known[1:])})" if known[1:] else name for name, known in needed.items()
    )
    line = delimiter.join([*needed, *(f"column{n}" for n in range(len(needed) + 1, len(header) + 1))])
    if not header:
        return f"empty: its first line must name the columns {wanted}"
    first = delimiter.join(header)
    first = first if len(first) <= 60 else first[:60] + "..."
    return (
        f"its first line must name the columns {wanted}; it is {first!r}: rename its columns, or, if it has none,"
        f" write the line {line!r} above it"
    )


def _lines(path: str | Path, text: str, delimiter: str, at: int, number: int) -> Lines:
    """The lines that are not empty, as cells, from a place in the text on; `number` is the number of the first."""
    mark = re.escape(delimiter)
    quoted = re.compile(rf' *+"([^"]*+(?:""[^"]*+)*+)" *+(?=[{mark}\r\n]|\Z)')
    plain = re.compile(rf"[^{mark}\r\n]*+")
    while at < len(text):
        begin, cells, first = at, list[str](), number
        while True:
            match = quoted.match(text, at) if text[at : at + 1] in (" ", '"') else None
            if match and _is_cell(match[1], delimiter):
                cells.append(match[1].replace('""', '"'))
                number += len(LINE_END.findall(match[1]))
            else:
                match = plain.match(text, at)
                assert match
                cells.append(match[0])
            if len(cells[-1]) > MAX_CELL:
                raise AudioRestorerError(f"{path}: line {first}: a cell of more than {MAX_CELL} characters")
            at = match.end()
            if text[at : at + 1] != delimiter:
                break
            at += 1
        if at > begin:
            yield first, cells
        at += 2 if text.startswith("\r\n", at) else 1
        number += 1


def _is_cell(inside: str, delimiter: str) -> bool:
    """Texts with tabs or pipes between cells are seldom quoted: there, quotes that open in one row and close in another are speech."""
    return delimiter in ",;" or delimiter not in inside or not LINE_END.search(inside)
