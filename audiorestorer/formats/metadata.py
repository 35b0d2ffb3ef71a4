"""What a recording says of itself (title, artist, cover, chapters, time code, markers), in one form, from any format and into any.

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
from io import BytesIO
from pathlib import Path
from typing import Any

from audiorestorer.apart import apart
from audiorestorer.errors import AudioRestorerError, MachineError
from audiorestorer.formats import riff

MOST_BYTES = 32 << 20  # of all pictures and chunks
MOST_TEXT = 1 << 16
MOST_FLAC_BYTES = (1 << 24) - 1024  # of a picture in a FLAC file
LONGEST_SEC = 1_000_000.0
MEMORY_BYTES, CPU_SEC = 1 << 29, 60
# ID3v2.4 frame, MP4 atom, LIST INFO and ASF/APE names of the texts that all formats have
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
FREE = "----:com.apple.iTunes:"
COVER = 3  # ID3's number for the front cover
ID3_CHUNKS = ("id3 ", "ID3 ")
CHAPTER = re.compile(r"chapter(\d{3})(name)?")
WITHOUT_TAGS = (".w64", ".caf", ".au", ".snd")


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
    try:
        return apart(lambda: _read(path), MEMORY_BYTES, CPU_SEC)
    except MachineError:
        raise
    except AudioRestorerError as error:
        return Metadata(), f"its tags could not be read: {error}"


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
    names = {one[3]: one[0] for one in NAMES if one[3]} if name == "LIST" and content[:4] == b"INFO" else {}
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
        names = {one[4]: one[0] for one in NAMES if one[4]}
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
    names = {one[1]: one[0] for one in NAMES if one[1]}
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

    names = {one[2]: one[0] for one in NAMES if one[2]}
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


def write(path: Path, given: Metadata, measured: riff.Measured) -> str | None:
    """Write into a finished file; a sentence about what this format does not carry, or None. Chapters of M4A the encoder writes.

    Args:
        measured: what the broadcast extension says of the output.
    """
    import mutagen

    texts, pictures, chapters = given.texts, given.pictures, given.chapters
    if riff.takes_chunks(path):
        riff.insert(path, _as_chunks(given), measured)
        return None
    lost = riff.names_of(given.chunks)
    if path.suffix.lower() == ".flac" and any(len(one.content) > MOST_FLAC_BYTES for one in pictures):
        pictures = [one for one in pictures if len(one.content) <= MOST_FLAC_BYTES]
        lost.append("a picture of more than 16 MB")
    file: Any = None if path.suffix.lower() in WITHOUT_TAGS else mutagen.File(path)
    if file is not None:
        _put(file, texts, pictures, chapters)
    else:
        lost += [f"tags ({', '.join(sorted(texts))})"] if texts else []
        lost += [name for name, there in (("cover", pictures), ("chapters", chapters)) if there]
    return f"not in the output: {', '.join(lost)}" if lost else None


def _as_chunks(given: Metadata) -> list[tuple[str, bytes]]:
    """As the chunks of a WAV file: those that it had; other texts as LIST INFO and ID3, for programs know the one or the other."""
    from mutagen.id3 import ID3

    ids = {one[0]: one[3] for one in NAMES if one[3]}
    has_info = any(name == "LIST" and content[:4] == b"INFO" for name, content in given.chunks)
    out = list(given.chunks)
    if not has_info and (
        info := riff.info_chunk(
            [(ids[name], values[0].encode()) for name, values in given.texts.items() if name in ids]
        )
    ):
        out.append(("LIST", info))
    plain = has_info and all(name in ids and len(values) == 1 for name, values in given.texts.items())
    if given.pictures or given.chapters or (given.texts and not plain):
        tags, content = ID3(), BytesIO()
        _put_id3(tags, given.texts, given.pictures, given.chapters)
        tags.save(content)
        out.append(("id3 ", content.getvalue()))
    return out


def _put(
    file: Any, texts: dict[str, list[str]], pictures: list[Picture], chapters: list[tuple[float, float, str]]
) -> None:
    import mutagen.id3
    import mutagen.mp4

    if file.tags is None:
        file.add_tags()
    tags = file.tags
    if isinstance(tags, mutagen.id3.ID3):
        _put_id3(tags, texts, pictures, chapters)
    elif isinstance(tags, mutagen.mp4.MP4Tags):
        _put_mp4(tags, texts, pictures)
    else:
        _put_comments(file, texts, pictures, chapters)
    file.save()


def _put_id3(
    tags: Any, texts: dict[str, list[str]], pictures: list[Picture], chapters: list[tuple[float, float, str]]
) -> None:
    from mutagen import id3

    frames = {one[0]: one[1] for one in NAMES if one[1]}
    for name, values in texts.items():
        kind = frames.get(name)
        if kind == "COMM":
            tags.add(id3.COMM(encoding=3, lang="und", desc="", text=values))
        elif kind == "USLT":
            tags.add(id3.USLT(encoding=3, lang="und", desc="", text="\n".join(values)))
        elif kind:
            tags.add(getattr(id3, kind)(encoding=3, text=values))
        else:
            tags.add(id3.TXXX(encoding=3, desc=name, text=values))
    for number, picture in enumerate(pictures):
        tags.add(
            id3.APIC(
                encoding=3,
                mime=picture.mime,
                type=picture.kind,
                desc="" if number == 0 else str(number),
                data=picture.content,
            )
        )
    for number, (start, end, title) in enumerate(chapters):
        tags.add(
            id3.CHAP(
                element_id=f"chp{number}", start_time=round(1000 * start), end_time=round(1000 * end), start_offset=0xFFFFFFFF,
                end_offset=0xFFFFFFFF, sub_frames=[id3.TIT2(encoding=3, text=[title])],
            )
        )  # fmt: skip
    if chapters:
        ids = [f"chp{number}" for number in range(len(chapters))]
        tags.add(id3.CTOC(element_id="toc", flags=3, child_element_ids=ids, sub_frames=[]))


def _put_mp4(tags: Any, texts: dict[str, list[str]], pictures: list[Picture]) -> None:
    from mutagen import mp4

    atoms = {one[0]: one[2] for one in NAMES if one[2]}
    for name, values in texts.items():
        atom = atoms.get(name)
        if atom in ("trkn", "disk"):
            numbers = [_number(part) for part in f"{values[0]}/0".split("/")[:2]]
            if any(numbers):
                tags[atom] = [tuple(numbers)]
                continue
        elif atom == "tmpo":
            if _number(values[0]):
                tags[atom] = [_number(values[0])]
                continue
        elif atom == "pcst":
            tags[atom] = True
            continue
        elif atom:
            tags[atom] = values
            continue
        tags[f"{FREE}{name.encode('latin-1', 'replace').decode('latin-1')}"] = [
            mp4.MP4FreeForm(value.encode()) for value in values
        ]
    formats = {
        "image/png": mp4.MP4Cover.FORMAT_PNG,
        "image/jpeg": mp4.MP4Cover.FORMAT_JPEG,
        "image/jpg": mp4.MP4Cover.FORMAT_JPEG,
    }
    covers = [mp4.MP4Cover(one.content, formats[one.mime.lower()]) for one in pictures if one.mime.lower() in formats]
    if covers:
        tags["covr"] = covers


def _number(text: str) -> int:
    """A number of 16 bits; 0 for what is none."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 1 << 16 else 0


def _put_comments(
    file: Any, texts: dict[str, list[str]], pictures: list[Picture], chapters: list[tuple[float, float, str]]
) -> None:
    """Vorbis comments; chapters as players read them (CHAPTER001=hh:mm:ss.sss, CHAPTER001NAME=...)."""
    from mutagen import flac

    for name, values in texts.items():
        clean = "".join(char for char in name if 0x20 <= ord(char) < 0x7E and char != "=")
        if clean:
            file.tags[clean] = values
    for number, (start, _, title) in enumerate(chapters, 1):
        hours, rest = divmod(start, 3600)
        file.tags[f"chapter{number:03d}"] = [f"{int(hours):02d}:{int(rest // 60):02d}:{rest % 60:06.3f}"]
        file.tags[f"chapter{number:03d}name"] = [title]
    blocks = []
    for one in pictures:
        block = flac.Picture()
        block.mime, block.type, block.data = one.mime, one.kind, one.content
        blocks.append(block)
    if isinstance(file, flac.FLAC):
        for block in blocks:
            file.add_picture(block)
    elif blocks:
        file.tags["metadata_block_picture"] = [base64.b64encode(block.write()).decode("ascii") for block in blocks]
