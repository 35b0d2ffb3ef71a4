"""The files that a run leaves out, counted and named: one sentence per kind, for the log, metrics.json and the report's first page."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypedDict

from audiorestorer.names import in_line

FIRST = 3  # names that a sentence gives
MOST_SUFFIXES = 12
# the suffixes of recordings, by what decodes them: libsndfile, or FFmpeg (`formats.containers`)
_SNDFILE = "wav flac ogg mp3 aif aifc aiff au bwf caf mp2 mpa oga opus rf64 snd w64 wave"
_FFMPEG = """
    3g2 3gp aac ac3 adts amr ape asf avi awb dff dsf dts f4a flv m2ts m4a m4b m4p m4r m4v mka mkv mov mp4 mpc mpeg mpg mts ra rm tta
    vob weba webm wma wmv wv
"""
_OTHER_AUDIO = "aa aax alac dss eac3 gsm m4u mpga ogv ogx qta sd2 spx tak ts voc vox"
TAKEN = tuple(f".{name}" for name in [*_SNDFILE.split(), *_FFMPEG.split()])
OTHER_AUDIO = frozenset(f".{name}" for name in _OTHER_AUDIO.split())


class LeftOut(TypedDict):
    """`kind` names it for programs, `first` are up to three of the `count` names, `text` is a sentence for people."""

    kind: str
    count: int
    first: list[str]
    text: str


# {n} names, {first} of them, {suffixes} by number, in the folder or file {where}: of one, of several
SENTENCES = {
    "format": (
        "{n} audio or video file of a format that is not taken was left out: {suffixes} ({first}): convert it to WAV or FLAC",
        "{n} audio or video files of formats that are not taken were left out: {suffixes} ({first}): convert them to WAV or FLAC",
    ),
    "other": (
        "{n} other file, no recording, was left out: {suffixes} ({first})",
        "{n} other files, no recordings, were left out: {suffixes} ({first})",
    ),
    "link": (
        "{n} link to a folder was not followed ({first}): copy the folder into the input, or make it an input of its own",
        "{n} links to folders were not followed ({first}): copy the folders into the input, or make each an input of its own",
    ),
    "closed": (
        "{n} folder cannot be read ({first})",
        "{n} folders cannot be read ({first})",
    ),
    "reference_missing": (
        "{n} recording has no reference in {where} ({first})",
        "{n} recordings have no reference in {where} ({first})",
    ),
    "reference_ambiguous": (
        "{n} recording has no reference because more than one pair fits alike ({first})",
        "{n} recordings have no reference because more than one pair fits alike ({first})",
    ),
    "reference_unmatched": (
        "{n} reference in {where} belongs to no recording ({first})",
        "{n} references in {where} belong to no recording ({first})",
    ),
    "reference_format": (
        "{n} file in {where} is of a format that is not taken: {suffixes} ({first}): convert it to WAV or FLAC",
        "{n} files in {where} are of formats that are not taken: {suffixes} ({first}): convert them to WAV or FLAC",
    ),
    "reference_unreadable": (
        "{n} folder in {where} cannot be read ({first})",
        "{n} folders in {where} cannot be read ({first})",
    ),
    "transcript_missing": (
        "{n} recording has no transcript in {where} ({first})",
        "{n} recordings have no transcript in {where} ({first})",
    ),
    "transcript_ambiguous": (
        "{n} recording has no transcript because its rows in {where} contradict each other or fit others alike ({first})",
        "{n} recordings have no transcript because their rows in {where} contradict each other or fit others alike ({first})",
    ),
    "transcript_unmatched": (
        "{n} row of {where} belongs to no recording ({first})",
        "{n} rows of {where} belong to no recording ({first})",
    ),
    "transcript_row": (
        "{n} row of {where} was not used: it has more cells than the header ({first}): put its text in quotes",
        "{n} rows of {where} were not used: they have more cells than the header ({first}): put their texts in quotes",
    ),
    "transcript_repeated": (
        "{n} row of {where} says what another one says ({first})",
        "{n} rows of {where} say what others say ({first})",
    ),
    "pattern": (
        "{n} recording does not match pattern and exclude ({first})",
        "{n} recordings do not match pattern and exclude ({first})",
    ),
    "table_unused": (
        "{where} has {n} table that is not used ({first}): if it holds the transcripts, set transcripts=FILE",
        "{where} has {n} tables that are not used ({first}): if one holds the transcripts, set transcripts=FILE",
    ),
}


def left_out(kind: str, names: Sequence[str], where: str | os.PathLike[str] = "") -> list[LeftOut]:
    """One entry with its sentence, or none where there are no names."""
    if not names:
        return []
    first = [in_line(name) for name in names[:FIRST]]
    text = SENTENCES[kind][len(names) > 1].format(
        n=len(names),
        first=("first: " if len(names) > FIRST else "") + ", ".join(first),
        suffixes=by_suffix(names),
        where=in_line(os.path.basename(os.path.normpath(where))),
    )
    return [LeftOut(kind=kind, count=len(names), first=first, text=text)]


def suffix_of(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def by_suffix(names: Iterable[str]) -> str:
    """`.m4a 2, .aac 1`, the most frequent first."""
    counts = sorted(Counter(map(suffix_of, names)).items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [f"{in_line(suffix) or 'no suffix'} {count}" for suffix, count in counts[:MOST_SUFFIXES]]
    return ", ".join([*shown, "..."] if len(counts) > len(shown) else shown)


def of_formats(names: Iterable[str]) -> list[LeftOut]:
    """Files that are no recordings by their suffix: audio and video of formats that are not taken, and all others."""
    every = sorted(names)
    audio = [name for name in every if suffix_of(name) in OTHER_AUDIO]
    others = [name for name in every if suffix_of(name) not in OTHER_AUDIO]
    return [*left_out("format", audio), *left_out("other", others)]


def instead(names: Iterable[str]) -> str:
    """The files of a folder without a recording, and how to convert them: the end of an error's sentence; empty for no files."""
    every = sorted(names)
    audio = [name for name in every if suffix_of(name) in OTHER_AUDIO]
    if not every:
        return ""
    if not audio:
        return f"; it holds other files: {by_suffix(every)}"
    suffixes = Counter(map(suffix_of, audio))
    held = ", ".join(
        f"{count} {in_line(suffix)} file{'s' if count > 1 else ''}"
        for suffix, count in sorted(suffixes.items(), key=lambda pair: (-pair[1], pair[0]))
    )
    name = os.path.basename(audio[0])
    example = shlex.join(["ffmpeg", "-i", name, f"{os.path.splitext(name)[0]}.flac"])
    return f"; it holds {held}: convert {'it' if len(audio) == 1 else 'them'}, e.g. `{in_line(example)}`"
