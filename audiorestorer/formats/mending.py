"""The real contents of a recording where its header says otherwise: a corrected view of the file, which itself is never changed.

Headers are claims. Sound that is on the disk is given in full, with a sentence that says what the header said; a file that was cut
(its header counts more than `MISSING_SEC` beyond what is there) is refused, and so is what is no recording, by its real format.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from audiorestorer.errors import AudioRestorerError
from audiorestorer.formats import containers, flac, headers, mpeg, sniffing

MISSING_SEC = 0.1  # a header may count this much more than the file holds (a last write that did not come): beyond, the file was cut
UNKNOWN_FORMAT, UNKNOWN_CODEC = 1, 4  # numbers of libsndfile's errors
DECODED_OGG = ("Ogg Vorbis", "Ogg Opus", "Ogg FLAC")
LARGEST_RIFF = 0xFFFF0000
BYTES_BEHIND = (
    900  # zeros behind frames without a tag, so that the decoder's guess of their length is no less than it is
)
DECODED_AT_ONCE = 1 << 18
COMPARED_BYTES = 1 << 20
LOUDER, QUIETER, ROUGHER = 4.0, 1 / 30, 3.0  # of sound behind the end that a header gives, against what is before it


@dataclass(frozen=True)
class View:
    """A file as its header should have it: `head`, the file's bytes from `start` to `end`, `tail`; `note` is a sentence for its row.

    `frames` is the number of samples per channel where the decoder guesses; None: as it says. `coded`: the kind of a file
    that libsndfile does not read; a decoded copy is read instead (`containers`).
    """

    head: bytes
    start: int
    end: int
    note: str | None
    tail: bytes = b""
    frames: int | None = None
    coded: str | None = None


class ViewFile:
    """A view as a file to read from. Nothing is held but the head."""

    def __init__(self, file: BinaryIO, view: View) -> None:
        self._file, self._view, self._place = file, view, 0
        self._tail = len(view.head) + max(0, view.end - view.start)
        self._size = self._tail + len(view.tail)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, count: int = -1) -> bytes:
        left = max(0, self._size - self._place)
        end = self._place + (left if count < 0 else min(count, left))
        parts = [self._view.head[self._place : end]]
        begin, stop = max(self._place, len(self._view.head)), min(end, self._tail)
        if begin < stop:
            self._file.seek(self._view.start + begin - len(self._view.head))
            parts.append(self._file.read(stop - begin))
        if end > self._tail:
            parts.append(self._view.tail[max(0, self._place - self._tail) : end - self._tail])
        content = b"".join(parts)
        self._place += len(content)
        return content


class Reader(sf.SoundFile):
    """A file that is read in order: the binding else seeks after every read, and an MP3's decoder loses what the next frame needs."""

    def seekable(self) -> bool:
        return False


@contextmanager
def opened(path: str, view: View | None) -> Iterator[tuple[Reader, int, str | None]]:
    """A recording by its view, its samples per channel, and the note for its row.

    Raises:
        AudioRestorerError: it cannot be decoded; the reason alone, without the path.
    """
    note = view.note if view else None
    with ExitStack() as stack:
        if view and view.coded:
            copy = containers.copy_of(Path(path), view.coded)
            path, view, note = str(copy.path), None, copy.source.note
        source = ViewFile(stack.enter_context(open(path, "rb")), view) if view else path
        file = stack.enter_context(Reader(source))
        yield file, file.frames if view is None or view.frames is None else min(file.frames, view.frames), note


def view_of(path: str) -> View | None:
    """The view in which a recording is read; None: it is read as it stands.

    Raises:
        AudioRestorerError: it is no recording that can be read, by its real format, or was cut. The reason alone, without the path.
        OSError: it cannot be opened.
    """
    info = os.stat(path)
    view = _view_of(path, info.st_size, info.st_mtime_ns)
    if isinstance(view, str):
        raise AudioRestorerError(view)
    return view


