"""Open, stream in blocks, resample and write audio. Arrays are float32 `[C, T]`, full scale +-1, never clamped in between."""

from __future__ import annotations

import logging
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from audiorestorer.errors import AudioRestorerError
from audiorestorer.formats import encoding, mending
from audiorestorer.formats.vorbis import VorbisWriter
from audiorestorer.formats.writing import Writer
from audiorestorer.left_out import TAKEN, instead, of_formats
from audiorestorer.names import NOT_TEXT, as_text, is_text

log = logging.getLogger("audiorestorer")
Audio = NDArray[np.float32]
Item = TypeVar("Item")

BLOCK_SEC = 10.0  # memory is bounded by this, not by the length of a file
SUFFIXES = TAKEN
# a frame of an MP3 needs bits of those before it: so many samples are decoded before the wanted ones
MP3_LEAD_FRAMES = 20 * 1152
# the suffixes of recordings that are written as they are read, and libsndfile's format of each
WRITTEN = {
    ".wav": "WAV", ".wave": "WAV", ".bwf": "WAV", ".rf64": "RF64", ".w64": "W64", ".flac": "FLAC", ".aif": "AIFF", ".aiff": "AIFF",
    ".aifc": "AIFF", ".caf": "CAF", ".au": "AU", ".snd": "AU",
}  # fmt: skip
# and those that are coded anew (`formats.encoding`); what is neither becomes FLAC
CODED = {".mp3": "MP3", ".m4a": "AAC", ".m4b": "AAC", ".opus": "OPUS", ".ogg": "VORBIS"}
# a container of several codecs keeps the input's: (suffix, codec by FFmpeg's name)
SAME_CODEC = {
    (".m4a", "alac"): "ALAC",
    (".m4b", "alac"): "ALAC",
    (".ogg", "opus"): "OPUS",
    (".ogg", "flac"): "FLAC in Ogg",
}
LINEAR = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
FLAC_SUBTYPES = ("PCM_16", "PCM_24")
RESAMPLE_QUALITY = "HQ"
CEILING = 1 - 2**-15  # the largest sample of 16 bits


@dataclass(frozen=True)
class AudioInfo:
    """The contents of a file. `frames` is samples per channel; `note` says where its header says otherwise."""

    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str
    note: str | None = None

    @property
    def duration_sec(self) -> float:
        return self.frames / self.sample_rate


def probe(path: str | Path) -> AudioInfo:
    """The contents of a file, by its header where that is right (`mending`).

    Raises:
        AudioRestorerError: no regular file, no audio that can be read, cut short, or a name that is not UTF-8: no row could hold it.
    """
    if not is_text(str(path)):
        raise AudioRestorerError(f"{as_text(str(path))}: {NOT_TEXT}")
    with _opened(path) as (file, frames, note):
        return AudioInfo(file.samplerate, file.channels, frames, coded(path) or file.format, file.subtype, note)


def coded(path: str | Path) -> str | None:
    """The kind of a recording that libsndfile does not read (`formats.containers`); None: it does, or nothing does.

    Raises:
        AudioRestorerError: no regular file, or no recording.
    """
    try:
        view = _view(path)
    except OSError as error:
        raise AudioRestorerError(f"{path}: {error.strerror or error}") from error
    return view.coded if view else None


def texts_of(path: str | Path) -> dict[str, str]:
    """A recording's texts (artist, title, ...) as libsndfile reads them, without the name of the program that wrote it.

    Raises:
        AudioRestorerError: as `probe`.
    """
    with _opened(path) as (file, _, _note):
        return {name: text for name, text in file.copy_metadata().items() if text and name != "software"}


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[sf.SoundFile, int, str | None]]:
    """A recording as it is or mended, its number of samples, and the note on its header: the one place that opens recordings.

    Raises:
        AudioRestorerError: as `probe`; and all errors of libsndfile while it is open, in our words.
    """
    try:
        view = _view(path)
        with ExitStack() as stack:
            try:
                opened = stack.enter_context(mending.opened(str(path), view))
            except AudioRestorerError as error:
                raise AudioRestorerError(f"{path}: {error}") from error
            yield opened
    except (sf.LibsndfileError, RuntimeError, TypeError, UnicodeError) as error:
        raise AudioRestorerError(f"{path}: {mending.words(str(path), getattr(error, 'code', 0))}") from error
    except OSError as error:
        raise AudioRestorerError(f"{path}: {error.strerror or error}") from error


