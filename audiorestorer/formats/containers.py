"""Recordings that libsndfile does not read (AAC, ALAC, WMA, AMR, ..., and the sound of videos), decoded by FFmpeg through PyAV.

`decoded` writes what a container holds as a WAV file, in bounded memory, in a process of its own: a decoder that crashes, hangs or
eats memory ends that process alone. The file is handed over as an open file and under one named demuxer, so that nothing that it
says can make FFmpeg open another file or an address. What an encoder put before and after the sound (its delay, its last frame's
rest) is cut by the container's own figures: edit lists, iTunSMPB, Opus' pre-skip, Matroska's discard padding.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiorestorer.apart import apart
from audiorestorer.errors import AudioRestorerError, MachineError
from audiorestorer.formats import sniffing
from audiorestorer.formats.writing import Writer

# name of `sniffing.real_format` begins with -> FFmpeg's demuxer
DEMUXERS = {
    "M4A": "mov", "MP4": "mov", "3GP": "mov", "QuickTime": "mov", "WebM": "matroska", "WMA": "asf", "AAC (ADTS)": "aac", "AMR": "amr",
    "AC-3": "ac3", "DTS": "dts", "WavPack": "wv", "Monkey's": "ape", "True Audio": "tta", "Musepack": "mpc", "AVI": "avi",
    "MPEG transport": "mpegts", "MPEG video": "mpeg",
    "DSD (DSF)": "dsf", "DSD (DSDIFF)": "iff", "Flash": "flv", "RealAudio": "rm", "RealMedia": "rm",
    "Ogg": "ogg",
}  # fmt: skip
DRM_TAGS = ("drms", "enca", "p608")
MEMORY_BYTES = 3 << 30  # beyond what the process has when it begins
LEAST_SEC, BYTES_PER_SEC = 60, 50_000  # of processor time that a file may take
CUT_SEC = 0.25  # a container may promise this much more than its sound is long
OF_PROGRAMS = {  # what muxers write of themselves
    "encoder", "major_brand", "minor_version", "compatible_brands", "handler_name", "vendor_id", "language", "creation_time",
    "duration", "itunsmpb", "software",
}  # fmt: skip
MOST_BOXES = 100_000
MOST_DELAY = 8_192  # samples of an encoder's delay and last frame
LEAST_HOLE_SEC, MOST_HOLE_SEC = 0.02, 600.0
HEX = re.compile("[0-9A-Fa-f]{1,16}")
MOST_PADDING = 1 << 16  # samples of the last frame that may be cut
# FFmpeg's sample formats: what full scale is, and the libsndfile subtype of the copy (float32 holds 24 bits, so does the chain)
SCALES = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}
SUBTYPES = {"u8": "PCM_16", "s16": "PCM_16", "s32": "PCM_24", "flt": "FLOAT", "dbl": "FLOAT", "s64": "PCM_24"}
LOSSLESS = ("alac", "ape", "dsd", "flac", "pcm", "truehd", "tta", "wavpack")  # FFmpeg's names of codecs begin so
COPIES = 8  # decoded recordings that a process keeps at a time


@dataclass(frozen=True)
class Decoded:
    """What was written.

    `codec` and `container` are FFmpeg's names, `bit_rate` is the sound's, bit/s (None: not known), `note` is a sentence for the row,
    `track` the number of the sound track, from 1, `start_sec` when its first sample is heard, `texts` what the file says of itself.
    """

    sample_rate: int
    channels: int
    frames: int
    codec: str
    container: str
    bit_rate: int | None
    note: str | None
    track: int = 1
    start_sec: float = 0.0
    texts: tuple[tuple[str, str], ...] = ()

    @property
    def lossless(self) -> bool:
        return self.codec.startswith(LOSSLESS)


def demuxer(kind: str) -> str | None:
    """The demuxer for a kind of file by its first bytes (`sniffing.real_format`); None: nothing that is decoded here."""
    return next((name for start, name in DEMUXERS.items() if kind.startswith(start)), None)


def decoded(path: Path, target: Path, kind: str, track: int | None = None) -> Decoded:
    """Decode a recording to a WAV file.

    Args:
        kind: by `sniffing.real_format`. track: of several sound tracks the one to take, from 1; None: the marked or the first one.

    Raises:
        AudioRestorerError: no sound, protected, cut short, damaged, or the decoder failed: the reason alone, without the path.
    """
    seconds = LEAST_SEC + path.stat().st_size // BYTES_PER_SEC
    try:
        return apart(lambda: _decode(path, target, str(demuxer(kind)), track), MEMORY_BYTES, seconds)
    except MachineError:
        raise
    except AudioRestorerError as error:
        raise AudioRestorerError(f"{sniffing.named(kind, path.suffix)}: {error}") from error


@dataclass(frozen=True)
class Copy:
    """A decoded copy and what is known of the recording. On Linux the file has no name any more: it goes with the processes that have
    it open, however they end."""

    path: Path
    source: Decoded
    handle: int


_copies: OrderedDict[tuple[Any, ...], Copy] = OrderedDict()


def copy_of(path: Path, kind: str) -> Copy:
    """A decoded copy of a recording, which this process keeps while it is among the last few that were asked for.

    Raises:
        AudioRestorerError: as `decoded`.
    """
    info = os.stat(path)
    key = (str(path), info.st_size, info.st_mtime_ns)
    if key in _copies:
        _copies.move_to_end(key)
        return _copies[key]
    folder = Path(tempfile.mkdtemp(prefix="audiorestorer-decoded-"))
    target = folder / "copy.wav"
    try:
        source = decoded(path, target, kind)
        handle = os.open(target, os.O_RDONLY)
        place = Path(f"/proc/self/fd/{handle}")
        if not place.exists():  # not on Linux: the file stays until this process ends
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            place, folder = target, Path()
    finally:
        if folder.name:
            shutil.rmtree(folder, ignore_errors=True)
    _copies[key] = Copy(place, source, handle)
    while len(_copies) > COPIES:
        os.close(_copies.popitem(last=False)[1].handle)
    return _copies[key]


def _decode(path: Path, target: Path, format: str, track: int | None) -> Decoded:
    import av
    import av.logging

    av.logging.set_level(None)
    with open(path, "rb") as file:
        try:
            with av.open(file, format=format, metadata_errors="replace") as container:
                return _written(container, file, target, track)
        except (av.error.FFmpegError, ValueError) as error:
            raise AudioRestorerError(_reason(error)) from error


def _reason(error: Exception) -> str:
    import av

    text = (getattr(error, "strerror", None) or str(error)).strip()
    return "damaged or cut short" + (f" ({text})" if text and not isinstance(error, av.error.InvalidDataError) else "")


def _stream(container: Any, track: int | None) -> tuple[Any, str | None]:
    """The sound track to take, and a note where there are several."""
    import av.stream

    tracks = list(container.streams.audio)
    if not tracks:
        raise AudioRestorerError("no sound in it: it has no audio track")
    if track is not None and not 1 <= track <= len(tracks):
        raise AudioRestorerError(
            f"it has {len(tracks)} sound track{'s' if len(tracks) > 1 else ''}: track {track} is not there"
        )
    marked = [one for one in tracks if one.disposition & av.stream.Disposition.default]
    chosen = tracks[track - 1] if track is not None else (marked or tracks)[0]
    if chosen.codec_context is None:
        raise AudioRestorerError("its sound is coded in a way that cannot be read")
    tag = str(chosen.codec_context.codec_tag).lower()
    if any(name in tag for name in DRM_TAGS):
        raise AudioRestorerError("its sound is protected (DRM): it cannot be decoded")
    note = (
        f"it has {len(tracks)} sound tracks: number {tracks.index(chosen) + 1} was taken" if len(tracks) > 1 else None
    )
    return chosen, note


def _written(container: Any, file: Any, target: Path, track: int | None) -> Decoded:
    stream, note = _stream(container, track)
    frames = container.decode(stream)
    try:
        first = next(frames)
    except StopIteration:
        raise AudioRestorerError("empty: no samples") from None
    kind, rate, channels = first.format.packed.name, first.sample_rate, first.layout.nb_channels
    start = _time(first) or 0.0
    wanted = _length(container, file, stream, rate)
    promised = wanted if wanted is not None else _promised(container, rate, start)
    subtype = SUBTYPES.get(kind, "FLOAT")
    with Writer(target, rate, channels, format="WAV", subtype=subtype, expected_frames=wanted or 1 << 30) as out:
        sink = _Sink(out, rate, channels, start, wanted)
        packed = av_resampler(kind, first)
        for frame in chain([first], frames):
            if (frame.sample_rate, frame.layout.nb_channels) != (rate, channels):
                raise AudioRestorerError(
                    f"its sound changes at {out.frames / rate:.2f} s from {rate} Hz, {channels} channels to {frame.sample_rate} Hz,"
                    f" {frame.layout.nb_channels} channels: split it"
                )
            time = _time(frame)
            for part in packed(frame):
                sink.add(_samples(part), time)
        if promised is not None and out.frames < promised - CUT_SEC * rate:
            raise AudioRestorerError(f"truncated: its header counts {promised} samples, {out.frames} could be decoded")
        total = out.frames
    note = "; ".join(filter(None, (note, sink.note))) or None
    bit_rate = stream.codec_context.bit_rate or container.bit_rate or None
    name = container.format.name.partition(",")[0]
    number = 1 + [one.index for one in container.streams.audio].index(stream.index)
    return Decoded(
        rate, channels, total, stream.codec_context.name, name, bit_rate, note, number, start, _texts(container, stream)
    )  # fmt: skip


def _texts(container: Any, stream: Any) -> tuple[tuple[str, str], ...]:
    pairs = {key.lower(): text for part in (stream, container) for key, text in part.metadata.items() if text}
    return tuple((key, text) for key, text in sorted(pairs.items()) if key not in OF_PROGRAMS)


def av_resampler(kind: str, first: Any) -> Callable[[Any], list[Any]]:
    """A function that makes frames packed: PyAV's arrays of planes are wrong for eight channels."""
    import av

    if first.layout.nb_channels < 8 or first.format.is_packed:
        return lambda frame: [frame]
    resampler = av.AudioResampler(format=kind)
    return lambda frame: list(resampler.resample(frame))


