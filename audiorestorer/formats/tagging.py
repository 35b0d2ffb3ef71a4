"""What a recording says of itself, written into a finished file of any format (`metadata` reads it)."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

from audiorestorer.formats import riff
from audiorestorer.formats.metadata import Metadata, Picture, names_in

MOST_FLAC_BYTES = (1 << 24) - 1024  # of a picture in a FLAC file
FREE = "----:com.apple.iTunes:"
WITHOUT_TAGS = (".w64", ".caf", ".au", ".snd")


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

    ids = names_in("info")
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

    frames = names_in("id3")
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

    atoms = names_in("mp4")
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
