"""The sound of a file as its chunks declare it, and as the file holds it: RIFF, RF64, W64 and AIFF; and chains in Ogg files.

Layouts: RIFF and RF64 (EBU Tech 3306), BW64 (ITU-R BS.2088), W64 (Sony), AIFF (Apple), Ogg (RFC 3533). Headers alone are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

UNKNOWN_BYTES = 0xFFFFFFFF  # of a data chunk whose writer could not seek back, and of RF64, where `ds64` holds the size
# what writers that cannot seek back put for a size that they do not know, and those that seek back at the end put before
PLACEHOLDERS = (0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, UNKNOWN_BYTES)
MOST_CHUNKS = 100_000
MOST_FMT_BYTES = 4096
TAIL_BYTES = 1 << 16
TRAILING = (  # chunks that programs put behind the sound
    b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"axml", b"chna", b"cue ", b"smpl", b"inst", b"fact", b"PEAK", b"JUNK", b"junk",
    b"FLLR", b"PAD ", b"DISP", b"_PMX", b"afsp", b"plst", b"acid", b"LGWV", b"SAUR", b"umid", b"minf", b"elm1", b"regn",
)  # fmt: skip
CHUNK_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _-")


class Layout(NamedTuple):
    """A container's layout of chunks: bytes of an id and of a size, their order, what a size counts, alignment, the first one."""

    id_bytes: int
    size_bytes: int
    order: str
    counts_itself: bool
    align: int
    first: int


LITTLE, BIG = Layout(4, 4, "little", False, 2, 12), Layout(4, 4, "big", False, 2, 12)
SONY = Layout(16, 8, "little", True, 8, 40)
LAYOUTS = {b"RIFF": LITTLE, b"RF64": LITTLE, b"BW64": LITTLE, b"RIFX": BIG, b"FORM": BIG, b"riff": SONY}


@dataclass(frozen=True)
class Wave:
    """A file of chunks.

    `fmt` is the `fmt ` chunk's body as it stands in the file (of AIFF the `COMM` chunk's). Sound begins at byte `start`; the header
    counts `claimed` bytes of it, the file has `size` bytes in all. `outer_end` is where the outermost size says that the file ends.
    """

    form: bytes
    fmt: bytes
    start: int
    claimed: int
    size: int
    outer_end: int

    @property
    def held(self) -> int:
        return self.size - self.start

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.form]

    @property
    def block(self) -> int:
        """Bytes of a sample of all channels, or of a block of a compressed one."""
        return max(1, self._number(12, 2)) if self.form != b"FORM" else 1

    @property
    def tag(self) -> int:
        """The codec: 1 PCM, 3 float, 0xFFFE where more of `fmt` says it."""
        tag = self._number(0, 2)
        return self._number(24, 2) if tag == 0xFFFE and len(self.fmt) >= 26 else tag

    @property
    def rate(self) -> int:
        return self._number(4, 4)

    @property
    def bits(self) -> int:
        return self._number(14, 2)

    @property
    def bytes_per_sec(self) -> float:
        """Bytes per second of sound, as the header says; 0 where that makes no sense."""
        if self.form == b"FORM":
            frames, rate = int.from_bytes(self.fmt[2:6], "big"), _extended(self.fmt[8:18])
            return self.claimed / (frames / rate) if frames and rate else 0.0
        plain = self.rate * self.block
        return float(plain if self.tag in (1, 3, 6, 7) else self._number(8, 4) or plain)

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self.fmt[at : at + size], "big" if self.layout.order == "big" else "little")


def _extended(ten: bytes) -> float:
    """A rate as AIFF writes it: 80-bit IEEE 754."""
    exponent, mantissa = int.from_bytes(ten[:2], "big") & 0x7FFF, int.from_bytes(ten[2:10], "big")
    return mantissa * 2.0 ** (exponent - 16383 - 63) if exponent < 16500 else 0.0