def _time(frame: Any) -> float | None:
    """When a frame is heard, s."""
    return float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base else None


class _Sink:
    """Writes blocks each at its time: holes become silence, and what lies behind the end that the container counts is left out.

    Args:
        start: of the first sample, s. wanted: samples that the container counts; where more than an encoder's padding follows, the
            count is wrong and does not hold.
    """

    def __init__(self, out: Writer, rate: int, channels: int, start: float, wanted: int | None) -> None:
        self._out, self._rate, self._channels, self._start, self._wanted = out, rate, channels, start, wanted
        self._held: list[NDArray[np.float32]] = []
        self._seen = self._filled = 0
        self.note: str | None = None

    def add(self, block: NDArray[np.float32], time: float | None) -> None:
        """Raises AudioRestorerError: a hole that is longer than any pause."""
        hole = 0 if time is None else round((time - self._start) * self._rate) - self._seen
        if hole > LEAST_HOLE_SEC * self._rate:
            if hole > MOST_HOLE_SEC * self._rate:
                raise AudioRestorerError(f"its sound has a hole of {hole / self._rate:.0f} s: split it")
            self._filled += hole
            self.note = f"its sound has holes of {self._filled / self._rate:.2f} s in all: they are silence"
            for begin in range(0, hole, 1 << 16):
                self._put(np.zeros((self._channels, min(1 << 16, hole - begin)), np.float32))
        self._put(block)

    def _put(self, block: NDArray[np.float32]) -> None:
        self._seen += block.shape[1]
        room = block.shape[1] if self._wanted is None else max(0, self._wanted - self._out.frames)
        if room:
            self._out.write(block[:, :room])
        if room < block.shape[1]:
            self._held.append(block[:, room:])
            if sum(one.shape[1] for one in self._held) > MOST_PADDING:
                said = f"its header counts {self._wanted} samples and it holds more: all were taken"
                self.note = "; ".join(filter(None, (self.note, said)))
                held, self._held, self._wanted = self._held, [], None
                for one in held:
                    self._out.write(one)


