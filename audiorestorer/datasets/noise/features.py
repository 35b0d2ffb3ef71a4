"""Features of a noise recording, measured in blocks: levels, spectrum, tones, events, likeness to speech.

Recordings are measured as 16 kHz mono; frames of 64 ms, one every 32 ms. Levels, clipping and finiteness are those of the whole file;
features of frames are those of its first ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiorestorer import audio
from audiorestorer.datasets.stems import clipped_samples
from audiorestorer.errors import AudioRestorerError

RATE = 16_000
FRAME, HOP = 1024, 512
LONGEST_FRAMES = 600 * RATE // HOP
SILENT_FRAME_DBFS = -75.0
TONE_BAND_HZ = (300.0, 7500.0)  # below it hum and rumble live, which are wanted
TONE_SHARE = 0.35  # share of a frame's energy in one peak of three bins that makes it a tone
EVENT_DB = 15.0  # an event is so far above the median frame
SHORT_FRAMES = 3  # an event no longer than this (the frames overlap) is no blow
IMPULSIVE_KURTOSIS = 10.0  # least kurtosis of a differentiated frame with clicks; Gaussian noise has 3
VOICED_LAGS = (RATE // 400, RATE // 70)  # pitch of 70 to 400 Hz
VOICED = 0.55  # least normalised autocorrelation of a voiced frame
SYLLABIC_HZ = (2.0, 8.0)
SPEECH_BAND_HZ = (300.0, 3400.0)


@dataclass(frozen=True)
class Features:
    """All shares lie in [0, 1].

    Attributes:
        level_dbfs: RMS. crest_db: peak over RMS. dc: mean. clipped_share: samples in runs at full scale.
        silence_share: frames below -75 dBFS.
        flatness: median over frames of the geometric over the arithmetic mean of the power spectrum, 100 to 7500 Hz.
        below_120, below_400, above_2000: share of the energy in those bands (Hz). hum_share: within 4 Hz of multiples of 50 or 60 Hz.
        tonal_share: frames with a third of their energy in one narrow peak above 300 Hz; tone_range_oct: 5th to 95th percentile
        of those peaks; tone_step_oct: median movement from frame to frame.
        blow_db: height of the loudest long event above the median frame. impulsive_share: frames whose
        differentiated signal has a kurtosis above 10.
        modulation: share of the 300 to 3400 Hz band's envelope variation at syllables' rates; depth_db: that envelope's 10th to 90th
        percentile; voiced_share: frames with a pitch.
    """

    duration_sec: float
    sample_rate: int
    level_dbfs: float
    crest_db: float
    dc: float
    clipped_share: float
    silence_share: float
    flatness: float
    below_120: float
    below_400: float
    above_2000: float
    hum_share: float
    tonal_share: float
    tone_range_oct: float
    tone_step_oct: float
    blow_db: float
    impulsive_share: float
    modulation: float
    depth_db: float
    voiced_share: float

    def row(self) -> dict[str, float]:
        """Rounded, for a CSV."""
        return {name: round(float(value), 5) for name, value in asdict(self).items()}


class _Frames:
    """Figures of each frame, and one spectrum of all."""

    def __init__(self) -> None:
        self.level: list[NDArray[np.float64]] = []
        self.flatness: list[NDArray[np.float64]] = []
        self.tone_hz: list[NDArray[np.float64]] = []
        self.speech_band: list[NDArray[np.float64]] = []
        self.voiced: list[NDArray[np.float64]] = []
        self.impulsive: list[NDArray[np.float64]] = []
        self.spectrum = np.zeros(FRAME // 2 + 1)
        self.count = 0

    def add(self, mono: NDArray[np.float32]) -> None:
        if len(mono) < FRAME or self.count >= LONGEST_FRAMES:
            return
        frames = np.lib.stride_tricks.sliding_window_view(mono, FRAME)[::HOP].astype(np.float64)
        frames = frames - frames.mean(axis=1, keepdims=True)
        self.count += len(frames)
        power = np.abs(np.fft.rfft(frames * np.hanning(FRAME), axis=1)) ** 2
        self.spectrum += power.sum(axis=0)
        self.level.append(np.mean(frames**2, axis=1))
        band = power[:, _bins(100, 7500)] + 1e-12
        self.flatness.append(np.exp(np.log(band).mean(axis=1)) / band.mean(axis=1))
        self.speech_band.append(power[:, _bins(*SPEECH_BAND_HZ)].sum(axis=1))
        self.tone_hz.append(_tones(power))
        self.voiced.append(_pitched(frames))
        self.impulsive.append(_impulsive(frames))


def _bins(low: float, high: float) -> slice:
    return slice(round(low * FRAME / RATE), round(high * FRAME / RATE) + 1)


def _tones(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frequency of each frame's tone, 0 where there is none."""
    band = _bins(*TONE_BAND_HZ)
    peak = power[:, band].argmax(axis=1) + band.start
    rows = np.arange(len(power))
    energy = power[rows, peak - 1] + power[rows, peak] + power[rows, peak + 1]
    return np.where(energy > TONE_SHARE * (power.sum(axis=1) + 1e-12), peak * RATE / FRAME, 0.0)


