"""The describing chunks of WAV files (broadcast extension, iXML, markers, labels, LIST INFO): taken as they are and put into another.

Layouts: EBU Tech 3285 (bext, version 2), EBU Tech 3306 (RF64), IBM & Microsoft 1991 (cue, LIST adtl, LIST INFO).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from audiorestorer.formats import headers
from audiorestorer.temporaries import temporary_beside

CARRIED = ("bext", "iXML", "axml", "cue ", "LIST", "smpl", "inst", "id3 ", "ID3 ", "_PMX", "umid")
BEFORE_SOUND = ("bext", "iXML", "umid")  # EBU Tech 3285 wants them there
MOST_BYTES = 32 << 20
SAID = {
    "bext": "broadcast extension (bext)", "iXML": "iXML", "axml": "ADM (axml)", "cue ": "markers (cue)", "smpl": "loops (smpl)",
    "_PMX": "XMP", "inst": "instrument (inst)", "umid": "UMID",
}  # fmt: skip
BEXT_BYTES = 602  # before the coding history
VERSION_AT, LOUDNESS_AT = 346, 412
UNSET = 0x7FFF
MODES = {1: "mono", 2: "stereo"}


@dataclass(frozen=True)
class Measured:
    """The output, for the broadcast extension: LUFS and dBTP (None: none), and the line of the coding history."""

    lufs: float | None
    peak_dbtp: float | None
    rate: int
    bits: int
    channels: int
    program: str

    @property
    def history(self) -> bytes:
        mode = MODES.get(self.channels, f"{self.channels} channels")
        return f"A=PCM,F={self.rate},W={self.bits},M={mode},T={self.program}\r\n".encode("ascii", "replace")


def described(path: Path) -> list[tuple[str, bytes]]:
    """The chunks of a RIFF or RF64 file that describe it, in their order; other files have none."""
    out: list[tuple[str, bytes]] = []
    left = MOST_BYTES
    with open(path, "rb") as file:
        for name, place, size in headers.chunks(file):
            if name in CARRIED and size <= left:
                file.seek(place)
                out.append((name, file.read(size)))
                left -= size
    return out


def names_of(chunks: list[tuple[str, bytes]]) -> list[str]:
    """What is lost of chunks where they are not carried: texts of LIST and id3 are carried as tags."""
    return list(dict.fromkeys(SAID[name] for name, _ in chunks if name in SAID))


def info_texts(content: bytes) -> list[tuple[str, bytes]]:
    """The (id, text) of a LIST INFO chunk's content."""
    out, place = [], 4
    while place + 8 <= len(content):
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        out.append((content[place : place + 4].decode("latin-1"), content[place + 8 : place + 8 + size].rstrip(b"\0")))
        place += 8 + size + size % 2
    return out


def info_chunk(texts: list[tuple[str, bytes]]) -> bytes:
    """The content of a LIST INFO chunk; empty for no texts."""
    parts = []
    for name, text in texts:
        body = text + b"\0"
        parts.append(name.encode("latin-1") + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2))
    return b"INFO" + b"".join(parts) if parts else b""


def takes_chunks(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) in (b"RIFF", b"RF64")


def insert(path: Path, chunks: list[tuple[str, bytes]], measured: Measured) -> None:
    """Put chunks into a WAV file that has none of them, the broadcast extension before the sound and the markers behind it."""
    with open(path, "rb") as file:
        head = file.read(12)
        parts = list(headers.chunks(file))
        sound = next(place for name, place, _ in parts if name == "data") - 8
        before, behind = b"", b""
        for name, content in chunks:
            body = _updated(content, measured) if name == "bext" else content
            chunk = name.encode("latin-1") + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)
            is_before = name in BEFORE_SOUND and head[:4] == b"RIFF"  # libsndfile finds no sound behind them in RF64
            before, behind = (before + chunk, behind) if is_before else (before, behind + chunk)
        size = os.fstat(file.fileno()).st_size + len(before) + len(behind) + (pad := (file.seek(0, os.SEEK_END)) % 2)
        temporary = temporary_beside(path)
        try:
            with open(temporary, "wb") as out:
                file.seek(12)
                start = file.read(sound - 12)
                if head[:4] == b"RF64":
                    at = start.index(b"ds64") + 8
                    start = start[:at] + (size - 8).to_bytes(8, "little") + start[at + 8 :]
                else:
                    head = head[:4] + (size - 8).to_bytes(4, "little") + head[8:]
                out.write(head + start + before)
                shutil.copyfileobj(file, out, 1 << 20)
                out.write(bytes(pad) + behind)
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _updated(content: bytes, measured: Measured) -> bytes:
    """A broadcast extension with the output's loudness (version 2 and later) and one more line in its coding history."""
    if len(content) < BEXT_BYTES:
        return content
    fixed, history = bytearray(content[:BEXT_BYTES]), content[BEXT_BYTES:].rstrip(b"\0")
    if int.from_bytes(fixed[VERSION_AT : VERSION_AT + 2], "little") >= 2:
        known = (
            measured.lufs,
            None,
            measured.peak_dbtp,
            None,
            None,
        )  # range, momentary and short-term are not measured
        for number, value in enumerate(known):
            coded = UNSET if value is None else max(-9999, min(9999, round(100 * value))) & 0xFFFF
            fixed[LOUDNESS_AT + 2 * number : LOUDNESS_AT + 2 * number + 2] = coded.to_bytes(2, "little")
    if history and not history.endswith(b"\n"):
        history += b"\r\n"
    return bytes(fixed) + history + measured.history
