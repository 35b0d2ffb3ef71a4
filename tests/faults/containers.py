"""Audio files as bytes, so that single header fields can be set to anything: RIFF/WAVE, FLAC, Ogg Vorbis and MP3.

Layouts: Microsoft's "Multimedia Programming Interface" (1991) for RIFF; EBU Tech 3306 for RF64; RFC 9639 for FLAC; RFC 3533 and the
Vorbis I specification for Ogg; ISO 11172-3 for MPEG audio; id3.org's ID3v2.3.0 for tags.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import soundfile as sf

from audiorestorer.formats.writing import SFC_SET_ADD_PEAK_CHUNK

RATE = 16_000
SECONDS = 0.6
FRAMES = int(RATE * SECONDS)


def voice(seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """A gliding harmonic tone in syllables with a little noise, `[T]`, peak below 0.5."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(130 + 25 * np.sin(2 * np.pi * 0.9 * time)) / rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 12)) * (np.sin(2 * np.pi * 3 * time) > -0.5)
    return 0.15 * tone + 0.01 * np.random.default_rng(0).standard_normal(len(time))


def encoded(x: np.ndarray, rate: int, format: str, subtype: str | None = None) -> bytes:
    """A file's bytes by libsndfile, the same each time; `x` is `[T]` or `[T, C]`."""
    file = io.BytesIO()
    channels = x.shape[1] if x.ndim > 1 else 1
    with sf.SoundFile(file, "w", rate, channels, subtype, format=format) as out:
        binding: Any = sf
        binding._snd.sf_command(out._file, SFC_SET_ADD_PEAK_CHUNK, binding._ffi.NULL, 0)  # it holds the time of day
        out.write(x)
    return with_serial(file.getvalue(), 1) if format == "OGG" else file.getvalue()


def with_serial(content: bytes, serial: int) -> bytes:
    """An Ogg file whose pages all have this serial number (libsndfile draws one at random)."""
    start = 0
    while start < len(content):
        size = 27 + content[start + 26] + sum(content[start + 27 : start + 27 + content[start + 26]])
        content = with_page_crc(patched(content, start + 14, 4, serial), start)
        start += size
    return content


def pcm16(x: np.ndarray) -> bytes:
    return (np.clip(x, -1, 1) * 32767).astype("<i2").tobytes()


WAV_FIELDS = {  # name: (offset, bytes) of a plain 44-byte header
    "riff_id": (0, 4), "riff_size": (4, 4), "wave_id": (8, 4), "fmt_id": (12, 4), "fmt_size": (16, 4), "tag": (20, 2),
    "channels": (22, 2), "rate": (24, 4), "byte_rate": (28, 4), "block_align": (32, 2), "bits": (34, 2),
    "data_id": (36, 4), "data_size": (40, 4),
}  # fmt: skip


def wav(data: bytes, *, tag: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, **fields: int) -> bytes:
    """A WAV of any `fmt ` values. `fields` set raw fields of WAV_FIELDS afterwards."""
    align = channels * bits // 8
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, tag & 0xFFFF, channels & 0xFFFF,
                       rate & 0xFFFFFFFF, (rate * align) & 0xFFFFFFFF, align & 0xFFFF, bits & 0xFFFF, b"data", len(data))  # fmt: skip
    whole = bytearray(head + data)
    for name, value in fields.items():
        offset, size = WAV_FIELDS[name]
        whole[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(whole)


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    """A RIFF chunk; `size` may lie."""
    return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def riff(*chunks: bytes, form: bytes = b"RIFF", size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return form + struct.pack("<I", len(body) if size is None else size) + body


def fmt(tag: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, more: bytes = b"") -> bytes:
    align = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits) + more)


def rf64(data: bytes, *, data_size: int, samples: int, riff_size: int | None = None) -> bytes:
    """RF64 whose `ds64` chunk claims what is given."""
    ds64 = struct.pack("<QQQI", data_size + 72 if riff_size is None else riff_size, data_size, samples, 0)
    body = chunk(b"ds64", ds64) + fmt() + chunk(b"data", data, 0xFFFFFFFF)
    return riff(body, form=b"RF64", size=0xFFFFFFFF)


FLAC_FIELDS = {  # name: (bit offset, bits); the bits before 64 are the mark and STREAMINFO's block header
    "mark": (0, 32), "last_and_type": (32, 8), "length": (40, 24), "min_block": (64, 16), "max_block": (80, 16),
    "min_frame": (96, 24), "max_frame": (120, 24), "rate": (144, 20), "channels": (164, 3), "bits": (167, 5),
    "total": (172, 36), "md5": (208, 128),
}  # fmt: skip


