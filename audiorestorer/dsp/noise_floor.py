"""Noise level, noise spectrum, speech level and bandwidth of a recording, from one pass with bounded memory.

In each third-octave band the quietest frames are noise alone. The power of noise in a band is chi-squared, so a low quantile lies
below the mean by a known factor (as in minimum statistics, Martin 2001), which depends on the share of frames without speech: the
largest share at which several quantiles agree is taken. Frames are gathered in histograms by level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from audiorestorer.audio import Audio

WINDOW_SEC = 0.046
LEVEL_STEP_DB = 0.25
LEVELS = np.arange(-170.0, 30.0, LEVEL_STEP_DB)
LOUDNESS_STEP_DB = 1.0
LOUDNESS = np.arange(-130.0, 30.0, LOUDNESS_STEP_DB)
RUMBLE_BAND_HZ = (8.0, 89.0)
FIRST_THIRD = 20  # 100 Hz: bands are 10^(k / 10) Hz, k from here
QUANTILES = np.array([0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6])
NOISE_SHARES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08)  # shares of frames in which a band holds noise alone
USED_QUANTILE = 0.6  # highest quantile of the noise's distribution that is used: above it speech begins to show
AGREE_DB = 0.3  # standard deviation over the quantiles below which they agree
DOF_PER_BIN = 1.15  # degrees of freedom: neighbouring bins of Hann windows are correlated; measured on white noise
LEAST_DBFS = -120.0
ACTIVE_DB = 40.0
OVER_NOISE_DB = 6.0
LOUD_RANGE_DB = 40.0
QUIET_SHARE = 0.1
KNEE_DB = 12.0  # a drop per third of an octave that speech itself does not have
KNEE_GRID = 48  # frequencies per octave that are tried
LOWEST_EDGE_HZ = 2000.0  # below it drops are a vowel's
EDGE_DB = 6.0
ENOUGH_FRAMES = 100.0
HUM_LEFT_DB = -20.0
SILENT_SHARE = 0.05  # zeros in a frame that holds digital silence


@dataclass(frozen=True)
class NoiseFloor:
    """Result. Levels in dBFS (a full-scale square wave is 0); NaN: unknown; confidences lie in 0 .. 1.

    Attributes:
        noise_dbfs: noise above 89 Hz. rumble_dbfs: noise below. bands_hz, bands_dbfs: centres of third octaves and the level in each.
        speech_dbfs: level of the active frames, without the noise. bandwidth_hz: highest frequency of the signal.
    """

    noise_dbfs: float
    noise_confidence: float
    rumble_dbfs: float
    bands_hz: tuple[float, ...]
    bands_dbfs: tuple[float, ...]
    speech_dbfs: float
    bandwidth_hz: float
    bandwidth_confidence: float

    @property
    def snr_db(self) -> float:
        return self.speech_dbfs - self.noise_dbfs

    def without(self, lines: Sequence[tuple[float, float]]) -> NoiseFloor:
        """The noise without a hum's lines (Hz, power), and at least HUM_LEFT_DB below the level measured with them."""
        edges = [10 ** ((FIRST_THIRD + k - 0.5) / 10) for k in range(len(self.bands_hz) + 1)]
        power = 10 ** (np.array(self.bands_dbfs) / 10)
        hum = np.histogram([f for f, _ in lines], edges, weights=[p for _, p in lines])[0]
        bands = _db(np.maximum(power - hum, power * 10 ** (HUM_LEFT_DB / 10)))
        low = 10 ** (self.rumble_dbfs / 10)
        rest = max(low - sum(p for f, p in lines if f < edges[0]), low * 10 ** (HUM_LEFT_DB / 10))
        return replace(
            self, noise_dbfs=_total(bands), bands_dbfs=tuple(float(b) for b in bands), rumble_dbfs=10 * math.log10(rest)
        )