def _view(path: str | Path) -> mending.View | None:
    """Raises AudioRestorerError: no regular file, or no recording. OSError: it cannot be opened."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise AudioRestorerError(f"{path}: not a regular file")
    try:
        return mending.view_of(str(path))
    except AudioRestorerError as error:
        raise AudioRestorerError(f"{path}: {error}") from error


def blocks(
    path: str | Path, *, block_sec: float = BLOCK_SEC, start: int = 0, frames: int | None = None
) -> Iterator[Audio]:
    """Decode a file block by block.

    Args:
        start: first sample.
        frames: how many samples at most, None for all.

    Yields:
        `[C, n]` float32, n <= block_sec * rate.

    Raises:
        AudioRestorerError: the decoder fails, or delivers fewer samples than the header counts.
    """
    with _opened(path) as (file, held, _):
        size = max(1, int(block_sec * file.samplerate))
        wanted = max(0, held - start) if frames is None else min(frames, max(0, held - start))
        if start:
            lead = min(start, MP3_LEAD_FRAMES) if file.format == "MP3" else 0
            file.seek(start - lead)
            if lead:
                file.read(lead, dtype="float32")
        done = 0
        while done < wanted:
            try:
                block = file.read(min(size, wanted - done), dtype="float32", always_2d=True)
            except (sf.LibsndfileError, RuntimeError) as error:
                raise AudioRestorerError(
                    f"{path}: damaged or cut short: it fails after {done} of {wanted} samples"
                ) from error
            if not len(block):
                raise AudioRestorerError(f"{path}: truncated: {done} of {wanted} samples could be read")
            done += len(block)
            yield np.ascontiguousarray(block.T)


def output_format(source: AudioInfo, suffix: str, subtype: str = "keep", codec: str | None = None) -> tuple[str, str]:
    """Format and subtype of an output, by its suffix. Kept: the source's; compressed and 8-bit ones become 16 bit.

    Args:
        codec: of the source, where FFmpeg decoded it; ALAC in an M4A stays ALAC.
    """
    if subtype == "keep":
        subtype = source.subtype if source.subtype in LINEAR else "PCM_16"
    if suffix in CODED:
        return SAME_CODEC.get((suffix, codec or ""), CODED[suffix]), subtype
    format = WRITTEN[suffix]
    return format, subtype if format != "FLAC" or subtype in FLAC_SUBTYPES else "PCM_24"


def below(folder: Path) -> dict[str, Path]:
    """The recordings below a folder, any depth, sorted, by their relative path; hidden files are none.

    A name may be no UTF-8: `probe` refuses such a file, and `names.as_text` shows it.
    """
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    }


def recordings(folder: Path) -> dict[str, Path]:
    """`below`, of which there must be some. Files of other formats are named in the log.

    Raises:
        AudioRestorerError: there are none.
    """
    paths, others = below(folder), _others(folder)
    if not paths:
        raise none_in(folder, others)
    name_others(folder, others)
    return paths


def name_others(folder: Path, others: list[str] | None = None) -> None:
    """Name in the log the audio files of a folder that are no recordings by their suffix."""
    for entry in of_formats(_others(folder) if others is None else others):
        log.warning("%s: %s", as_text(str(folder)), entry["text"])


def none_in(folder: Path, others: list[str] | None = None) -> AudioRestorerError:
    """The error of a folder without recordings: it names the files there and says how to convert audio of other formats."""
    held = _others(folder) if others is None else others
    return AudioRestorerError(f"{folder}: no recordings ({', '.join(SUFFIXES)}){instead(held)}")


def _others(folder: Path) -> list[str]:
    """Files below a folder that are no recordings by their suffix, hidden ones aside."""
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() not in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]


def read(path: str | Path, *, start: int = 0, frames: int | None = None) -> tuple[Audio, int]:
    """A (short) file as a whole: `[C, T]` and its rate. Long files: `blocks`."""
    info = probe(path)
    parts = list(blocks(path, start=start, frames=frames))
    return (np.concatenate(parts, axis=1) if parts else np.zeros((info.channels, 0), np.float32)), info.sample_rate


def read_mono(path: str | Path, sample_rate: int) -> Audio:
    """A (short) file as a whole at a rate, `[T]`: the mean of its channels."""
    audio, rate = read(path)
    mono = audio.mean(axis=0, dtype=np.float32)
    return np.asarray(mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate), np.float32)


def resample_blocks(source: Iterable[Audio], from_rate: int, to_rate: int, channels: int) -> Iterator[Audio]:
    """Resample a stream (soxr, linear phase, delay compensated). Equal rates pass through.

    The length of the output is round(T * to / from) within one sample; `fit_length` makes it exact.
    """
    if from_rate == to_rate:
        yield from source
        return
    stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality=RESAMPLE_QUALITY)
    for block in source:
        out = stream.resample_chunk(np.ascontiguousarray(block.T))
        if len(out):
            yield np.ascontiguousarray(out.reshape(len(out), channels).T)
    out = stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)
    if len(out):
        yield np.ascontiguousarray(out.reshape(len(out), channels).T)


def fit_length(source: Iterable[Audio], length: int) -> Iterator[Audio]:
    """Cut or zero-pad a stream to exactly `length` samples (the rounding of a resampler, never more than a few samples)."""
    done = 0
    last: Audio | None = None
    for block in source:
        last = block = block[:, : length - done]
        if block.shape[1]:
            yield block
        done += block.shape[1]
    if done < length and last is not None:
        yield np.zeros((last.shape[0], length - done), np.float32)


def rechunk(source: Iterable[Audio], size: int) -> Iterator[Audio]:
    """The same stream in blocks of exactly `size` samples (the last one shorter)."""
    pending: list[Audio] = []
    held = 0
    for block in source:
        pending.append(block)
        held += block.shape[1]
        if held >= size:
            whole = np.concatenate(pending, axis=1)
            for begin in range(0, held - size + 1, size):
                yield whole[:, begin : begin + size]
            rest = whole[:, held - held % size :]
            pending, held = ([rest] if rest.shape[1] else []), rest.shape[1]
    if held:
        yield np.concatenate(pending, axis=1)


def copies(source: Iterable[Item], count: int) -> list[Iterator[Item]]:
    """The same stream `count` times. What all have read is let go at once; `itertools.tee` keeps dozens of blocks."""
    stream = iter(source)
    queues: list[deque[Item]] = [deque() for _ in range(count)]

    def read(queue: deque[Item]) -> Iterator[Item]:
        while True:
            if not queue:
                try:
                    item = next(stream)
                except StopIteration:
                    return
                for each in queues:
                    each.append(item)
                del item
            yield queue.popleft()

    return [read(queue) for queue in queues]


def to_channels(source: Iterable[Audio], channels: int) -> Iterator[Audio]:
    """Mono to many by copying, many to mono by the mean."""
    for block in source:
        if block.shape[0] == channels:
            yield block
        elif block.shape[0] == 1:
            yield np.repeat(block, channels, axis=0)
        elif channels == 1:
            yield block.mean(axis=0, keepdims=True, dtype=np.float32)
        else:
            raise AudioRestorerError(f"cannot turn {block.shape[0]} channels into {channels}")


def write(path: str | Path, audio: Audio, sample_rate: int, *, format: str = "WAV", subtype: str = "FLOAT") -> None:
    """Write `[C, T]` atomically."""
    with Writer(
        path, sample_rate, audio.shape[0], format=format, subtype=subtype, expected_frames=audio.shape[1]
    ) as out:
        out.write(audio)


def write_blocks(
    path: str | Path,
    source: Iterable[Audio],
    sample_rate: int,
    channels: int,
    *,
    format: str = "WAV",
    subtype: str = "FLOAT",
    expected_frames: int = 0,
    bit_rate: int | None = None,
    chapters: Sequence[tuple[float, float, str]] = (),
) -> int:
    """Write a stream atomically; returns the number of samples per channel.

    Args:
        format: of libsndfile, or coded (`formats.encoding.CODINGS`): at a rate that it does not have the stream is resampled.
        bit_rate: bit/s of a coded format; None: what sounds well. chapters: of an M4A.
    """
    if format in encoding.CODINGS:
        rate = encoding.rate_for(format, sample_rate)
        bits = 16 if subtype == "PCM_16" else 24
        wanted = encoding.bit_rate_for(format, rate, channels, bit_rate)
        with (
            VorbisWriter(path, rate, channels, wanted)
            if format == "VORBIS"
            else encoding.Encoder(path, rate, channels, format=format, bit_rate=wanted, bits=bits, chapters=chapters)
        ) as coded_file:
            for block in resample_blocks(source, sample_rate, rate, channels):
                coded_file.write(block)
        return coded_file.frames
    with Writer(path, sample_rate, channels, format=format, subtype=subtype, expected_frames=expected_frames) as out:
        for block in source:
            out.write(block)
    return out.frames


def write_below_full_scale(source: str | Path, target: Path, peak: float, *, format: str, subtype: str) -> float:
    """Copy a file into another format; where an integer one would clip, the whole is turned down.

    Args:
        peak: the source's largest sample.

    Returns:
        The gain in dB.
    """
    gain = CEILING / peak if peak > CEILING and subtype not in ("FLOAT", "DOUBLE") else 1.0
    info = probe(source)
    write_blocks(
        target, (np.float32(gain) * block for block in blocks(source)), info.sample_rate, info.channels,
        format=format, subtype=subtype, expected_frames=info.frames,
    )  # fmt: skip
    return round(20 * float(np.log10(gain)), 3)
