"""What a recording says of itself (title, artist, cover, chapters, time code, markers), in one form; `tagging` writes it.

Names of texts are those of Vorbis comments (`title`, `artist`, `tracknumber`, ...). Text tags and pictures go through mutagen; chunks
of a WAV file (broadcast extension, iXML, markers) stay as they are (`riff`). Gains for players (ReplayGain, R128) are dropped: after
normalising they are wrong.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

from audiorestorer.apart import apart
from audiorestorer.errors import AudioRestorerError, MachineError
from audiorestorer.formats import headers, riff

MOST_BYTES = 32 << 20  # of all pictures and chunks
MOST_TEXT = 1 << 16
LONGEST_SEC = 1_000_000.0
MEMORY_BYTES, CPU_SEC = 1 << 29, 60
FORMATS = ("id3", "mp4", "info", "asf")  # ID3v2.4 frames, MP4 atoms, LIST INFO, ASF
# a text's name, and that of each of these formats; empty: it has none
NAMES: tuple[tuple[str, str, str, str, str], ...] = (
    ("title", "TIT2", "\xa9nam", "INAM", "Title"), ("artist", "TPE1", "\xa9ART", "IART", "Author"),
    ("album", "TALB", "\xa9alb", "IPRD", "WM/AlbumTitle"), ("albumartist", "TPE2", "aART", "", "WM/AlbumArtist"),
    ("date", "TDRC", "\xa9day", "ICRD", "WM/Year"), ("genre", "TCON", "\xa9gen", "IGNR", "WM/Genre"),
    ("tracknumber", "TRCK", "trkn", "ITRK", "WM/TrackNumber"), ("discnumber", "TPOS", "disk", "", "WM/PartOfSet"),
    ("composer", "TCOM", "\xa9wrt", "IMUS", "WM/Composer"), ("copyright", "TCOP", "cprt", "ICOP", "Copyright"),
    ("comment", "COMM", "\xa9cmt", "ICMT", "Description"), ("lyrics", "USLT", "\xa9lyr", "", "WM/Lyrics"),
    ("organization", "TPUB", "", "", "WM/Publisher"), ("isrc", "TSRC", "", "ISRC", "WM/ISRC"),
    ("language", "TLAN", "", "ILNG", "WM/Language"),
    ("grouping", "TIT1", "\xa9grp", "", "WM/ContentGroupDescription"), ("subtitle", "TIT3", "", "", "WM/SubTitle"),
    ("bpm", "TBPM", "tmpo", "", "WM/BeatsPerMinute"), ("conductor", "TPE3", "", "", "WM/Conductor"),
    ("lyricist", "TEXT", "", "IWRI", "WM/Writer"),
    ("description", "", "desc", "", ""), ("podcast", "", "pcst", "", ""), ("encodedby", "TENC", "", "ITCH", "WM/EncodedBy"),
)  # fmt: skip
OF_PROGRAMS = ("encoder", "encodersettings", "encoding", "itunsmpb", "itunnorm", "isft", "software", "tsse", "vendor")
GAINS = ("replaygain", "r128_", "rva2", "itunnorm", "mp3gain")
COVER = 3  # ID3's number for the front cover
ID3_CHUNKS = ("id3 ", "ID3 ")
CHAPTER = re.compile(r"chapter(\d{3})(name)?")


def names_in(format: str) -> dict[str, str]:
    """Of the texts that a format of `FORMATS` has a name for: our name -> its name."""
    column = 1 + FORMATS.index(format)
    return {one[0]: one[column] for one in NAMES if one[column]}


def names_of(format: str) -> dict[str, str]:
    """The other way: the format's name -> ours."""
    return {theirs: ours for ours, theirs in names_in(format).items()}


@dataclass
class Picture:
    """`kind` is ID3's number (3: front cover)."""

    mime: str
    kind: int
    content: bytes


