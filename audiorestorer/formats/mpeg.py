"""MPEG audio (MP3) by its frame headers (ISO 11172-3, ISO 13818-3): how many frames there are, and a first frame that says so.

The decoder takes a stream's length from the Xing, Info or VBRI tag in its first frame, and guesses by the first frame's bitrate where
there is none; beyond the guess it reads nothing. So a stream without a right tag gets one of ours in front. Headers alone are read.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import BinaryIO

SCAN_BYTES = 1 << 16
MOST_BYTES_BEFORE = 4 << 20  # of what is no frame, before the first one
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by version bits
FIRST_VERSION = 3  # the version bits of MPEG 1; 2 and 0 are MPEG 2 and 2.5
KBITS = {  # by (MPEG 1?, layer), then by the index in the header
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
HEADER = re.compile(rb"(?=\xff[\xe2-\xff][\x10-\xef])")  # whose layer and bitrate may be
ALIKE = 0xFFFE0C00  # of a header: sync, version, layer and rate, which do not change within a stream
XING_MARKS = (b"Xing", b"Info")
VBRI_PLACE = 36
LAME_PLACE = 141  # of 12 bits each of delay and padding, behind the mark of the tag
CRC_PLACE = 154
DECODER_DELAY = 529  # samples that the decoder leaves out at the start of a tagged stream


@dataclass(frozen=True)
class Frame:
    """A frame as its header says: bytes, samples per channel, Hz, layer."""

    size: int
    samples: int
    rate: int
    layer: int


@dataclass(frozen=True)
class Stream:
    """The frames of a file.

    `tag` is the first frame where it is a Xing, Info or VBRI tag and no sound (else empty), `claimed` the frames that it counts.
    Sound lies from byte `start` to byte `end` in `frames` whole frames; `gaps` tells whether there is more than frames between,
    `cut` whether the last frame ends too early and is left out.
    """

    head: bytes
    first: Frame
    tag: bytes
    claimed: int | None
    start: int
    end: int
    frames: int
    gaps: bool
    cut: bool

    @property
    def seconds(self) -> float:
        return self.frames * self.first.samples / self.first.rate


def frame_of(head: bytes) -> Frame | None:
    """The frame that these four bytes begin, or None."""
    bits = int.from_bytes(head, "big")
    version, layer, rate, kbits = bits >> 19 & 3, 4 - (bits >> 17 & 3), bits >> 10 & 3, bits >> 12 & 15
    if len(head) < 4 or bits >> 21 != 0x7FF or version == 1 or layer == 4 or rate == 3 or kbits in (0, 15):
        return None
    is_first = version == FIRST_VERSION
    samples = 384 if layer == 1 else 1152 if layer == 2 or is_first else 576
    hertz, slot = RATES[version][rate], 4 if layer == 1 else 1
    size = samples // 8 // slot * 1000 * KBITS[is_first, layer][kbits] // hertz + (bits >> 9 & 1)
    return Frame(size * slot, samples, hertz, layer)


def id3_bytes(start: bytes) -> int:
    """Bytes of the ID3v2 tag whose first ten bytes these are; 0: none."""
    if start[:3] != b"ID3" or len(start) < 10:
        return 0
    body = sum((byte & 0x7F) << shift for byte, shift in zip(start[6:10], (21, 14, 7, 0), strict=True))
    return 10 + body + (10 if start[5] & 0x10 else 0)


def after_id3(file: BinaryIO) -> int:
    """The place of the first byte behind all ID3v2 tags at the start of a file."""
    place = 0
    while True:
        file.seek(place)
        size = id3_bytes(file.read(10))
        if not size:
            return place
        place += size


def walk(file: BinaryIO, begin: int) -> Stream | None:
    """The stream of frames from byte `begin` on, or behind what is no frame there; None: there is none."""
    length = os.fstat(file.fileno()).st_size
    place = _next_frame(file, begin, min(length, begin + MOST_BYTES_BEFORE), length, None)
    if place is None:
        return None
    file.seek(place)
    head = file.read(4)
    first = frame_of(head)
    assert first is not None
    file.seek(place)
    tag = file.read(first.size)
    claimed = claimed_frames(tag, head)
    if not _is_tag(tag, head):
        tag = b""
    return _counted(file, place + len(tag), length, head, first, tag, claimed)


def _counted(
    file: BinaryIO, start: int, length: int, head: bytes, first: Frame, tag: bytes, claimed: int | None
) -> Stream:
    """The stream, its frames counted from header to header."""
    place, end, frames, gaps, cut = start, start, 0, False, False
    alike = int.from_bytes(head, "big") & ALIKE
    file.seek(place)
    while len(now := file.read(4)) == 4:
        frame = frame_of(now) if int.from_bytes(now, "big") & ALIKE == alike else None
        if frame is None:
            following = _next_frame(file, place + 1, length, length, alike)
            if following is None:
                break
            place, gaps = following, True
            file.seek(place)
            continue
        if place + frame.size > length:
            cut = True
            break
        frames, place = frames + 1, place + frame.size
        end = place
        file.seek(frame.size - 4, os.SEEK_CUR)
    return Stream(head, first, tag, claimed, start, end, frames, gaps, cut)


def _next_frame(file: BinaryIO, begin: int, until: int, length: int, alike: int | None) -> int | None:
    """The first place from `begin` where a frame begins that another of its kind, or the file's end, follows."""
    place = begin
    while place < until:
        file.seek(place)
        block = file.read(min(SCAN_BYTES, until - place + 3))
        for candidate in HEADER.finditer(block):
            at = candidate.start()
            if at >= min(len(block) - 3, until - place):
                break
            if _followed(file, place + at, block[at : at + 4], length, alike, 2 if place + at > begin else 1):
                return place + at
        if len(block) < 4:
            return None
        place += len(block) - 3
    return None


