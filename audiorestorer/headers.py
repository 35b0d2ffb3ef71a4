"""What the headers of audio files say that libsndfile does not tell: where they disagree with what the file holds.

Layouts: RIFF and RF64 (EBU Tech 3306), MPEG audio (ISO 11172-3, ISO 13818-3), ID3v2 (id3.org), Ogg (RFC 3533). Headers alone are read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

UNKNOWN_BYTES = 0xFFFFFFFF  # of a data chunk whose writer could not seek back, and of RF64, where `ds64` holds the size
SCAN_BYTES = 1 << 16
MPEG_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by version bits
LAYER3_KBITS = {  # by the index in the header; MPEG 1, and MPEG 2 and 2.5
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def wav_sound_bytes(path: Path) -> tuple[int, int] | None:
    """(bytes that the `data` chunk claims, bytes that the file has for it) of a RIFF or RF64 file; None where no size is claimed."""
    large = None
    with open(path, "rb") as file:
        if file.read(4) not in (b"RIFF", b"RF64"):
            return None
        file.seek(12)
        while len(head := file.read(8)) == 8:
            size = int.from_bytes(head[4:], "little")
            if head[:4] == b"data":
                claimed = large if large is not None and size == UNKNOWN_BYTES else size
                held = os.fstat(file.fileno()).st_size - file.tell()
                return None if claimed == UNKNOWN_BYTES else (claimed, held)
            body = file.read(16) if head[:4] == b"ds64" else b""
            if len(body) == 16:
                large = int.from_bytes(body[8:], "little")
            file.seek(size + size % 2 - len(body), os.SEEK_CUR)
    return None


def mp3_samples(path: Path) -> tuple[int, int]:
    """(samples a channel in all Layer III frames, samples of the first frame), by walking from frame to frame; (0, 0): none.

    Encoder delay and padding are counted in. Between frames, what is none is skipped, as decoders do.
    """
    total, first = 0, 0
    with open(path, "rb") as file:
        start = file.read(10)
        file.seek(_id3_bytes(start))
        while len(head := file.read(4)) == 4:
            found = _mp3_frame(head)
            if found is None:
                if not _to_next_sync(file):
                    break
                continue
            size, samples = found
            total, first = total + samples, first or samples
            file.seek(size - 4, os.SEEK_CUR)
    return total, first


def _id3_bytes(start: bytes) -> int:
    if start[:3] != b"ID3" or len(start) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(start[6:10], (21, 14, 7, 0), strict=True))


def _mp3_frame(head: bytes) -> tuple[int, int] | None:
    """(bytes, samples) of the Layer III frame with this header, or None."""
    bits = int.from_bytes(head, "big")
    version, layer, rate, kbits = bits >> 19 & 3, bits >> 17 & 3, bits >> 10 & 3, bits >> 12 & 15
    if bits >> 21 != 0x7FF or version == 1 or layer != 1 or rate == 3 or kbits in (0, 15):
        return None
    samples = 1152 if version == 3 else 576
    bitrate = 1000 * LAYER3_KBITS[1 if version == 3 else 2][kbits]
    return samples // 8 * bitrate // MPEG_RATES[version][rate] + (bits >> 9 & 1), samples


def _to_next_sync(file: BinaryIO) -> bool:
    """Move to the next byte that may begin a frame header, one behind the four just read at the earliest; False: there is none."""
    file.seek(-3, os.SEEK_CUR)
    while block := file.read(SCAN_BYTES):
        place = block.find(b"\xff")
        if place >= 0:
            file.seek(place - len(block), os.SEEK_CUR)
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