def _pitched(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for frames with a pitch: the autocorrelation's peak over its value at lag 0, corrected for the shorter overlap."""
    spectrum = np.abs(np.fft.rfft(frames, 2 * FRAME, axis=1)) ** 2
    correlation = np.fft.irfft(spectrum, axis=1)[:, : VOICED_LAGS[1]]
    overlap = 1 - np.arange(VOICED_LAGS[1]) / FRAME
    best = (correlation / overlap)[:, VOICED_LAGS[0] :].max(axis=1)
    return np.asarray(best > VOICED * (correlation[:, 0] + 1e-12), np.float64)


def measure(path: Path) -> Features:
    """Measure a file.

    Raises:
        AudioRestorerError: cannot be read, holds NaN, or is shorter than a tenth of a second.
    """
    info = audio.probe(path)
    peak = square = total = 0.0
    clipped = samples = 0
    frames = _Frames()

    def mono() -> Iterator[audio.Audio]:
        nonlocal peak, square, total, clipped, samples
        for block in audio.blocks(path):
            if not np.isfinite(block).all():
                raise AudioRestorerError(f"{path}: holds NaN or infinite samples")
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            square += float(np.square(block, dtype=np.float64).sum())
            total += float(block.sum(dtype=np.float64))
            clipped += clipped_samples(block)
            samples += block.size
            yield block.mean(axis=0, keepdims=True)

    buffer = np.zeros(0, np.float32)
    for part in audio.resample_blocks(mono(), info.sample_rate, RATE, 1):
        buffer = np.concatenate([buffer, part[0]])
        if len(buffer) >= 10 * RATE:
            frames.add(buffer)
            buffer = (
                buffer[len(buffer) - (len(buffer) % HOP) - FRAME :] if frames.count < LONGEST_FRAMES else buffer[:0]
            )
    frames.add(buffer)
    if not frames.level:
        raise AudioRestorerError(f"{path}: {info.duration_sec:.2f} s is too short to measure")
    rms = np.sqrt(square / samples)
    return Features(
        duration_sec=info.duration_sec,
        sample_rate=info.sample_rate,
        level_dbfs=_db(rms**2),
        crest_db=_db(peak**2) - _db(rms**2),
        dc=total / samples,
        clipped_share=clipped / samples,
        **_from_frames(frames),
    )


def _db(power: float) -> float:
    return float(10 * np.log10(max(power, 1e-20)))


def _from_frames(frames: _Frames) -> dict[str, float]:
    level = 10 * np.log10(np.concatenate(frames.level) + 1e-20)
    spectrum, whole = frames.spectrum, float(frames.spectrum.sum()) + 1e-20
    tones = np.concatenate(frames.tone_hz)
    heard = np.log2(tones[tones > 0])
    both = (tones[1:] > 0) & (tones[:-1] > 0)
    steps = np.abs(np.diff(np.log2(np.maximum(tones, 1))))[both]
    envelope = np.concatenate(frames.speech_band)
    return {
        "silence_share": float(np.mean(level < SILENT_FRAME_DBFS)),
        "flatness": float(np.median(np.concatenate(frames.flatness))),
        "below_120": float(spectrum[_bins(0, 120)].sum()) / whole,
        "below_400": float(spectrum[_bins(0, 400)].sum()) / whole,
        "above_2000": float(spectrum[_bins(2000, 8000)].sum()) / whole,
        "hum_share": _hum(spectrum) / whole,
        "tonal_share": len(heard) / len(tones),
        "tone_range_oct": float(np.ptp(np.percentile(heard, [5, 95]))) if len(heard) else 0.0,
        "tone_step_oct": float(np.median(steps)) if len(steps) else 0.0,
        "blow_db": _blow(level),
        "impulsive_share": float(np.concatenate(frames.impulsive).mean()),
        "modulation": _modulation(envelope),
        "depth_db": float(np.ptp(np.percentile(10 * np.log10(envelope + 1e-12), [10, 90]))),
        "voiced_share": float(np.concatenate(frames.voiced).mean()),
    }


def _blow(level: NDArray[np.float64]) -> float:
    """Height of the highest long event above the median frame in dB (0: none)."""
    over = level - np.median(level)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (over > EVENT_DB).astype(np.int8), [0]])))
    spans = zip(edges[::2], edges[1::2], strict=True)
    return max((float(over[begin:end].max()) for begin, end in spans if end - begin > SHORT_FRAMES), default=0.0)


def _impulsive(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for frames with clicks."""
    steps = np.diff(frames, axis=1)
    square = steps**2
    kurtosis = (square**2).mean(axis=1) / (square.mean(axis=1) ** 2 + 1e-30)
    return np.asarray(kurtosis > IMPULSIVE_KURTOSIS, np.float64)


def _hum(spectrum: NDArray[np.float64]) -> float:
    """Energy at multiples of the better of 50 and 60 Hz, up to 1 kHz (bins of 15.6 Hz: the Hann window's three hold a line)."""
    shares = []
    for base in (50.0, 60.0):
        centres = np.round(np.arange(base, 1000, base) * FRAME / RATE).astype(int)
        line_bins = np.unique(np.concatenate([centres - 1, centres, centres + 1]))
        # broadband noise fills these bins too: only the energy above their neighbours' counts
        between = np.setdiff1d(np.arange(line_bins[0], line_bins[-1]), line_bins)
        floor = float(np.median(spectrum[between])) if len(between) else 0.0
        shares.append(float(np.maximum(spectrum[line_bins] - floor, 0).sum()))
    return max(shares)


def _modulation(envelope: NDArray[np.float64]) -> float:
    """Share of the (root) envelope's variation between 2 and 8 Hz."""
    if len(envelope) < 64:
        return 0.0
    root = np.sqrt(envelope)
    spectrum = np.abs(np.fft.rfft((root - root.mean()) * np.hanning(len(root)))) ** 2
    frequency = np.fft.rfftfreq(len(root), HOP / RATE)
    inside = (frequency >= SYLLABIC_HZ[0]) & (frequency <= SYLLABIC_HZ[1])
    return float(spectrum[inside].sum() / (spectrum[1:].sum() + 1e-20))