def _followed(file: BinaryIO, place: int, head: bytes, length: int, alike: int | None, times: int) -> bool:
    """Whether `head`, at `place`, begins a frame, and so do the bytes behind it, that many times."""
    alike = int.from_bytes(head, "big") & ALIKE if alike is None else alike
    for number in range(times + 1):
        frame = frame_of(head) if int.from_bytes(head, "big") & ALIKE == alike else None
        if frame is None:
            # a tag of another kind (ID3v1, APE) may follow the last frame
            return number > 0 and head[:3] in (b"TAG", b"APE", b"LYR")
        place += frame.size
        if place >= length - 3:
            return place <= length or number > 0 or times == 1
        file.seek(place)
        head = file.read(4)
    return True


def _side_bytes(head: bytes) -> int:
    """Bytes of Layer III's side information, behind the header (and its checksum, where there is one)."""
    bits = int.from_bytes(head, "big")
    mono = bits >> 6 & 3 == 3
    return (17 if mono else 32) if bits >> 19 & 3 == FIRST_VERSION else (9 if mono else 17)


def _xing_place(frame: bytes, head: bytes) -> int | None:
    """The place of a Xing or Info tag in a frame."""
    place = 4 + _side_bytes(head)
    return next((at for at in (place, place + 2) if frame[at : at + 4] in XING_MARKS), None)


def _is_tag(frame: bytes, head: bytes) -> bool:
    return _xing_place(frame, head) is not None or frame[VBRI_PLACE : VBRI_PLACE + 4] == b"VBRI"


def claimed_frames(frame: bytes, head: bytes) -> int | None:
    """The number of frames of sound that the tag in this first frame counts; None: no tag, or no count in it."""
    place = _xing_place(frame, head)
    if place is not None:
        has_count = len(frame) >= place + 12 and frame[place + 7] & 1
        return int.from_bytes(frame[place + 8 : place + 12], "big") if has_count else None
    if frame[VBRI_PLACE : VBRI_PLACE + 4] == b"VBRI":
        return int.from_bytes(frame[VBRI_PLACE + 14 : VBRI_PLACE + 18], "big")
    return None


def encoded_samples(stream: Stream) -> tuple[int, int] | None:
    """(samples that were encoded, samples of padding behind them) as LAME's tag notes them; None: it does not.

    The decoder cannot take out padding of less than its own delay, so that it gives up to 528 samples more than were encoded.
    """
    place = _xing_place(stream.tag, stream.head)
    if place is None or len(stream.tag) < place + LAME_PLACE + 3 or not stream.tag[place + 120 : place + 124].isalnum():
        return None
    both = int.from_bytes(stream.tag[place + LAME_PLACE : place + LAME_PLACE + 3], "big")
    delay, padding = both >> 12, both & 0xFFF
    samples = stream.frames * stream.first.samples - delay - padding
    return (samples, padding) if delay and samples > 0 else None


def note_samples(file: BinaryIO, samples: int) -> None:
    """Correct the padding that LAME's tag notes, so that so many samples are decoded (FFmpeg counts the last packet's alone)."""
    begin = after_id3(file)
    stream = walk(file, begin)
    known = encoded_samples(stream) if stream else None
    place = _xing_place(stream.tag, stream.head) if stream else None
    if stream is None or known is None or place is None or known[0] == samples:
        return
    delay = stream.frames * stream.first.samples - sum(known)
    padding = min(0xFFF, known[1] + known[0] - samples)
    tag = bytearray(stream.tag)
    tag[place + LAME_PLACE : place + LAME_PLACE + 3] = (delay << 12 | padding).to_bytes(3, "big")
    tag[place + CRC_PLACE : place + CRC_PLACE + 2] = _crc16(bytes(tag[: place + CRC_PLACE])).to_bytes(2, "big")
    file.seek(stream.start - len(tag))
    file.write(tag)


def _crc16(content: bytes) -> int:
    """CRC-16 (polynomial 0x8005, reflected), as LAME's tag ends with."""
    value = 0
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


def tag_frame(stream: Stream, frames: int) -> bytes:
    """A first frame that counts that many frames: the stream's own with another count, or a new one.

    A frame of the stream's own keeps what an encoder noted of its delay and padding, which the decoder leaves out.
    """
    place = _xing_place(stream.tag, stream.head)
    count = frames.to_bytes(4, "big")
    if place is not None and stream.claimed is not None:
        tag = stream.tag[: place + 8] + count + stream.tag[place + 12 :]
        if tag[place + 7] & 2:
            size = len(tag) + stream.end - stream.start
            tag = tag[: place + 12] + (size & 0xFFFFFFFF).to_bytes(4, "big") + tag[place + 16 :]
        return tag
    body = bytes(_side_bytes(stream.head)) + b"Info" + (1).to_bytes(4, "big") + count
    plain = int.from_bytes(stream.head, "big") & ~(0xF << 12) & ~(1 << 9) | 1 << 16  # no padding, no checksum
    for kbits in range(1, 15):
        head = (plain | kbits << 12).to_bytes(4, "big")
        frame = frame_of(head)
        if frame and frame.size >= 4 + len(body):
            return (head + body).ljust(frame.size, b"\0")
    raise AssertionError("a frame of the highest bitrate holds a tag")
