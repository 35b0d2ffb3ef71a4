"""Writing audio through libsndfile: atomic, reproducible to the byte, and with the system's reason where it fails."""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from audiorestorer.formats import layouts
from audiorestorer.temporaries import temporary_beside

WAV_LIMIT_BYTES = 4_000_000_000  # above it a plain WAV header cannot count the samples: RF64
# sndfile.h: the PEAK chunk holds the time of day, so equal audio would give unequal bytes
SFC_SET_ADD_PEAK_CHUNK = 0x1050
SFC_SET_CHANNEL_MAP_INFO = 0x1101
WITH_MAP = ("WAVEX", "RF64", "CAF", "AIFF")
BYTES_PER_SAMPLE = {"PCM_U8": 1, "PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
Audio = NDArray[np.float32]


class Atomic(ABC):
    """A file that gets its name when a `with` ends well, and leaves nothing behind after an exception."""

    @abstractmethod
    def close(self) -> None:
        """Finish the file and give it its name."""

    @abstractmethod
    def abort(self) -> None:
        """Remove what is there."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class Writer(Atomic):
    """Writes a file in blocks under a temporary name; `close()` (or a clean `with`) renames it, an exception removes it.

    Args:
        subtype: libsndfile's, e.g. `FLOAT` (intermediates), `PCM_16`. Integer subtypes saturate at full scale: the caller keeps below.
        expected_frames: when known, decides between WAV and RF64.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int,
        channels: int,
        *,
        format: str = "WAV",
        subtype: str = "FLOAT",
        expected_frames: int = 0,
    ) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = temporary_beside(self.path)
        if format == "WAV" and expected_frames * channels * BYTES_PER_SAMPLE.get(subtype, 4) > WAV_LIMIT_BYTES:
            format = "RF64"
        if format == "WAV" and channels > 2:
            format = "WAVEX"  # which says where the channels stand
        try:
            self._file = sf.SoundFile(
                str(self._temporary), "w", samplerate=sample_rate, channels=channels, format=format, subtype=subtype
            )
        except sf.LibsndfileError as error:
            raise self._reason(error) from error
        self._command(SFC_SET_ADD_PEAK_CHUNK)
        if channels in layouts.MAPS and format in WITH_MAP:
            self._command(SFC_SET_CHANNEL_MAP_INFO, "int[]", layouts.MAPS[channels])
        self.frames = 0

    def _command(self, number: int, kind: str = "", value: object = None) -> None:
        """A command of libsndfile (sndfile.h), with a value of a C type; without: none."""
        binding: Any = sf
        data = binding._ffi.new(kind, value) if kind else binding._ffi.NULL
        size = binding._ffi.sizeof(data) if kind else 0
        binding._snd.sf_command(self._file._file, number, data, size)

    def write(self, block: Audio) -> None:
        """Append `[C, n]`.

        Raises:
            OSError: it could not be written, with the system's reason.
        """
        try:
            self._file.write(np.ascontiguousarray(block.T))
        except (sf.LibsndfileError, AssertionError) as error:  # soundfile asserts that all was written
            raise self._reason(error) from error
        self.frames += block.shape[1]

    def close(self) -> None:
        """Raises OSError: the last samples are not on the disk (libsndfile does not say so)."""
        try:
            try:
                self._file.close()
                whole = self._is_whole()
            except sf.LibsndfileError as error:
                raise self._reason(error) from error
            if not whole:
                raise self._reason(None)
            self.finish()
            with open(self._temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def finish(self) -> None:
        """What is done to the whole file before it takes its name."""

    def _is_whole(self) -> bool:
        """Whether all samples can be read back: the header's count, and of a compressed file its end."""
        with sf.SoundFile(str(self._temporary)) as file:
            if file.frames != self.frames:
                return False
            if file.format != "FLAC" or not self.frames:
                return True
            last = min(self.frames, file.samplerate)
            file.seek(self.frames - last)
            return len(file.read(last, dtype="float32")) == last

    def _reason(self, error: Exception | None) -> OSError:
        """Why a write failed: libsndfile says only that it did, so a block is written beside it and the system asked."""
        trial = self._temporary.with_name(f"{self._temporary.name}.trial")
        try:
            with open(trial, "wb") as file:
                file.write(bytes(1 << 16))
                file.flush()
                os.fsync(file.fileno())
        except OSError as reason:
            return OSError(reason.errno, reason.strerror, str(self.path))
        finally:
            trial.unlink(missing_ok=True)
        # room came back meanwhile, or the limit is on the size of a file
        return OSError(errno.ENOSPC, f"could not be written in full ({error or 'cut short'})", str(self.path))

    def abort(self) -> None:
        # the rest of it cannot be written either; the first error is the one to tell
        with suppress(sf.LibsndfileError):
            self._file.close()
        self._temporary.unlink(missing_ok=True)
