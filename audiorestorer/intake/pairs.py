"""Partners of recordings: the clean reference and the transcript that belong to a file of the input, and which found none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from audiorestorer.config import Config
from audiorestorer.errors import AudioRestorerError
from audiorestorer.intake.matching import TIDIED, Match, Names, alike, partners
from audiorestorer.left_out import OTHER_AUDIO, TAKEN, LeftOut, left_out, suffix_of
from audiorestorer.names import in_line, is_text
from audiorestorer.tables import Row, read_table

REFERENCE_SUFFIXES = (
    ".flac",
    *(suffix for suffix in TAKEN if suffix != ".flac"),
)  # where there are several, the first counts
TEXT_COLUMN = ("transcript", "text", "sentence", "transcription")
COLUMNS = {"path": ("path", "file", "filename", "file_name", "audio", "wav"), "transcript": TEXT_COLUMN}
NOT_AUTO = ("transcripts.csv", "transcripts.txt", "transcript.tsv", "transcript.csv", "metadata.csv", "metadata.tsv")
TOLD = 3


def companions(config: Config) -> tuple[Path | None, Path | None]:
    """The folder of references and the transcripts file that the config means, with `auto` resolved; None where there is none."""
    beside = Path(config.input).parent
    references = beside / "clean" if config.references == "auto" else config.references
    transcripts = beside / "transcripts.tsv" if config.transcripts == "auto" else config.transcripts
    clean = Path(references) if references else None
    text = Path(transcripts) if transcripts else None
    if config.references != "auto" and clean is not None and not clean.is_dir():
        raise AudioRestorerError(f"references: {clean}: no such folder")
    if config.transcripts != "auto" and text is not None and not text.is_file():
        raise AudioRestorerError(f"transcripts: {text}: no such file")
    return (clean if clean and clean.is_dir() else None), (text if text and text.is_file() else None)


def unused_tables(config: Config) -> list[str]:
    """Tables beside the input that may hold its transcripts and are not read unasked."""
    if config.transcripts != "auto" or companions(config)[1]:
        return []
    return [name for name in NOT_AUTO if (Path(config.input).parent / name).is_file()]


class References(NamedTuple):
    """Reference files by recording, and why a recording has none although some fit; files that belong to no recording, that are of
    another format, and folders that cannot be read."""

    of: dict[str, Path]
    unclear: dict[str, str]
    unmatched: list[str]
    formats: list[str]
    closed: list[str]


def references_of(folder: Path | None, recordings: Sequence[str], passed_over: Sequence[str] = ()) -> References:
    """The clean reference of each recording, by relative paths: the same one, of any audio suffix.

    Args:
        passed_over: recordings that are there and no part of the run: what belongs to them is not called unmatched.
    """
    if folder is None:
        return References({}, {}, [], [], [])
    files, formats, closed = _below(str(folder))
    names = Names(files, REFERENCE_SUFFIXES)
    matches = partners(recordings, names)
    used = {name for match in matches.values() for name in (match.partner, *match.several)}
    spare = [name for name in files if name not in used]
    if spare and passed_over:
        elsewhere = {name for one in passed_over for name in _meant(names.find(one))}
        spare = [name for name in spare if name not in elsewhere]
    return References(
        {name: folder / match.partner for name, match in matches.items() if match.partner is not None},
        {name: _unclear(match) for name, match in matches.items() if match.several},
        sorted(spare),
        sorted(formats),
        sorted(closed),
    )


def of_references(references: References, recordings: Sequence[str], folder: Path | None) -> list[LeftOut]:
    """The files without a partner, in sentences; empty where no references were asked for."""
    if folder is None:
        return []
    missing = [name for name in recordings if name not in references.of and name not in references.unclear]
    return [
        *left_out("reference_missing", missing, folder),
        *left_out("reference_ambiguous", sorted(references.unclear), folder),
        *left_out("reference_unmatched", references.unmatched, folder),
        *left_out("reference_format", references.formats, folder),
        *left_out("reference_unreadable", references.closed, folder),
    ]


def _meant(match: Match) -> tuple[str, ...]:
    return match.several if match.partner is None else (match.partner,)


def _unclear(match: Match) -> str:
    if match.rivals:
        return f"no reference: {listed(match.several)} fits {listed(match.rivals)} alike"
    return f"no reference: {listed(match.several)} fit its name alike"


def listed(names: Sequence[str]) -> str:
    """`a, b and c`, for a sentence."""
    shown = [in_line(name) for name in names[:TOLD]]
    shown += [f"{len(names) - TOLD} more"] if len(names) > TOLD else []
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def _below(root: str) -> tuple[list[str], list[str], list[str]]:
    """Below a folder, links followed: recordings, files of other audio formats, and folders that cannot be read."""
    files, formats, closed = list[str](), list[str](), list[str]()
    todo, seen = [""], set[tuple[int, int]]()
    while todo:
        prefix = todo.pop()
        try:
            state = os.stat(os.path.join(root, prefix))
            with os.scandir(os.path.join(root, prefix)) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".") and is_text(entry.name)]
        except OSError:
            closed.append(prefix or ".")
            continue
        if (state.st_dev, state.st_ino) in seen:
            continue  # a link to a folder above
        seen.add((state.st_dev, state.st_ino))
        for entry in visible:
            suffix = suffix_of(entry.name)
            if _is_folder(entry):
                todo.append(f"{prefix}{entry.name}/")
            elif suffix in REFERENCE_SUFFIXES and _is_file(entry):
                files.append(prefix + entry.name)
            elif suffix in OTHER_AUDIO:
                formats.append(prefix + entry.name)
    return files, formats, closed


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


class Transcripts(NamedTuple):
    """A row's cells by recording (`transcript`, where it has one, and other columns); why a recording has no text although rows fit;
    rows that belong to no recording, have more cells than the header, or say what another says."""

    of: dict[str, dict[str, str]]
    unclear: dict[str, str]
    unmatched: list[Row]
    too_long: list[Row]
    repeated: list[Row]


def transcripts_of(
    table: Path | None, recordings: Iterable[str], source: str | Path = "", passed_over: Sequence[str] = ()
) -> Transcripts:
    """The rows of a table with the columns `path` and `transcript` (or what else they are called: COLUMNS) that belong to recordings.

    Args:
        source: the folder or zip of the recordings: paths in the table may begin with it, or with any path that ends in its name.
        passed_over: as for `references_of`.

    Raises:
        AudioRestorerError: cannot be read, or no such columns.
    """
    if table is None:
        return Transcripts({}, {}, [], [], [])
    try:
        rows = read_table(table, COLUMNS).rows
    except AudioRestorerError as error:
        raise AudioRestorerError(f"transcripts: {error}") from error
    names, folders = Names(recordings), _names_of(Path(source))
    transcripts = Transcripts({}, {}, [], [row for row in rows if row.too_many], [])
    claims: dict[str, list[tuple[int, Row]]] = {}
    others: list[Row] = []
    for row in rows:
        if row.too_many:
            continue
        match = names.find(row.cells.get("path", ""), folders)
        if match.partner is not None:
            claims.setdefault(match.partner, []).append((max(match.step, TIDIED), row))
        elif not match.several:
            others.append(row)
        for name in match.several:
            transcripts.unclear[name] = (
                f"no transcript: {shown(row)} of {in_line(table.name)} fits {listed(match.several)} alike"
            )
    for name, rivals in claims.items():
        others += _settled(name, rivals, table, transcripts)
    for name in transcripts.of.keys() & transcripts.unclear.keys():
        if "transcript" in transcripts.of[name]:
            del transcripts.unclear[name]
    outside = Names(passed_over)
    others = [row for row in others if not any(_meant(outside.find(row.cells.get("path", ""), folders)))]
    transcripts.unmatched.extend(sorted(others, key=lambda row: row.line))
    return transcripts


def _settled(name: str, rivals: list[tuple[int, Row]], table: Path, transcripts: Transcripts) -> list[Row]:
    """Choose among the rows that mean a recording, and note it in `found`; returns those that a better spelling leaves without one."""
    strictest = min(step for step, _ in rivals)
    best = [row for step, row in rivals if step == strictest]
    with_text = [row for row in best if "transcript" in row.cells]
    taken = (with_text or best)[0]
    cells = {key: cell for key, cell in taken.cells.items() if key != "path"}
    texts = {row.cells["transcript"] for row in with_text}
    if len(texts) > 1:
        number = "two" if len(texts) == 2 else str(len(texts))
        lines = listed([str(row.line) for row in with_text])
        transcripts.unclear[name] = f"no transcript: {number} different ones in {in_line(table.name)}, lines {lines}"
        del cells["transcript"]
    transcripts.of[name] = cells
    spare = list[Row]()
    for step, row in rivals:
        if row is not taken and (len(texts) < 2 or step > strictest):
            same = step == strictest or row.cells.get("transcript") in texts
            (transcripts.repeated if same else spare).append(row)
    return spare


def of_transcripts(transcripts: Transcripts, recordings: Sequence[str], table: Path | None) -> list[LeftOut]:
    """The rows and recordings without a partner, in sentences; empty where there are no transcripts."""
    if table is None:
        return []
    silent = [
        name
        for name in recordings
        if "transcript" not in transcripts.of.get(name, {}) and name not in transcripts.unclear
    ]
    return [
        *left_out("transcript_missing", silent, table),
        *left_out("transcript_ambiguous", sorted(transcripts.unclear), table),
        *left_out("transcript_unmatched", [shown(row) for row in transcripts.unmatched], table),
        *left_out("transcript_row", [f"line {row.line}" for row in transcripts.too_long], table),
    ]


def shown(row: Row) -> str:
    """The name of a row in a sentence."""
    return f"{row.cells.get('path', 'no path')} (line {row.line})"


def _names_of(source: Path) -> set[str]:
    """The names of a folder or zip that a path may begin with, as `alike` writes them."""
    every = {source.name, source.resolve().name}
    every |= {Path(name).stem for name in every if name.lower().endswith(".zip")}
    return {alike(name) for name in every if name}
