"""What a recording holds stays, what it lacks is made: generated speech only above the recording's own band, level-matched to it.

A generated voice has its own phase, and its words can differ. Below the recording's band limit nothing of it is needed: there the
recording itself is taken, or as much of its denoised version as its noise calls for. Above, the generated speech follows the level
that the recording has just below its limit, frame by frame, so that it is silent where the recording is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio
from audiorestorer.dsp import stft
from audiorestorer.dsp.noise_floor import NoiseMeter

REFERENCE = 0.1  # level that a recording is measured at
N_FFT, HOPS = 2048, 4  # at 44.1 kHz; shorter at lower rates
CLEAN_SNR_DB, NOISY_SNR_DB = 40.0, 25.0  # above the first nothing is denoised, below the second all is
UNKNOWN, CERTAIN = 0.3, 0.95  # confidences of the noise's level
CROSSING = 0.06  # width of the crossing, of the band limit
MATCHED = (0.6, 0.94)  # band that the level is matched in, of the band limit
NEAR_FRAMES = 2  # frames on each side that a level is a mean over
MOST_GAIN = 4.0
WHOLE_BAND = 0.92  # of the rate at which speech is generated: a recording with so much of it lacks nothing
LOWEST_HZ = 2_000.0  # of a band limit
STEPS = 24  # frequencies per octave that are tried
# A filter's edge falls by 36 dB and more over a third of an octave, and all above it lies 45 dB below the octave before; speech's own
# falls are at most 16 and 16 dB (24 voices of the pilot).
EDGE_DB, DROP_DB = 25.0, 30.0
OCTAVE_DB = 40.0  # a slow filter's fall (48 dB per octave) between half octaves that lie one octave apart
KNEE_DB = 15.0  # below the level before the edge: where the band ends


@dataclass(frozen=True)
class Held:
    """What a recording holds: speech up to `band_hz`, `snr_db` above its noise (NaN: none stands out of it)."""

    band_hz: float
    snr_db: float

    @property
    def wet(self) -> float:
        """Share of the denoised recording, 0 .. 1."""
        if np.isnan(self.snr_db):
            return 1.0
        return float(np.clip((CLEAN_SNR_DB - self.snr_db) / (CLEAN_SNR_DB - NOISY_SNR_DB), 0, 1))

    def lacks(self, rate: int) -> bool:
        """Whether speech at `rate` has a band above it."""
        return self.band_hz < WHOLE_BAND * rate / 2


def held(blocks: Iterable[Audio], rate: int, levels: NDArray[np.float32]) -> list[Held]:
    """Measure each channel of `[C, n]` blocks by itself. `levels` `[C]`: of each, so that loud and quiet ones are treated alike."""
    meters = [NoiseMeter(rate, tells_silence=True) for _ in levels]
    scale = np.where(levels > 0, REFERENCE / np.maximum(levels, 1e-30), 1).astype(np.float32)[:, None]
    for block in blocks:
        for number, meter in enumerate(meters):
            meter.add(block[number : number + 1] * scale[number])
    return [Held(band_limit(*meter.loud_spectrum()), _snr_db(meter)) for meter in meters]


def _snr_db(meter: NoiseMeter) -> float:
    """Of a recording with digital silence that of its sounding part, where its noise is certain: a noise gate leaves no pauses to
    measure in. Infinite: too short to tell, and so left as it is."""
    if meter.sounding is not None and meter.holds_silence:
        found = meter.sounding.result()
        if found.noise_confidence >= CERTAIN:
            return found.snr_db
    found = meter.result()
    return found.snr_db if found.noise_confidence >= UNKNOWN else math.inf


def band_limit(frequency: NDArray[np.float64], power: NDArray[np.float64]) -> float:
    """Where a spectrum `[F]` ends as a filter ends it, Hz; the last frequency where it does not."""
    top = float(frequency[-1])
    if not power.any():
        return top
    running = np.concatenate([[0.0], np.cumsum(power)])

    def level(low: float, high: float) -> float:
        first, last = np.searchsorted(frequency, (low, high))
        return (
            10 * np.log10((running[last] - running[first]) / max(1, last - first) + 1e-30) if last > first else -300.0
        )

    found = 0.0
    for place in LOWEST_HZ * 2 ** np.arange(0, np.log2(top / LOWEST_HZ) - 1 / 6, 1 / STEPS):
        edge = level(place * 2 ** (-1 / 6), place * 2 ** (-1 / 24)) - level(place * 2 ** (1 / 24), place * 2 ** (1 / 6))
        drop = level(place / 2, place) - level(place * 2 ** (1 / 12), top)
        octave = level(place / np.sqrt(2), place) - level(place * np.sqrt(2), place * 2)
        if drop >= DROP_DB and (edge >= EDGE_DB or (2 * place <= top and octave >= OCTAVE_DB)):
            found = place
            break
    if not found:
        return top
    before = level(found / np.sqrt(2), found / 2**0.25)
    ends = [
        place
        for place in found * 2 ** np.arange(-0.5, 0.25, 1 / STEPS)
        if level(place, place * 2 ** (1 / 12)) >= before - KNEE_DB
    ]
    return float(min(ends[-1] if ends else found, top))


def sizes(rate: int) -> tuple[int, int]:
    """Samples of a transform and from frame to frame."""
    n_fft = 1 << max(8, round(np.log2(N_FFT * rate / 44_100)))
    return n_fft, n_fft // HOPS


def joined(
    kept: Iterable[Audio], made: Iterable[Audio], total: int, rate: int, limits_hz: Sequence[float]
) -> Iterator[Audio]:  # fmt: skip
    """The kept recording below its band limit, the generated one above it.

    Args:
        kept, made: streams of `[C, n]` blocks, each `total` samples long, at `rate`.
        limits_hz: of each channel.

    Yields:
        Blocks `[C, n]`, `total` samples in all.
    """
    n_fft, hop = sizes(rate)
    frequency = np.fft.rfftfreq(n_fft, 1 / rate)
    limits = np.array(limits_hz)[:, None]
    rise = np.clip((frequency - limits * (1 - CROSSING)) / (limits * CROSSING), 0, 1)
    share = (np.sin(np.pi / 2 * rise) ** 2).astype(np.float32)[:, None]  # [C, 1, F]
    below = ((frequency >= MATCHED[0] * limits) & (frequency < MATCHED[1] * limits))[:, None]
    return stft.process([kept, made], total, n_fft, hop, partial(_frames, share, below))


def _frames(
    share: NDArray[np.float32], below: NDArray[np.bool_], kept: stft.Spectrum, made: stft.Spectrum
) -> stft.Spectrum:  # fmt: skip
    wanted, present = (_level(spectrum * below) for spectrum in (kept, made))
    gain = np.minimum(wanted / np.maximum(present, 1e-9), MOST_GAIN)[..., None]
    return (kept * (1 - share) + made * (share * gain)).astype(np.complex64)


def _level(spectrum: stft.Spectrum) -> NDArray[np.float64]:
    """RMS of each frame `[C, N]`, over its neighbours."""
    power = (np.abs(spectrum) ** 2).mean(axis=-1, dtype=np.float64)
    padded = np.pad(power, ((0, 0), (NEAR_FRAMES, NEAR_FRAMES)), mode="edge")
    return np.sqrt(np.lib.stride_tricks.sliding_window_view(padded, 2 * NEAR_FRAMES + 1, axis=1).mean(axis=-1))
