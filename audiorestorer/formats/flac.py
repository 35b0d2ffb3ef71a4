"""The end of a FLAC stream (RFC 9639): how many samples the file holds, by its last whole frame, whatever its header counts.

The last bytes alone are read. A frame is believed by both of its checksums.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

INFO_BYTES = 42  # the mark, the first block's header and STREAMINFO
TAIL_BYTES = 1 << 18
MOST_FRAME_BYTES = 1 << 17  # of a frame whose checksum is made in Python
RATES = (0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
TOTAL_BITS = 36


@dataclass(frozen=True)
class Info:
    """STREAMINFO, as the header says. `total` is samples per channel, 0 where the writer could not tell."""

    head: bytes
    block: int
    rate: int
    total: int

    def with_total(self, total: int) -> bytes:
        """The file's first bytes with another count."""
        word = int.from_bytes(self.head[18:26], "big") >> TOTAL_BITS << TOTAL_BITS | total
        return self.head[:18] + word.to_bytes(8, "big") + bytes(16)  # no checksum of the sound: it may be another's


def info(head: bytes) -> Info | None:
    """The stream's own words in its first bytes; None: not laid out as a FLAC begins."""
    if len(head) < INFO_BYTES or head[:4] != b"fLaC" or head[4] & 0x7F or head[5:8] != b"\0\0\x22":
        return None
    word = int.from_bytes(head[18:26], "big")
    block = int.from_bytes(head[8:10], "big") if head[8:10] == head[10:12] else 0
    return Info(head[:INFO_BYTES], block, word >> 44, word & (1 << TOTAL_BITS) - 1)


def held(file: BinaryIO, said: Info) -> tuple[int, int] | None:
    """(samples per channel up to the end of the last whole frame, the byte where it ends); None: no whole frame in the last bytes."""
    length = os.fstat(file.fileno()).st_size
    begin = max(INFO_BYTES, length - TAIL_BYTES)
    file.seek(begin)
    tail = file.read()
    if tail[-128:-125] == b"TAG":  # ID3v1
        tail = tail[:-128]
    until = len(tail)
    for place in _places(tail):
        total = _frame(tail[place : place + 16], said)
        if total is None:
            continue
        if until - place <= MOST_FRAME_BYTES and crc16(tail[place:until]) == 0:
            return total, begin + until
        until = place
    return None


def _places(tail: bytes) -> list[int]:
    """Places where a frame may begin, the last one first."""
    places = []
    place = tail.rfind(b"\xff")
    while place >= 0:
        if tail[place + 1 : place + 2] in (b"\xf8", b"\xf9"):
            places.append(place)
        place = tail.rfind(b"\xff", 0, place)
    return places


def _frame(head: bytes, said: Info) -> int | None:
    """The number of the first sample behind the frame with this header; None: no frame of this stream."""
    if len(head) < 6:
        return None
    size_code, rate_code, variable = head[2] >> 4, head[2] & 15, head[1] & 1
    number, at = _number(head, 4)
    if number is None or size_code == 0 or rate_code == 15 or head[3] & 1:
        return None
    if 0 < rate_code < 12 and RATES[rate_code] != said.rate:
        return None
    size = 192 if size_code == 1 else 576 << size_code - 2 if size_code < 6 else 256 << max(0, size_code - 8)
    if size_code in (6, 7):  # written behind the number, in one byte or two
        extra = size_code - 5
        size = int.from_bytes(head[at : at + extra], "big") + 1
        at += extra
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if at >= len(head) or crc8(head[:at]) != head[at] or (not variable and not said.block):
        return None
    return (number if variable else number * said.block) + size


def _number(head: bytes, at: int) -> tuple[int | None, int]:
    """The frame's or sample's number (coded as UTF-8 codes characters), and where it ends."""
    lead = head[at]
    if lead < 0x80:
        return lead, at + 1
    more = next((k for k in range(1, 7) if lead >> (6 - k) & 1 == 0), 0)
    rest = head[at + 1 : at + 1 + more]
    if lead < 0xC0 or len(rest) < more or any(byte >> 6 != 2 for byte in rest):
        return None, at
    value = lead & (1 << 6 - more) - 1
    for byte in rest:
        value = value << 6 | byte & 0x3F
    return value, at + 1 + more


def _table(width: int, polynomial: int) -> tuple[int, ...]:
    top, mask = 1 << width - 1, (1 << width) - 1
    table = []
    for byte in range(256):
        value = byte << width - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return tuple(table)


TABLE8, TABLE16 = _table(8, 0x07), _table(16, 0x8005)


def crc8(content: bytes) -> int:
    value = 0
    for byte in content:
        value = TABLE8[value ^ byte]
    return value


def crc16(content: bytes) -> int:
    """0 for a frame with its checksum."""
    value = 0
    for byte in content:
        value = (value << 8 & 0xFFFF) ^ TABLE16[value >> 8 ^ byte]
    return value
