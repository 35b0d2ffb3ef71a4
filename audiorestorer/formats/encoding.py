"""Writing coded recordings (MP3, AAC and ALAC in MP4, Opus), with the interface of `writing.Writer`.

FFmpeg encodes, through PyAV. The first sample of the decoded file is the first that was given, and it has as many: MP3's delay stands
in its LAME tag, Opus' in its pre-skip, AAC's in an edit list whose clock is the sample rate.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiorestorer.errors import AudioRestorerError
from audiorestorer.formats import layouts, mpeg
from audiorestorer.formats.writing import Atomic
from audiorestorer.temporaries import temporary_beside

Audio = NDArray[np.float32]
LOSSLESS = {"ALAC": ("s16p", "s32p"), "FLAC in Ogg": ("s16", "s32")}  # FFmpeg's sample formats up to 16 bits, and above
OPTIONS = {"MP3": {"compression_level": "6"}}  # LAME's quality: its default takes a fifth longer
BLOCK = 1 << 14  # samples that are given to an encoder at a time


@dataclass(frozen=True)
class Coding:
    """How a format is written: FFmpeg's muxer and encoder, the rates that it takes (None: any), bit/s per channel (the least that
    sounds well, and the most that it takes), and the numbers of channels."""

    muxer: str
    encoder: str
    rates: tuple[int, ...] | None
    least: int
    most: int
    channels: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)


AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
CODINGS = {
    "MP3": Coding(
        "mp3", "libmp3lame", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), 64_000, 160_000, (1, 2)
    ),
    "AAC": Coding("ipod", "aac", AAC_RATES, 64_000, 256_000),
    "AAC in Matroska": Coding(
        "matroska", "aac", AAC_RATES, 64_000, 256_000
    ),  # where the delay stands as Matroska wants it
    "ALAC": Coding("ipod", "alac", None, 0, 0, (1, 2, 3, 5, 6)),
    "VORBIS": Coding("ogg", "vorbis", None, 64_000, 250_000),  # by libsndfile (`vorbis`)
    "FLAC in Ogg": Coding("ogg", "flac", None, 0, 0),
    "OPUS": Coding("opus", "libopus", (48000,), 48_000, 255_000, (1, 2, 3, 4, 6, 8)),
}


def rate_for(format: str, sample_rate: int) -> int:
    """The rate that a recording of this rate is coded at: its own, or the next one that the format has."""
    rates = CODINGS[format].rates
    return sample_rate if rates is None else min((rate for rate in rates if rate >= sample_rate), default=max(rates))


def bit_rate_for(format: str, sample_rate: int, channels: int, wanted: int | None) -> int:
    """bit/s within what the format takes: those wanted, or where none are as many as sound well."""
    coding = CODINGS[format]
    return min(
        coding.most * channels, wanted if wanted else round(coding.least * channels * max(1.0, sample_rate / 48_000))
    )


def check(format: str, channels: int) -> None:
    """Raises AudioRestorerError: the format takes no recordings of so many channels."""
    if channels not in CODINGS[format].channels:
        raise AudioRestorerError(f"{format} takes no recordings of {channels} channels: choose another loudness.format")


class Encoder(Atomic):
    """Writes a coded file in blocks under a temporary name; `close()` renames it, an exception removes it.

    Args:
        format: of `CODINGS`. sample_rate: one of its rates. bit_rate: bit/s in all; of lossless formats not used.
        bits: of a sample, for lossless formats. chapters: (start s, end s, title), which MP4 holds.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int,
        channels: int,
        *,
        format: str,
        bit_rate: int | None = None,
        bits: int = 16,
        chapters: Sequence[tuple[float, float, str]] = (),
    ) -> None:
        import av

        coding = CODINGS[format]
        check(format, channels)
        self.path, self.frames, self._format, self._rate = Path(path), 0, format, sample_rate
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = temporary_beside(self.path)
        options = {"fflags": "+bitexact"}
        if coding.muxer == "ipod":
            options["movie_timescale"] = str(sample_rate)
        self._container: Any = av.open(str(self._temporary), "w", format=coding.muxer, options=options)
        if coding.muxer == "ipod" and chapters:
            self._container.set_chapters(
                [
                    {"id": number, "start": round(1000 * start), "end": round(1000 * end), "time_base": Fraction(1, 1000),
                     "metadata": {"title": title}}
                    for number, (start, end, title) in enumerate(chapters)
                ]
            )  # fmt: skip
        layout = layouts.NAMES[channels]
        stream: Any = self._container.add_stream(
            coding.encoder, rate=sample_rate, layout=layout, options=OPTIONS.get(format, {})
        )
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        if coding.most:
            stream.bit_rate = bit_rate_for(format, sample_rate, channels, bit_rate)
        self._stream, self._layout = stream, layout
        wanted = stream.codec_context.format.name
        if format in LOSSLESS:
            wanted = LOSSLESS[format][bits > 16]
            stream.codec_context.format = av.AudioFormat(wanted)
        self._convert = av.AudioResampler(format=wanted, layout=layout, rate=sample_rate)

    def write(self, block: Audio) -> None:
        """Append `[C, n]`.

        Raises:
            OSError: it could not be written.
        """
        import av

        for begin in range(0, block.shape[1], BLOCK):
            # packed: PyAV's planes are wrong for eight channels
            part = np.ascontiguousarray(block[:, begin : begin + BLOCK].T, np.float32)
            frame = av.AudioFrame.from_ndarray(part.reshape(1, -1), format="flt", layout=self._layout)
            frame.sample_rate, frame.pts = self._rate, self.frames
            self.frames += len(part)
            for converted in self._convert.resample(frame):
                self._put(converted)

    def _put(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        """Raises OSError: the last samples are not on the disk."""
        try:
            for converted in self._convert.resample(None):
                self._put(converted)
            self._put(None)
            self._container.close()
            with open(self._temporary, "rb+") as file:
                if self._format == "MP3":
                    mpeg.note_samples(file, self.frames)
                    file.flush()
                os.fsync(file.fileno())
            os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def abort(self) -> None:
        self._container.close()
        self._temporary.unlink(missing_ok=True)