def _length(container: Any, file: Any, stream: Any, rate: int) -> int | None:
    """The samples that the container counts, where it counts them: iTunSMPB, or the track's edited length."""
    counted = None
    if container.format.name.startswith("mov") and stream.duration and stream.time_base:
        ticks = _movie_timescale(file)
        # an edit list counts in ticks of the whole movie, mostly milliseconds, rounded down: no sample is to be lost by that
        spare = -(-rate // ticks) if 0 < ticks < rate else 0
        counted = round(Fraction(stream.duration) * stream.time_base * rate) + spare
    text = (stream.metadata.get("iTunSMPB") or container.metadata.get("iTunSMPB") or "").split()
    exact = int(text[3], 16) if len(text) >= 4 and HEX.fullmatch(text[3]) else 0
    # a tag that was kept when the sound was cut or joined says something else
    return exact if exact and (counted is None or abs(exact - counted) <= MOST_DELAY) else counted


def _promised(container: Any, rate: int, start: float) -> int | None:
    """How many samples a container without such a count should hold, where sound is all that it holds."""
    if (
        len(container.streams) > 1
        or not container.duration
        or not container.format.name.startswith(("matroska", "asf"))
    ):
        return None
    return max(0, int((container.duration / 1_000_000 - start) * rate))


def _movie_timescale(file: Any) -> int:
    """Ticks per second of an MP4's movie header (ISO 14496-12, `mvhd`); 0: not found."""
    place = file.tell()
    try:
        found = _box(file, 0, os.fstat(file.fileno()).st_size, b"moov")
        header = _box(file, *found, b"mvhd") if found else None
        if header is None:
            return 0
        file.seek(header[0])
        content = file.read(24)
        at = 20 if content[:1] == b"\1" else 12
        return int.from_bytes(content[at : at + 4], "big")
    finally:
        file.seek(place)


def _box(file: Any, begin: int, end: int, name: bytes) -> tuple[int, int] | None:
    """Where the content of the first box of a name between two bytes begins and ends."""
    for _ in range(MOST_BOXES):
        file.seek(begin)
        head = file.read(16)
        if begin + 8 > end or len(head) < 8:
            return None
        size, start = int.from_bytes(head[:4], "big"), begin + 8
        if size == 1:
            size, start = int.from_bytes(head[8:16], "big"), begin + 16
        stop = end if size == 0 else begin + size
        if head[4:8] == name:
            return start, min(stop, end)
        if stop <= begin:
            return None
        begin = stop
    return None


def _samples(frame: Any) -> NDArray[np.float32]:
    """`[C, n]` float32, full scale +-1."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    kind = frame.format.packed.name
    if kind == "u8":
        values = values.astype(np.float64) - 128
    scale = SCALES.get(kind)
    return np.ascontiguousarray(values / scale if scale else values, dtype=np.float32)