@lru_cache(maxsize=64)
def _view_of(path: str, size: int, mtime_ns: int) -> View | str | None:
    """As `view_of`, a refusal as its text."""
    suffix = PurePath(path).suffix
    with open(path, "rb") as file:
        begin = mpeg.after_id3(file)
        file.seek(begin)
        head = file.read(sniffing.HEAD_BYTES)
        name = sniffing.real_format(head) if head or not begin else None
        kind = name.split()[0] if name else ""
        if name and containers.demuxer(name) and not sniffing.read_here(name, head):
            return View(b"", 0, 0, None, coded=name)
        if name and kind not in sniffing.READ_HERE:
            return sniffing.refusal(name, suffix)
        file.seek(0)
        if kind in ("WAV", "RF64", "BW64", "W64", "AIFF"):
            return None if begin else _of_wave(file)
        if kind == "FLAC":
            return None if begin else _of_flac(file, head)
        return None if name else _of_mpeg(file, begin, head, suffix)


def words(path: str, code: int) -> str:
    """Why the decoder cannot read a file, in place of what it says itself (by its number)."""
    try:
        with open(path, "rb") as file:
            head = file.read(sniffing.HEAD_BYTES)
            file.seek(0)
            sound = headers.wave(file)
    except OSError as error:
        return f"cannot be opened: {error.strerror}"
    name = sniffing.real_format(head)
    if name and name.startswith("Ogg ") and name not in DECODED_OGG:
        return sniffing.refusal(name, PurePath(path).suffix)
    if (
        sound
        and sound.form != b"FORM"
        and code in (UNKNOWN_FORMAT, UNKNOWN_CODEC, *range(64, 400))
        and sound.tag not in (1, 3)
    ):
        return f"{name} whose sound is coded in a way that cannot be read ({sniffing.wav_codec(sound.tag)}): {sniffing.CONVERT}"
    if name is None and code == UNKNOWN_FORMAT:
        return "not readable as audio: no format that is known here"
    return f"not readable as audio: {f'its {name} header or its sound' if name else 'it'} is damaged"


def _of_wave(file: BinaryIO) -> View | str | None:
    sound = headers.wave(file)
    if sound is None:
        return None
    unknown = sound.claimed in headers.PLACEHOLDERS and not 0 < sound.claimed <= sound.held
    if not unknown and sound.claimed <= sound.held:
        is_exact = sound.held - sound.claimed in range(max(2, sound.block))
        after = sound.start + sound.claimed
        if is_exact or any(headers.is_chunks(file, place, sound) for place in {after, after + sound.claimed % 2}):
            return _plain(sound) if sound.form == b"BW64" else None
        if after <= sound.outer_end <= after + 1 and not _goes_on(file, sound, after):
            return _without_rest(file, sound, after)
    if sound.claimed == 0 and headers.is_chunks(file, sound.start, sound):
        return None
    held = (headers.trailing_chunks(file, sound) or sound.size) - sound.start
    per_sec = sound.bytes_per_sec
    if not unknown and sound.claimed - held > MISSING_SEC * per_sec:
        return f"truncated: the header counts {sound.claimed} bytes of sound, the file holds {held}"
    whole = held // sound.block * sound.block
    if sound.form == b"FORM" or not whole or not per_sec:
        return None
    return _plain(sound, whole, _wave_note(sound, held, whole / per_sec, unknown))


def _without_rest(file: BinaryIO, sound: headers.Wave, after: int) -> View | None:
    """A file whose sizes agree with each other, and behind whose end there is something that is no sound: said, unless it is zeros."""
    rest = sound.size - after
    file.seek(after)
    if sound.form == b"FORM" or rest < MISSING_SEC * sound.bytes_per_sec or not any(file.read(COMPARED_BYTES)):
        return None
    whole = sound.claimed // sound.block * sound.block
    return _plain(
        sound, whole, f"behind the sound that its header counts are {rest} bytes that are no sound: they were left out"
    )