@dataclass
class NoiseMeter:
    """Gathers `[C, n]` blocks; `result` can be asked for at any time.

    Attributes:
        tells_silence: whether `sounding` gathers, too.
        sounding: a meter of the frames that hold no digital silence: between silent ones there may be noise.
    """

    sample_rate: int
    tells_silence: bool = False
    _held: Audio | None = None
    sounding: NoiseMeter | None = None
    _counts: NDArray[np.float64] = field(init=False)
    _loudness: NDArray[np.float64] = field(init=False)
    _spectra: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        if self.tells_silence:
            self.sounding = NoiseMeter(self.sample_rate)
        self._size = 1 << round(math.log2(WINDOW_SEC * self.sample_rate))
        self._window = np.hanning(self._size + 1)[:-1]
        frequency = np.fft.rfftfreq(self._size, 1 / self.sample_rate)
        edges = [RUMBLE_BAND_HZ[0], RUMBLE_BAND_HZ[1]]
        while edges[-1] < self.sample_rate / 2:
            edges.append(10 ** ((FIRST_THIRD + len(edges) - 2 + 0.5) / 10))
        self._slices = [
            slice(*np.searchsorted(frequency, (low, high))) for low, high in zip(edges, edges[1:], strict=False)
        ]
        self._bands = len(self._slices)
        self._counts = np.zeros((self._bands, len(LEVELS)))
        self._loudness = np.zeros(len(LOUDNESS))
        self._spectra = np.zeros((len(LOUDNESS), len(frequency)))
        self._frequency = np.asarray(frequency, np.float64)

    def add(self, block: Audio) -> None:
        joined = block if self._held is None else np.concatenate([self._held, block], axis=1)
        hop = self._size // 2
        if joined.shape[1] >= self._size:
            frames = np.lib.stride_tricks.sliding_window_view(joined, self._size, axis=1)[:, ::hop]
            spectrum = np.abs(np.fft.rfft(frames * self._window, axis=-1)) ** 2
            # mean square of the samples = the sum over the bins
            power = spectrum.mean(axis=0) * 2 / (self._size * np.sum(self._window**2))
            self._gather(power)
            if self.sounding is not None:
                self.sounding._gather(power[((frames == 0).mean(axis=-1) < SILENT_SHARE).all(axis=0)])
            joined = joined[:, frames.shape[1] * hop :]
        self._held = joined

    @property
    def holds_silence(self) -> bool:
        """Whether some of its frames are not `sounding`'s."""
        return self.sounding is not None and bool(self.sounding._loudness.sum() < self._loudness.sum())

    def _gather(self, power: NDArray[np.float64]) -> None:
        for band, bins in enumerate(self._slices):
            self._counts[band] += np.bincount(_place(power[:, bins].sum(axis=1), LEVELS), minlength=len(LEVELS))
        loud = _place(power[:, self._slices[1].start :].sum(axis=1), LOUDNESS)
        self._loudness += np.bincount(loud, minlength=len(LOUDNESS))
        np.add.at(self._spectra, loud, power)

    def result(self) -> NoiseFloor:
        """The noise floor of the blocks so far."""
        frames = float(self._loudness.sum())
        estimates = [self._noise(band) for band in range(self._bands)]
        bands = np.array([level for level, _ in estimates])
        noise = _total(bands[1:])
        strong = bands[1:] > bands[1:].max() - 15  # bands that make up the level
        disagreement = float(np.mean(np.array([spread for _, spread in estimates])[1:][strong]))
        confidence = min(1.0, frames / ENOUGH_FRAMES) * math.exp(-max(0.0, disagreement - AGREE_DB))
        speech = self._speech(noise)
        bandwidth, sure = self._bandwidth(noise)
        return NoiseFloor(
            noise, round(confidence, 3), float(bands[0]),
            tuple(10 ** ((FIRST_THIRD + k) / 10) for k in range(self._bands - 1)), tuple(float(b) for b in bands[1:]),
            speech, bandwidth, round(sure * min(1.0, frames / ENOUGH_FRAMES), 3),
        )  # fmt: skip

    def _noise(self, band: int) -> tuple[float, float]:
        """The band's noise in dBFS, and by how many dB the quantiles disagree."""
        bins = self._slices[band].stop - self._slices[band].start
        if bins <= 0 or not self._counts[band].any():
            return LEAST_DBFS, 0.0
        dof = max(2.0, DOF_PER_BIN * bins)
        levels = np.array([_quantile(self._counts[band], share) for share in QUANTILES])
        best = (math.inf, LEAST_DBFS)
        for share in NOISE_SHARES:
            used = USED_QUANTILE * share + 1e-9 >= QUANTILES
            means = levels[used] - _db(stats.chi2.ppf(QUANTILES[used] / share, dof) / dof)
            spread = float(means.std())
            best = min(best, (spread, float(means.mean())))
            if spread < AGREE_DB:
                best = (spread, float(means.mean()))
                break
        return max(best[1], LEAST_DBFS), best[0]

    def _speech(self, noise_dbfs: float) -> float:
        """Level of the frames within 40 dB of the loudest that stand out of the noise, less the noise."""
        active = self._loudest(ACTIVE_DB, noise_dbfs + OVER_NOISE_DB)
        if active is None:
            return math.nan
        power = self._spectra[active][:, self._slices[1].start :].sum() / self._loudness[active].sum()
        return 10 * math.log10(max(power - 10 ** (noise_dbfs / 10), 1e-17))

    def _loudest(self, range_db: float, least_dbfs: float = -math.inf) -> slice | None:
        """The steps of loudness within a range of the loudest frame's and above a level; None: no frame is there."""
        used = np.flatnonzero(self._loudness)
        if not len(used):
            return None
        level = max(LOUDNESS[used[-1]] - range_db, least_dbfs)
        loud = slice(int(np.searchsorted(LOUDNESS, level, side="right")), None)
        return loud if self._loudness[loud].any() else None

    def _mean(self, steps: slice) -> NDArray[np.float64]:
        """Power at each frequency, over the frames of these steps of loudness."""
        return np.asarray(self._spectra[steps].sum(axis=0) / self._loudness[steps].sum())

    def loud_spectrum(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Frequencies, Hz, and the power at each of the frames within `LOUD_RANGE_DB` of the loudest; zeros of none."""
        loud = self._loudest(LOUD_RANGE_DB)
        return self._frequency, np.zeros(len(self._frequency)) if loud is None else self._mean(loud)

    def _bandwidth(self, noise_dbfs: float) -> tuple[float, float]:
        """Highest frequency of the loud frames, and its confidence: a knee, or the point where they sink into the noise."""
        loud = self._loudest(LOUD_RANGE_DB, noise_dbfs + OVER_NOISE_DB)
        if loud is None:
            return math.nan, 0.0
        level = _db(self._mean(loud))
        enough = int(np.searchsorted(np.cumsum(self._loudness), QUIET_SHARE * self._loudness.sum()))
        quiet = slice(0, enough + 1)
        floor = _db(self._mean(quiet))
        knee = self._knee(level)
        if knee:
            return knee[0], min(1.0, knee[1] / (2 * KNEE_DB))
        smooth = np.array([level[self._near(f)].mean() - floor[self._near(f)].mean() for f in self._grid()])
        above = np.flatnonzero(smooth > 3.0)
        return (float(self._grid()[above[-1]]), 0.5) if len(above) else (math.nan, 0.0)

    def _grid(self) -> NDArray[np.float64]:
        octaves = math.log2(self.sample_rate / 2 / LOWEST_EDGE_HZ)
        return np.asarray(LOWEST_EDGE_HZ * 2 ** np.linspace(0, octaves, int(octaves * KNEE_GRID) + 1))

    def _near(self, frequency: float, low: float = -1 / 12, high: float = 1 / 12) -> slice:
        first, last = np.searchsorted(self._frequency, (frequency * 2**low, frequency * 2**high))
        return slice(min(int(first), len(self._frequency) - 1), max(int(last), int(first) + 1))

    def _knee(self, level: NDArray[np.float64]) -> tuple[float, float] | None:
        """The frequency at which the level has fallen by EDGE_DB from the plateau below the first steep drop, and that drop."""
        grid = self._grid()
        grid = grid[grid * 2 ** (1 / 3) < self.sample_rate / 2]
        drops = np.array(
            [level[self._near(f, -1 / 3, 0)].mean() - level[self._near(f, 1 / 12, 1 / 3)].mean() for f in grid]
        )
        for k in np.flatnonzero(drops > KNEE_DB):
            place = float(grid[k])
            plateau = float(level[self._near(place, -2 / 3, -1 / 6)].mean())
            above = [level[self._near(f)].mean() for f in grid if f > place * 2 ** (1 / 3)]
            if above and max(above) > plateau - KNEE_DB:
                continue  # it rises again: the speech's own valley
            edges = (f for f in self._grid() if place * 2 ** (-1 / 2) < f < place * 2 ** (1 / 3))
            edge = next((f for f in edges if level[self._near(f, -1 / 24, 1 / 24)].mean() < plateau - EDGE_DB), place)
            return float(edge), float(drops[k:].max())
        return None


def _place(power: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.clip(np.searchsorted(levels, _db(power), side="right") - 1, 0, len(levels) - 1)


def _db(power: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(10 * np.log10(np.maximum(power, 1e-17)), np.float64)


def _total(levels_db: NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.sum(10 ** (levels_db / 10))))


def _quantile(counts: NDArray[np.float64], share: float) -> float:
    """The level below which a share of the frames lies, linear within a step."""
    total = np.cumsum(counts)
    if not total[-1]:
        return LEAST_DBFS
    wanted = share * total[-1]
    place = int(np.searchsorted(total, wanted))
    before = total[place - 1] if place else 0.0
    return float(LEVELS[place] + LEVEL_STEP_DB * (wanted - before) / max(counts[place], 1e-12))
