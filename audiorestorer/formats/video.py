"""Videos: the restored sound takes the place of one sound track; picture, subtitles and all other tracks are copied as they are.

Nothing is coded here: the packets of a finished sound file (`encoding`) and those of the video are written into one container, each
at its own time. The sound begins where the track that it replaces began.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from audiorestorer.errors import AudioRestorerError, of_the_machine
from audiorestorer.formats import containers, metadata, sniffing
from audiorestorer.temporaries import temporary_beside

# suffix -> FFmpeg's muxer, and the format of the sound (`encoding.CODINGS`) with its suffix
CONTAINERS = {
    ".mp4": ("mp4", "AAC", ".m4a"), ".m4v": ("mp4", "AAC", ".m4a"), ".mov": ("mov", "AAC", ".m4a"),
    ".mkv": ("matroska", "AAC in Matroska", ".mka"), ".webm": ("webm", "OPUS", ".opus"),
}  # fmt: skip
COPIED = ("video", "audio", "subtitle", "attachment")


@dataclass(frozen=True)
class Track:
    """Which sound track of a video was decoded: its number, from 1, and the second at which its first sample is heard."""

    number: int
    start_sec: float


def merge(source: Path, sound: Path, target: Path, track: Track) -> str | None:
    """Write the video with the new sound, atomically; a sentence about tracks that its format does not take, or None.

    Raises:
        AudioRestorerError: the video or the sound cannot be read any more.
    """
    import av
    import av.logging

    av.logging.set_level(None)
    muxer = CONTAINERS[target.suffix.lower()][0]
    temporary = temporary_beside(target)
    with open(source, "rb") as file:
        kind = containers.demuxer(sniffing.real_format(file.read(sniffing.HEAD_BYTES)) or "")
        file.seek(0)
        options = (
            {"fflags": "+bitexact", "movie_timescale": "48000"} if muxer in ("mp4", "mov") else {"fflags": "+bitexact"}
        )
        try:
            with (
                av.open(file, format=kind, metadata_errors="replace") as given,
                av.open(str(sound)) as made,
                av.open(str(temporary), "w", format=muxer, options=options) as out,
            ):
                lost = _copy(given, made, out, track)
            with open(temporary, "rb") as done:
                os.fsync(done.fileno())
            os.replace(temporary, target)
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, OSError) and (machine := of_the_machine(error)):
                raise machine from error
            raise AudioRestorerError(f"cannot be written with its new sound: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)
    return f"not in the output: {', '.join(lost)}" if lost else None


def _copy(given: Any, made: Any, out: Any, track: Track) -> list[str]:
    """Copy all streams, the sound in the place of its track; what the container does not take."""
    import av.stream

    replaced = given.streams.audio[track.number - 1]
    streams: dict[int, Any] = {}
    lost: list[str] = []
    new: Any = None
    for stream in given.streams:
        if stream.index == replaced.index:
            new = out.add_stream_from_template(made.streams.audio[0])
            new.metadata.update(stream.metadata)
            new.disposition = stream.disposition | av.stream.Disposition.default  # whoever plays it hears the new sound
        elif stream.type in COPIED:
            try:
                copied = streams[stream.index] = out.add_stream_from_template(stream, opaque=True)
                copied.metadata.update(stream.metadata)
                copied.disposition = stream.disposition
                if stream.type == "audio":
                    copied.disposition = stream.disposition & ~av.stream.Disposition.default
            except ValueError as error:
                if stream.type == "video":
                    raise AudioRestorerError(f"its picture does not fit into this container ({error})") from error
                lost.append(f"track {stream.index + 1} ({stream.type})")
    dropped = (*containers.OF_PROGRAMS, *metadata.GAINS)
    out.metadata.update({key: text for key, text in given.metadata.items() if not key.lower().startswith(dropped)})
    if given.chapters():
        out.set_chapters(given.chapters())
    for packet, stream in _in_time(_packets(given, streams), _sound(made, new, track)):
        packet.stream = stream
        out.mux_one(packet)
    return lost


def _packets(given: Any, streams: dict[int, Any]) -> Iterator[tuple[Any, Any]]:
    """The packets of the copied streams. Matroska notes no decoding times, so that the first packets of a picture with reordered
    frames have none: theirs are counted backwards from the first one that is known."""
    waiting: dict[int, list[Any]] = {}
    chosen = [stream for stream in given.streams if stream.index in streams]
    for packet in given.demux(chosen) if chosen else ():
        if not packet.size or packet.stream.index not in streams:
            continue
        held = waiting.setdefault(packet.stream.index, [])
        held.append(packet)
        if packet.dts is not None:
            yield from _timed(held, streams)
            held.clear()
    for held in waiting.values():
        yield from _timed(held, streams)


def _timed(packets: list[Any], streams: dict[int, Any]) -> Iterator[tuple[Any, Any]]:
    """Packets in a row, of which only the last may have a decoding time."""
    if not packets:
        return
    last = packets[-1]
    if last.dts is None:
        last.dts = min(packet.pts or 0 for packet in packets)
    for number, packet in enumerate(reversed(packets[:-1]), 1):
        step = max(1, packet.duration or 1)
        packet.dts = last.dts - number * step
    for packet in packets:
        yield packet, streams[packet.stream.index]


def _sound(made: Any, new: Any, track: Track) -> Iterator[tuple[Any, Any]]:
    """The packets of the finished sound, moved to where the track began."""
    stream = made.streams.audio[0]
    moved = round(Fraction(track.start_sec).limit_denominator(1_000_000) / stream.time_base)
    for packet in made.demux(stream):
        if packet.size and packet.dts is not None:
            packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
            yield packet, new


def _in_time(*sources: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """Packets of several sources in the order of their times, so that a muxer holds few of them."""
    waiting = {number: one for number, source in enumerate(sources) if (one := next(source, None))}
    while waiting:
        place = min(waiting, key=lambda number: waiting[number][0].dts * waiting[number][0].time_base)
        yield waiting.pop(place)
        if following := next(sources[place], None):
            waiting[place] = following