@dataclass
class Metadata:
    """`texts`: name -> values. `chapters`: (start s, end s, title). `chunks`: (id, content) of a RIFF file, in their order."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    chapters: list[tuple[float, float, str]] = field(default_factory=list)
    chunks: list[tuple[str, bytes]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.texts or self.pictures or self.chapters or self.chunks)

    def to_json(self) -> dict[str, Any]:
        return {
            "texts": self.texts,
            "pictures": [[one.mime, one.kind, base64.b64encode(one.content).decode()] for one in self.pictures],
            "chapters": [list(one) for one in self.chapters],
            "chunks": [[name, base64.b64encode(content).decode()] for name, content in self.chunks],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Metadata:
        return cls(
            {name: list(texts) for name, texts in value["texts"].items()},
            [Picture(mime, kind, base64.b64decode(content)) for mime, kind, content in value["pictures"]],
            [(start, end, title) for start, end, title in value["chapters"]],
            [(name, base64.b64decode(content)) for name, content in value["chunks"]],
        )


def read(path: Path) -> tuple[Metadata, str | None]:
    """What a recording says of itself, and a sentence about what could not be read. In a process of its own: a tag may inflate to more
    than any memory."""
    if _is_ours(path):
        return _read(path)
    _load()
    try:
        return apart(lambda: _read(path), MEMORY_BYTES, CPU_SEC)
    except MachineError:
        raise
    except AudioRestorerError as error:
        return Metadata(), f"its tags could not be read: {error}"


def _is_ours(path: Path) -> bool:
    """A WAV file without an ID3 chunk: what it says is read here, within bounds, and not by mutagen."""
    with open(path, "rb") as file:
        names = [name for name, _, _ in headers.chunks(file)]
    return bool(names) and not any(name in ID3_CHUNKS for name in names)


@cache
def _load() -> None:
    """Import here what the processes would each import."""
    for name in ("aiff", "apev2", "asf", "flac", "id3", "mp3", "mp4", "oggflac", "oggopus", "oggvorbis", "wave"):
        import_module(f"mutagen.{name}")


def _read(path: Path) -> tuple[Metadata, str | None]:
    found = Metadata()
    problem = None
    try:
        chunks = riff.described(path)
        found.chunks = [(name, content) for name, content in chunks if name not in ID3_CHUNKS]
        for name, content in chunks:
            _add(found.texts, _of_chunk(name, content, found))
        if not riff.takes_chunks(path):
            _add(found.texts, _of_tags(path, found))
    except MemoryError:
        raise
    except Exception as error:  # a tag is anybody's bytes, and mutagen raises what it meets
        problem = f"its tags could not all be read ({type(error).__name__})"
    found.pictures = [
        Picture(one.mime if one.mime.isascii() else "image/jpeg", one.kind if 0 <= one.kind <= 20 else 0, one.content)
        for one in found.pictures
    ]
    found.chapters = [(start, end, title) for start, end, title in found.chapters if 0 <= start <= end <= LONGEST_SEC]
    if sum(len(one.content) for one in found.pictures) + sum(len(content) for _, content in found.chunks) > MOST_BYTES:
        found.pictures, found.chunks = [], []
        problem = f"its pictures and chunks are larger than {MOST_BYTES >> 20} MB and were left out"
    return found, problem


def _add(texts: dict[str, list[str]], more: Iterable[tuple[str, str]]) -> None:
    for name, text in more:
        name, text = name.strip().lower(), text.replace("\0", "").strip()[:MOST_TEXT]
        if not name or not text or name in OF_PROGRAMS or name.startswith(GAINS):
            continue
        values = texts.setdefault(name, [])
        if text not in values:
            values.append(text)


def _of_chunk(name: str, content: bytes, found: Metadata) -> list[tuple[str, str]]:
    """The texts of a LIST INFO or ID3 chunk."""
    from mutagen.id3 import ID3

    if name in ID3_CHUNKS:
        return _of_id3(ID3(BytesIO(content)), found)
    names = names_of("info") if name == "LIST" and content[:4] == b"INFO" else {}
    return [(names[id_], _decoded(text)) for id_, text in riff.info_texts(content) if id_ in names]


def _decoded(text: bytes) -> str:
    """UTF-8, or what Windows wrote before."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace")


