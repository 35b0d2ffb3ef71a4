"""Writing Ogg Vorbis through libsndfile, reproducible to the byte.

libsndfile numbers a stream by the time of day; afterwards every page gets number 1 and its checksum (RFC 3533, 6) anew.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from audiorestorer.formats.writing import Writer

SFC_SET_VBR_ENCODING_QUALITY = 0x1300  # sndfile.h
# the encoder's quality and about how many kbit/s it takes for a channel
QUALITIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 250)
SERIAL = (1).to_bytes(4, "little")
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class VorbisWriter(Writer):
    """`Writer` for Ogg Vorbis. bit_rate: bit/s in all, about."""

    def __init__(self, path: str | Path, sample_rate: int, channels: int, bit_rate: int) -> None:
        super().__init__(path, sample_rate, channels, format="OGG", subtype="VORBIS")
        quality = float(np.interp(bit_rate / channels / 1000, KBITS, QUALITIES))
        self._command(SFC_SET_VBR_ENCODING_QUALITY, "double[]", [quality])

    def finish(self) -> None:
        with open(self._temporary, "rb+") as file:
            renumber(file)


def renumber(file: BinaryIO) -> None:
    """Give all pages of an Ogg file with one stream the same number."""
    file.seek(0)
    while len(head := file.read(27)) == 27 and head[:4] == b"OggS":
        sizes = file.read(head[26])
        begin = file.tell() - 27 - len(sizes)
        body = file.read(sum(sizes))
        page = head[:14] + SERIAL + head[18:22] + bytes(4) + head[26:] + sizes
        page = page[:22] + checksum(page + body).to_bytes(4, "little") + page[26:]
        file.seek(begin)
        file.write(page)
        file.seek(len(body), 1)


def checksum(page: bytes) -> int:
    """CRC-32 of polynomial 0x04C11DB7, most significant bit first, from 0: zlib's, of mirrored bytes and mirrored."""
    mirrored = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