def _goes_on(file: BinaryIO, sound: headers.Wave, after: int) -> bool:
    """Whether the bytes behind the end that the header gives sound like those before it, which was then written too early.

    A recorder that keeps its header up to date and dies leaves such a file; but other data may also have been put behind a good one.
    """
    least = MISSING_SEC * sound.rate * sound.block
    if sound.size - after < least or after - sound.start < least:
        return False
    before, behind = (
        _samples(file, sound, begin, min(end, begin + COMPARED_BYTES))
        for begin, end in ((max(sound.start, after - COMPARED_BYTES), after), (after, sound.size))
    )
    if before is None or behind is None or not behind.any():
        return False
    (level, rough), (next_level, next_rough) = _character(before), _character(behind)
    return QUIETER * level <= next_level <= LOUDER * level and rough / ROUGHER <= next_rough <= rough * ROUGHER


def _samples(file: BinaryIO, sound: headers.Wave, begin: int, end: int) -> NDArray[np.float64] | None:
    """The first channel of whole samples between two bytes, full scale +-1; None: no linear samples of 16 bits or more."""
    begin += -(begin - sound.start) % sound.block
    file.seek(begin)
    content = file.read(max(0, end - begin))
    rows = np.frombuffer(content[: len(content) // sound.block * sound.block], np.uint8).reshape(-1, sound.block)
    order = ">" if sound.layout.order == "big" else "<"
    width = sound.bits // 8
    if sound.tag == 3 and width in (4, 8):
        return np.nan_to_num(rows[:, :width].copy().view(f"{order}f{width}")[:, 0].astype(np.float64))
    if sound.tag != 1 or width not in (2, 3, 4) or width > sound.block or not len(rows):
        return None
    high = rows[:, :2] if order == ">" else rows[:, width - 2 : width]
    return np.asarray(high.copy().view(f"{order}i2")[:, 0] / 32768.0, np.float64)


def _character(samples: NDArray[np.float64]) -> tuple[float, float]:
    """(RMS, RMS of the steps from sample to sample over it)."""
    level = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
    steps = float(np.sqrt(np.mean(np.square(np.diff(samples))))) if len(samples) > 1 else 0.0
    return level, steps / max(level, 1e-12)


def _wave_note(sound: headers.Wave, held: int, seconds: float, unknown: bool) -> str:
    restored = f"{_time(seconds)}, which were restored"
    if unknown and sound.claimed:
        return f"the header does not say how long it is (written to a pipe, or never closed): the file holds {restored}"
    if sound.claimed > held:
        return (
            f"the header counts {sound.claimed} bytes of sound, the file holds {held}: a last write is missing;"
            f" it holds {restored}"
        )
    return f"the header was not closed: it counts {sound.claimed} bytes of sound, the file holds {restored}"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.3f} s"


def _plain(sound: headers.Wave, whole: int | None = None, note: str | None = None) -> View:
    """A new RIFF (or RF64) header with the file's own format over its sound."""
    count = sound.claimed if whole is None else whole
    order = "big" if sound.layout.order == "big" else "little"

    def chunk(name: bytes, size: int, body: bytes = b"") -> bytes:
        return name + size.to_bytes(4, "big" if order == "big" else "little") + body + bytes(len(body) % 2)

    fmt = chunk(b"fmt ", len(sound.fmt), sound.fmt)
    if count < LARGEST_RIFF or order == "big":
        body = b"WAVE" + fmt + chunk(b"data", min(count, 0xFFFFFFFF))
        size = min(0xFFFFFFFF, len(body) + count)
        return View(chunk(b"RIFX" if order == "big" else b"RIFF", size) + body, sound.start, sound.start + count, note)
    samples = count // sound.block
    inner = b"WAVE" + chunk(b"ds64", 28, bytes(28)) + fmt + chunk(b"data", headers.UNKNOWN_BYTES)
    sizes = b"".join(number.to_bytes(8, "little") for number in (len(inner) + count, count, samples)) + bytes(4)
    inner = b"WAVE" + chunk(b"ds64", 28, sizes) + fmt + chunk(b"data", headers.UNKNOWN_BYTES)
    return View(chunk(b"RF64", headers.UNKNOWN_BYTES) + inner, sound.start, sound.start + count, note)


def _of_flac(file: BinaryIO, head: bytes) -> View | str | None:
    said = flac.info(head)
    whole = flac.held(file, said) if said and said.rate else None
    if not said or not whole or whole[0] == said.total:
        return None
    total, end = whole
    if said.total - total > MISSING_SEC * said.rate:
        return None  # cut, or damaged: the decoder finds out which
    seconds = _time(total / said.rate)
    counted = (
        f"counts {said.total} samples"
        if said.total
        else "does not say how long it is (written to a pipe, or never closed)"
    )
    return View(
        said.with_total(total), flac.INFO_BYTES, end,
        f"the header {counted}: the file holds {total} samples ({seconds}), which were restored",
    )  # fmt: skip


def _of_mpeg(file: BinaryIO, begin: int, head: bytes, suffix: str) -> View | str | None:
    is_meant = bool(begin) or suffix.lower() == ".mp3"
    if not is_meant and not (head[:1] == b"\xff" and mpeg.frame_of(head[:4])):
        return None
    stream = mpeg.walk(file, begin)
    if stream is None or not stream.frames:
        return _no_frames(head) if is_meant else None
    counted, samples, rate = stream.claimed or 0, stream.first.samples, stream.first.rate
    if counted == stream.frames and stream.tag[mpeg.VBRI_PLACE : mpeg.VBRI_PLACE + 4] != b"VBRI":
        exact = mpeg.encoded_samples(stream)
        if exact is None or exact[1] >= mpeg.DECODER_DELAY:
            return None
        return View(b"", 0, os.fstat(file.fileno()).st_size, None, frames=exact[0])
    if (counted - stream.frames) * samples > MISSING_SEC * rate:
        return (
            f"truncated: the header counts {counted * samples} samples, the file holds about {stream.frames * samples}"
        )
    note = _mpeg_note(stream, counted)
    if stream.first.layer != 3:  # these have no tags
        return _counted(file, View(b"", stream.start, stream.end, note, bytes(BYTES_BEHIND)), stream)
    view = View(mpeg.tag_frame(stream, stream.frames), stream.start, stream.end, note)
    return _counted(file, view, stream) if stream.gaps else view


def _counted(file: BinaryIO, view: View, stream: mpeg.Stream) -> View | str:
    """The view with the samples that the decoder really finds in it; a refusal where that is far less than the frames hold."""
    decoded = 0
    try:
        with Reader(ViewFile(file, view)) as sound:
            while count := len(sound.read(DECODED_AT_ONCE, dtype="float32", always_2d=True)):
                decoded += count
    except (sf.LibsndfileError, RuntimeError):
        return "not readable as audio: its MPEG audio is damaged"
    wanted = stream.frames * stream.first.samples
    if wanted - decoded > mpeg.DECODER_DELAY + MISSING_SEC * stream.first.rate:
        return f"damaged: it holds about {wanted} samples, of which the first {decoded} can be decoded: write it anew"
    return replace(view, frames=decoded)


def _no_frames(head: bytes) -> str | None:
    """The reason for a file in which no frames follow each other; None: of a free bitrate, whose frames do not say their length."""
    is_free = (
        len(head) > 3 and not head[2] >> 4 and mpeg.frame_of(head[:2] + bytes([head[2] | 0x10, head[3]])) is not None
    )
    return None if is_free else "not readable as audio: no MPEG audio frames in a row: not MP3, or damaged"


def _mpeg_note(stream: mpeg.Stream, counted: int) -> str | None:
    held = f"{stream.frames} frames ({_time(stream.seconds)}), which were restored"
    cut = "; its last frame is cut short and left out" if stream.cut else ""
    if counted == stream.frames:
        return cut.removeprefix("; ") or None
    if counted:
        return f"its header counts {counted} frames, the file holds {held}{cut}"
    return f"its header does not say how long it is: the file holds {held}{cut}"