def with_bits(content: bytes, offset: int, count: int, value: int) -> bytes:
    """The bytes with `count` bits from bit `offset` (most significant first) set to a value."""
    end = -(-(offset + count) // 8)
    begin = offset // 8
    word = int.from_bytes(content[begin:end], "big")
    shift = end * 8 - offset - count
    mask = ((1 << count) - 1) << shift
    word = (word & ~mask) | (value << shift & mask)
    return content[:begin] + word.to_bytes(end - begin, "big") + content[end:]


def crc8(content: bytes) -> int:
    """FLAC's frame header checksum, polynomial x^8 + x^2 + x + 1."""
    value = 0
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value


def crc16(content: bytes) -> int:
    """FLAC's frame checksum, polynomial x^16 + x^15 + x^2 + 1."""
    value = 0
    for byte in content:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x8005) & 0xFFFF if value & 0x8000 else value << 1
    return value


def utf8_number(number: int) -> bytes:
    """FLAC's coding of a frame number (UTF-8, up to 31 bits)."""
    if number < 0x80:
        return bytes([number])
    tail = []
    limit = 0x40
    while number >= limit:
        tail.append(0x80 | number & 0x3F)
        number >>= 6
        limit = 0x20 if limit == 0x40 else limit >> 1
    lead = 0x100 - 2 * limit
    return bytes([lead | number, *reversed(tail)])


def flac_silence(seconds: float, rate: int = 8_000, block: int = 65_535) -> bytes:
    """Mono 16-bit FLAC of zeros in constant subframes: 14 bytes a block of up to 65,535 samples."""
    frames = int(seconds * rate) // block
    info = struct.pack(">HH", block, block) + bytes(6)
    info += ((rate << 44) | (0 << 41) | (15 << 36) | frames * block).to_bytes(8, "big") + bytes(16)
    parts = [b"fLaC", b"\x80\0\0\x22", info]
    for number in range(frames):
        head = b"\xff\xf8\x70\x08" + utf8_number(number) + struct.pack(">H", block - 1)
        frame = head + bytes([crc8(head)]) + b"\0\0\0"  # a constant subframe of value 0
        parts.append(frame + struct.pack(">H", crc16(frame)))
    return b"".join(parts)


def flac_block(kind: int, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return bytes([kind]) + size.to_bytes(3, "big") + body


def ogg_crc(page: bytes) -> int:
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if value & 0x80000000 else value << 1
    return value


OGG_PAGE_FIELDS = {  # of the first page; its checksum is left as it was, so that the reader must notice
    "capture": (0, 4), "version": (4, 1), "type": (5, 1), "granule": (6, 8), "serial": (14, 4), "sequence": (18, 4),
    "checksum": (22, 4), "segments": (26, 1), "lacing": (27, 1),
}  # fmt: skip
VORBIS_FIELDS = {  # of the identification header; the page's checksum is made anew, so that the decoder gets to see it
    "packet_type": (28, 1), "vorbis": (29, 6), "vorbis_version": (35, 4), "channels": (39, 1), "rate": (40, 4),
    "bitrate_max": (44, 4), "bitrate_nominal": (48, 4), "bitrate_min": (52, 4), "blocksizes": (56, 1), "framing": (57, 1),
}  # fmt: skip


def patched(content: bytes, offset: int, size: int, value: int) -> bytes:
    return content[:offset] + (value % (1 << 8 * size)).to_bytes(size, "little") + content[offset + size :]


def with_page_crc(content: bytes, start: int = 0) -> bytes:
    """The Ogg page at `start` with a right checksum."""
    segments = content[start + 26]
    end = start + 27 + segments + sum(content[start + 27 : start + 27 + segments])
    page = content[start : start + 22] + bytes(4) + content[start + 26 : end]
    return content[: start + 22] + struct.pack("<I", ogg_crc(page)) + content[start + 26 :]


def last_page(content: bytes) -> int:
    return content.rindex(b"OggS")


MP3_FIELDS = {  # of the first frame header
    "sync": (0, 11), "version": (11, 2), "layer": (13, 2), "protection": (15, 1), "bitrate": (16, 4), "rate": (20, 2),
    "padding": (22, 1), "mode": (24, 2), "mode_extension": (26, 2), "emphasis": (30, 2),
}  # fmt: skip


def id3(body: bytes, claimed: int | None = None, flags: int = 0, version: int = 3) -> bytes:
    """An ID3v2 tag; the size is claimed in 7-bit bytes."""
    size = len(body) if claimed is None else claimed
    return b"ID3" + bytes([version, 0, flags]) + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + body


def id3_frame(name: bytes, body: bytes, claimed: int | None = None) -> bytes:
    return name + struct.pack(">I", len(body) if claimed is None else claimed) + b"\0\0" + body
