"""Mains hum, and wow by tones that last: two meters that take a stream in blocks.

Hum: lines at the multiples of one frequency near 50 or 60 Hz that stand above their neighbours in the lower quartile of one-second
spectra; speech's harmonics come and go and leave no line there. Wow: the common movement of tones that last for seconds. Speech has
none, so its wow is unknown; a singer's vibrato looks like wow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import soxr
from numpy.typing import NDArray

from audiorestorer.audio import Audio

HUM_RATE = 2000
HUM_WINDOW, HUM_FFT = 2048, 8192  # 1 s; bins of a quarter of a hertz
HUM_BINS = 3000  # to 732 Hz
HUM_LEVELS = np.arange(-160.0, 30.0, 1.0)
HUM_QUANTILE = 0.25
HUM_RANGES_HZ = ((48.5, 51.5), (58.5, 61.5))
HUM_STEP_HZ = 0.05
HARMONICS = 12
LINE_HZ = 2.0  # half the width of the window's main lobe
NEIGHBOUR_HZ = (4.0, 14.0)
LEAST_LINES = 3
LINE_DB = 6.0  # over its highest neighbour: a line
HUM_SURE_DB = 40.0  # sum over the lines, beyond LINE_DB each, at which a hum is certain
HUM_SURE_FRAMES = 20.0

WOW_RATE = 8000
WOW_FFT = 1024
WOW_HOP = 160  # 20 ms
WOW_BAND_HZ = (150.0, 3000.0)
TRACKS = 6  # loudest peaks per frame
PEAK_DB = 40.0  # below the loudest of the frame, peaks are left out
NEAR = 0.012  # largest relative step of a tone from frame to frame
LEAST_TRACK_SEC = 1.5
WOW_HZ = (0.3, 8.0)
DEPTHS = np.arange(0.0, 5.0, 0.01)  # percent
SURE_SEC = 10.0  # length of all tones at which the confidence is full
MOST_NEVER_TONE = 0.02  # standard deviation of a track's pitch: what moves more is a melody


@dataclass(frozen=True)
class HumLevel:
    """Result: `base_hz` NaN and `level_dbfs` -120 where there is no hum; confidence 0 .. 1; `lines`: Hz and power of each."""

    base_hz: float
    level_dbfs: float
    confidence: float
    lines: tuple[tuple[float, float], ...] = ()


@dataclass
class HumMeter:
    sample_rate: int
    _counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros((HUM_BINS, len(HUM_LEVELS)), np.float32))
    _frames: int = 0
    _held: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        self._stream = soxr.ResampleStream(self.sample_rate, HUM_RATE, 1, dtype="float32", quality="HQ")
        self._window = np.hanning(HUM_WINDOW + 1)[:-1]

    def add(self, block: Audio) -> None:
        """Add `[C, n]`."""
        mono = np.ascontiguousarray(block.mean(axis=0, dtype=np.float32))
        self._held = np.concatenate([self._held, self._stream.resample_chunk(mono)])
        while len(self._held) >= HUM_WINDOW:
            spectrum = np.fft.rfft(self._held[:HUM_WINDOW] * self._window, HUM_FFT)[:HUM_BINS]
            # a sine's power, where it has a bin to itself
            level = 10 * np.log10(2 * np.abs(spectrum) ** 2 / self._window.sum() ** 2 + 1e-16)
            place = np.clip((level - HUM_LEVELS[0]).astype(np.int64), 0, len(HUM_LEVELS) - 1)
            self._counts[np.arange(HUM_BINS), place] += 1
            self._frames += 1
            self._held = self._held[HUM_WINDOW // 2 :]

    def result(self) -> HumLevel:
        if not self._frames:
            return HumLevel(math.nan, -120.0, 0.0)
        share = np.cumsum(self._counts, axis=1) / self._frames
        level = HUM_LEVELS[np.argmax(share >= HUM_QUANTILE, axis=1)] + 0.5
        candidates = np.concatenate([np.arange(low, high, HUM_STEP_HZ) for low, high in HUM_RANGES_HZ])
        lines_of = [_lines(level, base) for base in candidates]
        best = int(np.argmax([sum(over for over, *_ in lines) for lines in lines_of]))
        strength = sum(over for over, *_ in lines_of[best])
        seen = min(1.0, self._frames / HUM_SURE_FRAMES)
        if len(lines_of[best]) < LEAST_LINES:
            return HumLevel(math.nan, -120.0, round(seen, 3))
        lines = tuple((frequency, power) for _, frequency, power in lines_of[best])
        sure = min(1.0, strength / HUM_SURE_DB)
        level_dbfs = 10 * math.log10(max(sum(power for _, power in lines), 1e-12))
        return HumLevel(round(float(candidates[best]), 2), level_dbfs, round(seen * sure, 3), lines)


def _lines(level: NDArray[np.float64], base: float) -> list[tuple[float, float, float]]:
    """For each harmonic that is a line: dB over its neighbours, beyond LINE_DB, its frequency and its power."""
    width = HUM_RATE / HUM_FFT
    line, near, far = (round(f / width) for f in (LINE_HZ, *NEIGHBOUR_HZ))
    out = []
    for number in range(1, HARMONICS + 1):
        place = round(number * base / width)
        if place + far >= len(level):
            break
        sides = np.concatenate([level[place - far : place - near], level[place + near : place + far]])
        top = float(level[place - 1 : place + 2].max())
        is_peak = top >= level[place - line : place + line + 1].max() - 0.5
        over = top - float(sides.max())  # of all neighbours: voices leave broad hills, not lines
        if is_peak and over > LINE_DB:
            out.append((over - LINE_DB, number * base, 10 ** (top / 10)))
    return out


@dataclass(frozen=True)
class WowDepth:
    """Result: peak deviation of the speed in percent (of a sine of the same RMS), NaN where no tone lasts."""

    depth_percent: float
    confidence: float


@dataclass
class _Track:
    pitch: list[float]
    power: float = 0.0


@dataclass
class WowMeter:
    sample_rate: int
    _depths: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(DEPTHS)))
    _tracks: list[_Track] = field(default_factory=list)
    _seconds: float = 0.0
    _held: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        self._stream = soxr.ResampleStream(self.sample_rate, WOW_RATE, 1, dtype="float32", quality="HQ")
        self._window = np.hanning(WOW_FFT)

    def add(self, block: Audio) -> None:
        """Add `[C, n]`."""
        mono = np.ascontiguousarray(block.mean(axis=0, dtype=np.float32))
        held = np.concatenate([self._held, self._stream.resample_chunk(mono)])
        if len(held) >= WOW_FFT:
            frames = np.lib.stride_tricks.sliding_window_view(held, WOW_FFT)[::WOW_HOP]
            for frame in 20 * np.log10(np.abs(np.fft.rfft(frames * self._window, axis=1)) + 1e-9):
                self._follow(*_peaks(frame))
            held = held[len(frames) * WOW_HOP :]
        self._held = held

    def _follow(self, pitches: NDArray[np.float64], levels: NDArray[np.float64]) -> None:
        """Continue the tracks that have a peak near, finish the others, begin new tracks."""
        free = list(range(len(pitches)))
        going = []
        for track in self._tracks:
            near = [k for k in free if abs(pitches[k] / track.pitch[-1] - 1) < NEAR]
            if not near:
                self._finish(track)
                continue
            nearest = min(near, key=lambda k: abs(pitches[k] - track.pitch[-1]))
            free.remove(nearest)
            track.pitch.append(float(pitches[nearest]))
            track.power += 10 ** (levels[nearest] / 10)
            if len(track.pitch) * WOW_HOP > 8 * WOW_RATE:  # a tone without an end is measured in parts
                self._finish(track)
                track = _Track([float(pitches[nearest])])
            going.append(track)
        self._tracks = going + [_Track([float(pitches[k])]) for k in free]

    def _finish(self, track: _Track) -> None:
        seconds = len(track.pitch) * WOW_HOP / WOW_RATE
        if seconds < LEAST_TRACK_SEC:
            return
        cents = np.log(track.pitch)
        moved = cents - np.polyval(np.polyfit(np.arange(len(cents)), cents, 1), np.arange(len(cents)))
        if moved.std() > MOST_NEVER_TONE:
            return
        spectrum = np.fft.rfft(moved)
        frequency = np.fft.rfftfreq(len(moved), WOW_HOP / WOW_RATE)
        kept = np.fft.irfft(np.where((frequency >= WOW_HZ[0]) & (frequency <= WOW_HZ[1]), spectrum, 0), len(moved))
        place = min(int(100 * math.sqrt(2) * float(kept.std()) / DEPTHS[1]), len(DEPTHS) - 1)
        self._depths[place] += seconds * math.sqrt(track.power / len(track.pitch))
        self._seconds += seconds

    def result(self) -> WowDepth:
        for track in self._tracks:
            self._finish(track)
        self._tracks = []
        if not self._seconds:
            return WowDepth(math.nan, 0.0)
        share = np.cumsum(self._depths) / self._depths.sum()
        low, middle, high = (float(DEPTHS[np.searchsorted(share, q)]) for q in (0.25, 0.5, 0.75))
        agreement = 1 / (1 + (high - low) / max(middle, 0.05))
        return WowDepth(
            round(middle + float(DEPTHS[1]) / 2, 4), round(min(1.0, self._seconds / SURE_SEC) * agreement, 3)
        )


def _peaks(level: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The frame's loudest peaks: Hz by a parabola through three bins' levels, and dB."""
    width = WOW_RATE / WOW_FFT
    first, last = int(WOW_BAND_HZ[0] / width), int(WOW_BAND_HZ[1] / width)
    inner = level[first:last]
    top = np.flatnonzero((inner > level[first - 1 : last - 1]) & (inner >= level[first + 1 : last + 1])) + first
    top = top[level[top] > inner.max() - PEAK_DB]
    top = top[np.argsort(level[top])[::-1][:TRACKS]]
    left, middle, right = level[top - 1], level[top], level[top + 1]
    offset = 0.5 * (left - right) / np.minimum(left - 2 * middle + right, -1e-9)
    return (top + offset) * width, middle