def wave(file: BinaryIO) -> Wave | None:
    """The chunks of a file up to its sound; None: no such file, or no sound chunk behind a format that can be told."""
    head = file.read(40)
    form = head[:4]
    layout = LAYOUTS.get(form)
    if layout is None or len(head) < 12 or (form == b"FORM" and head[8:12] not in (b"AIFF", b"AIFC")):
        return None
    size = os.fstat(file.fileno()).st_size
    outer = _int(head[16:24] if layout is SONY else head[4:8], layout)
    fmt, large, place = b"", None, layout.first
    for _ in range(MOST_CHUNKS):
        chunk = _chunk(file, place, layout)
        if chunk is None:
            return None
        name, body, length = chunk
        if name in (b"data", b"SSND"):
            if not fmt:
                return None
            claimed = large if large is not None and length == UNKNOWN_BYTES else length
            if name == b"SSND":
                body, claimed = body + 8, claimed if claimed in PLACEHOLDERS else max(0, claimed - 8)
            return Wave(form, fmt, body, claimed, size, outer if layout is SONY else outer + 8)
        if name in (b"fmt ", b"COMM"):
            file.seek(body)
            fmt = file.read(min(length, MOST_FMT_BYTES))
        elif name == b"ds64":
            file.seek(body)
            sizes = file.read(16)
            if len(sizes) == 16:
                large, outer = _int(sizes[8:], layout), _int(sizes[:8], layout)
        place = body + length + -length % layout.align
    return None


def _int(number: bytes, layout: Layout) -> int:
    return int.from_bytes(number, "big" if layout.order == "big" else "little")


def _chunk(file: BinaryIO, place: int, layout: Layout) -> tuple[bytes, int, int] | None:
    """(first four letters of its id, first byte, bytes) of the chunk at a place; None: no whole chunk header."""
    file.seek(place)
    wanted = layout.id_bytes + layout.size_bytes
    head = file.read(wanted)
    if len(head) < wanted:
        return None
    length = _int(head[layout.id_bytes :], layout)
    return head[:4], place + wanted, max(0, length - wanted) if layout.counts_itself else length


def chunks(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """(id, first byte, bytes) of the chunks of a RIFF or RF64 file, in their order; other files have none."""
    file.seek(0)
    form, large = file.read(4), None
    layout = LAYOUTS[form] if form in (b"RIFF", b"RF64", b"BW64") else None
    place = layout.first if layout else 0
    for _ in range(MOST_CHUNKS if layout else 0):
        assert layout
        chunk = _chunk(file, place, layout)
        if chunk is None:
            break
        name, body, length = chunk
        if name == b"ds64":
            file.seek(body + 8)
            large = int.from_bytes(file.read(8), "little")
        if name == b"data" and length == UNKNOWN_BYTES and large is not None:
            length = large
        yield name.decode("latin-1"), body, length
        place = body + length + -length % layout.align


def is_chunks(file: BinaryIO, place: int, sound: Wave) -> bool:
    """Whether what stands from a byte to the file's end is chunks: a known one, or several that end where the file does."""
    for number in range(MOST_CHUNKS):
        if number and sound.size - 1 <= place <= sound.size + 1:
            return True
        chunk = _chunk(file, place, sound.layout)
        if chunk is None or not CHUNK_LETTERS.issuperset(chunk[0]):
            return False
        if chunk[0] in TRAILING and (number == 0 and sound.layout is not SONY):
            return True
        place = chunk[1] + chunk[2] + -chunk[2] % sound.layout.align
    return False


def trailing_chunks(file: BinaryIO, sound: Wave) -> int | None:
    """Where, in the file's last bytes, known chunks begin that end exactly where the file does."""
    if sound.layout is SONY:
        return None
    begin = max(sound.start, sound.size - TAIL_BYTES)
    file.seek(begin)
    tail = file.read()
    places = sorted({at for name in TRAILING for at in _all(tail, name)})
    return next((begin + at for at in places if _ends_right(tail, at, sound.layout)), None)


def _all(text: bytes, part: bytes) -> list[int]:
    places, at = [], text.find(part)
    while at >= 0:
        places.append(at)
        at = text.find(part, at + 1)
    return places


def _ends_right(tail: bytes, at: int, layout: Layout) -> bool:
    while at + 8 <= len(tail) and CHUNK_LETTERS.issuperset(tail[at : at + 4]):
        length = _int(tail[at + 4 : at + 8], layout)
        at += 8 + length + length % 2
        if at in (len(tail), len(tail) + 1):
            return True
    return False


def ogg_is_chained(path: Path) -> bool:
    """Whether a new logical stream begins after the sound of another (RFC 3533, 4): streams that begin together are no chain."""
    begun = False
    with open(path, "rb") as file:
        while len(head := file.read(27)) == 27 and head[:4] == b"OggS":
            is_first = bool(head[5] & 2)
            if is_first and begun:
                return True
            begun = begun or not is_first
            file.seek(sum(file.read(head[26])), os.SEEK_CUR)
    return False