def _of_tags(path: Path, found: Metadata) -> list[tuple[str, str]]:
    import mutagen
    import mutagen.asf
    import mutagen.id3
    import mutagen.mp4

    file: Any = mutagen.File(path)
    tags = None if file is None else file.tags
    if tags is None:
        return []
    if isinstance(tags, mutagen.id3.ID3):
        return _of_id3(tags, found)
    length = float(file.info.length)
    if isinstance(tags, mutagen.mp4.MP4Tags):
        found.chapters = _mp4_chapters(file)
        return _of_mp4(tags, found)
    if isinstance(tags, mutagen.asf.ASFTags):
        names = names_of("asf")
        return [(names[name], str(value)) for name, value in tags if name in names]
    for picture in getattr(file, "pictures", []):
        found.pictures.append(Picture(picture.mime, picture.type, picture.data))
    return _of_comments(tags, found, length)


def _of_comments(tags: Any, found: Metadata, length: float) -> list[tuple[str, str]]:
    """Vorbis comments, and APE tags, whose names are nearly the same."""
    import mutagen.flac

    out: list[tuple[str, str]] = []
    starts: dict[str, list[str]] = {}
    same = {"year": "date", "track": "tracknumber", "disc": "discnumber", "album artist": "albumartist"}
    for name in tags.keys():  # noqa: SIM118 (mutagen's own mapping)
        values = tags[name]
        lower = same.get(name.lower(), name.lower())
        if lower == "metadata_block_picture":
            for text in values:
                try:
                    picture = mutagen.flac.Picture(base64.b64decode(text))
                except (binascii.Error, mutagen.MutagenError):
                    continue
                found.pictures.append(Picture(picture.mime, picture.type, picture.data))
        elif chapter := CHAPTER.fullmatch(lower):
            starts.setdefault(chapter[1], ["", ""])[bool(chapter[2])] = str(values[0])
        elif not lower.startswith(("cover art", "waveformatextensible")):
            out += [(lower, str(text)) for text in ([values] if isinstance(values, str) else values)]
    times = [(_seconds(time), title) for _, (time, title) in sorted(starts.items())]
    found.chapters = _closed([(time, title) for time, title in times if time is not None], length)
    return out


def _seconds(text: str) -> float | None:
    """Of `hh:mm:ss.sss`."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", text)
    return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]) if match else None


def _of_id3(tags: Any, found: Metadata) -> list[tuple[str, str]]:
    names = names_of("id3")
    out: list[tuple[str, str]] = []
    for frame in tags.values():
        kind = frame.FrameID
        if kind == "APIC":
            found.pictures.append(Picture(frame.mime, int(frame.type), frame.data))
        elif kind == "TXXX":
            out += [(frame.desc, str(text)) for text in frame.text]
        elif kind == "CHAP":
            title = next((str(sub) for sub in frame.sub_frames.values() if sub.FrameID == "TIT2"), "")
            found.chapters.append((frame.start_time / 1000, frame.end_time / 1000, title))
        elif kind == "USLT":
            out.append(("lyrics", frame.text))
        elif kind in names and not (kind == "COMM" and frame.desc.startswith("iTun")):
            out += [(names[kind], str(text)) for text in frame.text]
    found.chapters.sort()
    return out


def _of_mp4(tags: Any, found: Metadata) -> list[tuple[str, str]]:
    import mutagen.mp4

    names = names_of("mp4")
    out: list[tuple[str, str]] = []
    for name, values in tags.items():
        if name == "covr":
            for cover in values:
                png = cover.imageformat == mutagen.mp4.MP4Cover.FORMAT_PNG
                found.pictures.append(Picture("image/png" if png else "image/jpeg", COVER, bytes(cover)))
        elif name in ("trkn", "disk"):
            out += [(names[name], f"{one}/{of}" if of else str(one)) for one, of in values]
        elif name.startswith("----:"):
            out += [(name.split(":")[-1], bytes(value).decode("utf-8", "replace")) for value in values]
        elif name in names:
            out += [(names[name], str(value)) for value in (values if isinstance(values, list) else [values])]
    return out


def _mp4_chapters(file: Any) -> list[tuple[float, float, str]]:
    marks = list(file.chapters or [])
    return _closed([(float(mark.start), mark.title) for mark in marks], float(file.info.length))


def _closed(starts: list[tuple[float, str]], length: float) -> list[tuple[float, float, str]]:
    """Chapters that end where the next one begins, the last one with the recording."""
    ends = [start for start, _ in starts[1:]] + [length]
    return [(start, end, title) for (start, title), end in zip(starts, ends, strict=True)] if starts else []
