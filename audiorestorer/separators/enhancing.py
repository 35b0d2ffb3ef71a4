"""What the kinds of enhancers share: whole recordings in, two versions of them out, at one rate. No torch import."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio
from audiorestorer.config import EnhanceSettings
from audiorestorer.dsp.active_level import active_level
from audiorestorer.dsp.outliers import outlier_bound, without_outliers
from audiorestorer.dsp.overlap_add import Plan, plan_of
from audiorestorer.errors import AudioRestorerError
from audiorestorer.separators.runtime.streaming import Recording

LEAST_RATE = 4000  # Hz


@dataclass(frozen=True)
class EnhancedAudio:
    """`denoised` and `enhanced`: `[C, n]` at `sample_rate`; `enhanced` None where only the denoiser was run. `found`: see `stream`."""

    denoised: Audio
    enhanced: Audio | None
    sample_rate: int
    found: tuple[str, ...] = ()


@dataclass(frozen=True)
class Level:
    """Of a recording's channels: `bound` `[C, 1]`, from which on a sample is an outlier; `active` `[C]`, without outliers."""

    bound: NDArray[np.float32]
    active: NDArray[np.float32]

    @classmethod
    def of(cls, recording: Recording) -> Level:
        """Raises AudioRestorerError: empty, a rate that holds no speech, or NaN or infinite samples."""
        if not recording.frames:
            raise AudioRestorerError("empty: no samples")
        if recording.sample_rate < LEAST_RATE:
            raise AudioRestorerError(f"a sample rate of {recording.sample_rate} Hz: speech needs {LEAST_RATE} at least")
        bound = _outliers(recording)
        return cls(bound, _levels(recording, bound))


class RecordingEnhancer:
    """Enhances recordings block by block, in bounded memory.

    Attributes:
        settings: of the run. sample_rate: Hz, at which the network works. device: `cpu` or a GPU's name.
        may_change_words: whether speech that the recording holds is made anew; if not, no recogniser need compare the versions.
    """

    may_change_words = True

    settings: EnhanceSettings
    sample_rate: int
    device: str

    def output_rate(self, rate: int) -> int:
        """Hz of the output for a recording of this rate. A denoiser makes no new band: alone it keeps the rate."""
        keep = self.settings.sample_rate == "keep" or self.settings.denoise_only
        return rate if keep else max(rate, self.sample_rate)

    def windows(self, whole: int, hop: int, batch_size: int = 1) -> tuple[Plan, Iterator[int]]:
        """Windows of the settings' length over so many samples at the network's rate, and the frame that each begins at.

        Args:
            whole: a multiple of the hop, on which windows begin.
        """
        settings = self.settings
        window, overlap = (
            max(1, round(seconds * self.sample_rate / hop)) * hop
            for seconds in (settings.window_sec, settings.overlap_sec)
        )
        plan = plan_of(whole, window, overlap, hop, batch_size)
        return plan, (min(offset, whole - plan.segment) // hop for offset in range(0, whole, plan.stride))

    def __call__(self, given: NDArray[np.float32], sample_rate: int, seed: int = 0) -> EnhancedAudio:
        """Enhance audio in memory.

        Args:
            given: `[C, T]` or `[T]`, finite.
            seed: equal seeds give equal bytes on one device.

        Raises:
            AudioRestorerError: empty, or NaN or infinite samples.
        """
        signal = np.atleast_2d(np.asarray(given, np.float32))
        recording = Recording(lambda: iter([signal]), sample_rate, *signal.shape)
        found: list[str] = []
        blocks = list(self.stream(recording, seed, found))
        whole = {name: np.concatenate([block[name] for block in blocks], axis=1) for name in blocks[0]}
        return EnhancedAudio(whole["denoised"], whole.get("enhanced"), self.output_rate(sample_rate), tuple(found))

    def stream(
        self, recording: Recording, seed: int = 0, found: list[str] | None = None, scratch: Path | None = None
    ) -> Iterator[dict[str, Audio]]:
        """Enhance a recording block by block.

        Args:
            found: gets what was found in the recording and treated, in words for people; complete with the first block.
            scratch: folder for temporary files; None: the system's.

        Yields:
            Blocks `[C, n]` at `output_rate`: round(frames * output rate / rate) samples in all. `denoised` and, unless `denoise_only`,
            `enhanced`.

        Raises:
            AudioRestorerError: empty, unreadable, or NaN or infinite samples.
        """
        raise NotImplementedError


def _outliers(recording: Recording) -> NDArray[np.float32]:
    """The level from which on a recording's samples are outliers, `[C, 1]` (`dsp.outliers`).

    Raises:
        AudioRestorerError: NaN or infinite samples.
    """

    def finite() -> Iterator[Audio]:
        for block in recording.open():
            if not np.isfinite(block).all():
                raise AudioRestorerError("NaN or infinite samples")
            yield block

    return outlier_bound(finite(), recording.channels, recording.sample_rate)


def _levels(recording: Recording, bound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Active level of each channel without its outliers: `[C]`; 0 for silence."""

    def channel(number: int) -> Iterator[Audio]:
        one = (block[number : number + 1] for block in recording.open())
        return without_outliers(one, bound[number : number + 1], recording.sample_rate)

    return np.array(
        [active_level(channel(number), recording.sample_rate) for number in range(recording.channels)], np.float32
    )
