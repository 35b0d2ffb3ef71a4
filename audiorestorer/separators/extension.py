"""`kind: extension`: each fault of a recording of speech is mended by what is made for it, and what is sound stays. No torch import.

    from audiorestorer.separators.extension import SpeechRepair

    repair = SpeechRepair.load("models/pilot/pilot_extension.safetensors", denoiser=None)
    out = repair(audio, 16_000)                 # audio [C, T] float32
    out.enhanced, out.denoised, out.sample_rate

In this order: dropouts are filled (`dsp.dropouts`), clipped samples made anew (`dsp.declipping`), noise is taken out by a denoiser of
the registry as far as there is any, and a room's echoes with it (`dsp.rooms` finds them), and the band above the recording's own
limit, or above what strong noise left of it, is made by the extension network (`models.extension`). The first three give `denoised`,
all four `enhanced`. A step that finds nothing to do leaves the recording as it is, bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.config import EnhanceSettings
from audiorestorer.dsp import declipping, dropouts, keeping, rooms
from audiorestorer.dsp.overlap_add import process
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import extension
from audiorestorer.separators import Loaded
from audiorestorer.separators.enhancing import Level, RecordingEnhancer
from audiorestorer.separators.runtime.spool import Spool
from audiorestorer.separators.runtime.streaming import Recording, estimates, full_band

HELPERS = ("denoiser",)  # options of the stage that name a further model; read without an import


# Largest share of the denoised signal in a room and in a narrow band (it takes 14 and 8 dB then): the denoiser learned neither.
ROOM_WET, NARROW_WET, NARROW_HZ = 0.8, 0.6, 5000.0
# Where strong noise was taken out, the denoiser left too little above: with pink noise at 5 to 20 dB the spectra of development voices
# come 0.3 to 0.9 dB nearer by what the network adds, at 25 dB they get worse.
COVERED_HZ = 4000.0
LEAST_SPEECH = 0.1  # of a recording's energy: a denoiser that leaves less heard no speech


@dataclass(frozen=True)
class Mended:
    """A recording after the steps that keep its rate.

    Attributes:
        recording: what they made. held: what each channel holds of it. levels: active RMS of each channel `[C]`.
        covered: whether noise covered a channel's speech from `COVERED_HZ` on, where `held` ends then.
        is_speech: False where the denoiser finds next to none: then nothing was denoised, and no band is to be made.
    """

    recording: Recording
    held: list[keeping.Held]
    levels: NDArray[np.float32]
    covered: list[bool]
    is_speech: bool

    def band(self, lacks: list[bool]) -> str:
        """In words, the narrowest band of the channels that lack one."""
        lowest, covered = min(
            (each.band_hz, covered) for each, covered, lacking in zip(self.held, self.covered, lacks, strict=True) if lacking
        )  # fmt: skip
        return f"a band of {lowest / 1000:.1f} kHz" + (" that the noise left" if covered else "")


class SpeechRepair(RecordingEnhancer):
    """The steps with a run's settings."""

    device = "cpu"
    may_change_words = False  # what is made lies above the recording's own band, or above COVERED_HZ

    def __init__(
        self, config: extension.ExtensionConfig, network: extension.Network, settings: EnhanceSettings, denoiser: Loaded | None
    ) -> None:  # fmt: skip
        self.config, self.network, self.settings, self.denoiser = config, network, settings, denoiser
        self.sample_rate = config.sample_rate

    @classmethod
    def load(
        cls, checkpoint: str | Path, settings: EnhanceSettings | None = None, denoiser: Loaded | None = None, threads: int = 1
    ) -> SpeechRepair:  # fmt: skip
        """Read a checkpoint. `denoiser`: a loaded model; None: noise stays.

        Raises:
            AudioRestorerError: not an extension network, or settings that it cannot follow.
        """
        settings = settings or EnhanceSettings()
        if settings.regenerate_all:
            raise AudioRestorerError(
                "regenerate_all: an extension network makes a band alone; take a model of kind enhancer"
            )
        return cls(*extension.load(Path(checkpoint), threads), settings, denoiser)

    def stream(
        self, recording: Recording, seed: int = 0, found: list[str] | None = None, scratch: Path | None = None
    ) -> Iterator[dict[str, Audio]]:
        """See `RecordingEnhancer.stream`."""
        with Spool(scratch) as spool:
            found = [] if found is None else found
            mended = self.mended(recording, spool, found)
            out_rate = self.output_rate(recording.sample_rate)
            total = recording.frames_at(out_rate)
            size = int(audio.BLOCK_SEC * out_rate)
            given = audio.rechunk(mended.recording.at_rate(out_rate), size)
            lacks = [mended.is_speech and each.lacks(self.sample_rate) and each.lacks(out_rate) for each in mended.held]
            if self.settings.denoise_only or not any(lacks):
                names = ["denoised"] if self.settings.denoise_only else ["denoised", "enhanced"]
                yield from (dict.fromkeys(names, block) for block in given)
                return
            found.append(mended.band(lacks))
            missing = audio.resample_blocks(
                self._missing(mended, lacks, seed), self.sample_rate, out_rate, recording.channels
            )
            for block, above in zip(given, audio.rechunk(audio.fit_length(missing, total), size), strict=True):
                yield {"denoised": block, "enhanced": block + above}

    def mended(self, recording: Recording, spool: Spool, found: list[str]) -> Mended:
        """Fill, declip and denoise, each where it is called for.

        Raises:
            AudioRestorerError: empty, unreadable, or NaN or infinite samples.
        """
        rate, total, channels = recording.sample_rate, recording.frames, recording.channels
        level = Level.of(recording)
        if dropouts.present(recording.open(), total, rate, level.active):
            recording = spool.after(recording, lambda blocks: dropouts.filled(blocks, total, rate, level.active))
            found.append("dropouts")
        limits = declipping.find(recording.open, channels)
        if limits.any:
            recording = spool.after(recording, lambda blocks: declipping.declipped(blocks, total, rate, limits))
            found.append("clipping")
            level = Level.of(recording)
        held = keeping.held(recording.open(), rate, level.active)
        echoes = rooms.echoes(recording.open(), rate, level.active)
        wet = np.array([[_wet(*each)] for each in zip(held, echoes, strict=True)], np.float32)
        if self.denoiser is None or not wet.any():
            return Mended(recording, held, level.active, [False] * channels, is_speech=True)
        energy = np.zeros((2, channels))
        denoised = spool.after(recording, partial(self._denoised, recording, wet, energy))
        asked = (wet[:, 0] > 0) & (energy[0] > 0)
        if asked.any() and (energy[1, asked] < LEAST_SPEECH * energy[0, asked]).all():
            found.append("no speech that the denoiser knows: left as it is")
            return Mended(recording, held, level.active, [False] * channels, is_speech=False)
        found += ["a room"] if any(echoes) else []
        if noisy := [each.snr_db for each in held if each.wet > 0 and np.isfinite(each.snr_db)]:
            found.append(f"noise {min(noisy):.0f} dB below the speech")
        covered = [each.wet == 1 and each.band_hz > COVERED_HZ for each in held]
        left = [replace(each, band_hz=COVERED_HZ) if lost else each for each, lost in zip(held, covered, strict=True)]
        return Mended(denoised, left, level.active, covered, is_speech=True)

    def _denoised(
        self, recording: Recording, wet: Audio, energy: NDArray[np.float64], blocks: Iterator[Audio]
    ) -> Iterator[Audio]:
        """`energy` `[2, C]` gets that of the recording and of its denoised version."""
        assert self.denoiser is not None
        size = int(audio.BLOCK_SEC * recording.sample_rate)
        for block, out in zip(audio.rechunk(blocks, size), estimates(self.denoiser, recording), strict=True):
            speech = full_band(out)
            for row, signal in enumerate((block, speech)):
                energy[row] += np.square(signal, dtype=np.float64).sum(axis=1)
            yield wet * speech + (1 - wet) * block

    def _missing(self, mended: Mended, lacks: list[bool], seed: int) -> Iterator[Audio]:
        """What each channel lacks above its limit, at the network's rate."""
        recording, rate, hop = mended.recording, self.sample_rate, self.config.hop_length
        whole = -(-recording.frames_at(rate) // hop) * hop
        plan, firsts = self.windows(whole, hop)
        limits = np.array([each.band_hz for each in mended.held])
        scale = np.maximum(mended.levels, 1e-6)[:, None] * np.array(lacks, np.float32)[:, None]

        def run(windows: Audio) -> Audio:
            return np.stack([self._window(window, scale, limits, seed, next(firsts)) for window in windows])

        return process(recording.at_rate(rate, whole), whole, plan, run)

    def _window(self, window: Audio, scale: Audio, limits: NDArray[np.float64], seed: int, first: int) -> Audio:
        """`[C, N]`; channels that lack nothing have scale 0 and get silence."""
        out = np.zeros_like(window)
        asked = np.flatnonzero(scale[:, 0] > 0)
        given, count = window[asked] / scale[asked], len(asked)
        made = extension.made_above(self.config, self.network, given, limits[asked], [seed] * count, [first] * count)
        out[asked] = made * scale[asked]
        return out


def _wet(held: keeping.Held, echo: bool) -> float:
    """Share of the denoised version of a channel, by its noise, its room and its band."""
    wet = max(held.wet, ROOM_WET) if echo else held.wet
    return min(wet, NARROW_WET) if held.band_hz < NARROW_HZ else wet
