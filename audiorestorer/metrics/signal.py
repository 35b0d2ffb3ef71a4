"""Signal metrics against a clean reference, from sums and spectra that a stream can gather."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio
from audiorestorer.metrics import Missing

MAX_DB = 100.0  # a perfect copy is reported as this: float32 files carry no more
LSD_FLOOR_DB = -60.0  # below the reference's mean power a bin: digital silence would otherwise rule the mean
ACTIVE_DB = -40.0  # a frame is speech where it lies above this, relative to the loudest

# The composite's weights and logistic constants (design, "Formulas"): steepness k and centre x0
WEIGHT_SI, WEIGHT_LSD, WEIGHT_RESIDUAL = 0.45, 0.35, 0.20
SI_STEEPNESS, SI_CENTRE_DB = 0.5, 1.0
LSD_STEEPNESS, LSD_CENTRE_DB = 0.8, 1.0
RESIDUAL_LIMIT = 1.5
RESIDUAL_EPS = 1e-12

LEAST_COSINE = 1e-3  # below it an estimate holds nothing of the reference, and no scale fits
LEVEL_STEP_DB = 0.5
LEVELS = np.arange(-200.0, 200.0, LEVEL_STEP_DB)


@dataclass
class Sums:
    """The inner products of an estimate y and a reference s, gathered block by block in float64."""

    ss: float = 0.0
    ys: float = 0.0
    yy: float = 0.0

    def add(self, estimate: Audio, reference: Audio) -> None:
        """Add blocks of one shape, `[C, n]`."""
        if estimate.shape != reference.shape:
            raise ValueError(f"estimate {estimate.shape} and reference {reference.shape} differ in shape")
        y, s = estimate.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
        self.ss += float(s @ s)
        self.ys += float(y @ s)
        self.yy += float(y @ y)

    @property
    def scale(self) -> float:
        """The factor <s, s> / <y, s> that brings the speech in the estimate to the reference's level (Le Roux et al. 2019, eq. 2).

        For s + noise it is 1, so that a mixture keeps its scale; the least squares factor <y, s> / <y, y> would shrink it, and a
        mixture that was not touched would have less residual than itself. 1 for an estimate that holds nothing of the reference.
        """
        return self.ss / self.ys if self.ys > LEAST_COSINE * math.sqrt(self.ss * self.yy) else 1.0

    def error(self, scale: float = 1.0) -> float:
        """|scale * y - s|^2, never below zero by rounding."""
        return max(scale * scale * self.yy - 2 * scale * self.ys + self.ss, 0.0)  # in this order NaN stays NaN


def si_sdr(sums: Sums) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, eq. 3), within +-MAX_DB.

    Raises:
        Missing: the reference or the estimate is silent.
    """
    if sums.ss <= 0:
        raise Missing("the reference is silent")
    if sums.yy <= 0:
        raise Missing("the output is silent")
    target = sums.ys * sums.ys / sums.ss
    noise = max(sums.yy - target, 0.0)
    if target <= 0:
        return -MAX_DB
    return float(np.clip(10 * math.log10(target / max(noise, target * 1e-12)), -MAX_DB, MAX_DB))


def residual_ratio(output: Sums, noisy: Sums) -> float:
    """r = |yhat - clean|^2 / (|noisy - clean|^2 + 1e-12), clipped to [0, 1.5].

    Both are at the scale at which their speech has the reference's level: the loudness stage changed that of yhat. NaN where a signal
    holds NaN or infinity, which the clipping would hide.
    """
    if not math.isfinite(output.yy + noisy.yy + noisy.ss):
        return math.nan
    return min(output.error(output.scale) / (noisy.error(noisy.scale) + RESIDUAL_EPS), RESIDUAL_LIMIT)


def composite(delta_si_db: float, delta_lsd_db: float, residual: float) -> float:
    """100 (0.45 s(dSI; 0.5, 1.0) + 0.35 s(dLSD; 0.8, 1.0) + 0.20 (1 - min(1, r))), s(x; k, x0) = 1 / (1 + exp(-k (x - x0)))."""
    if residual < 0:
        raise ValueError(f"residual ratio {residual} is below 0")
    si = _logistic(delta_si_db, SI_STEEPNESS, SI_CENTRE_DB)
    lsd = _logistic(delta_lsd_db, LSD_STEEPNESS, LSD_CENTRE_DB)
    return 100 * (WEIGHT_SI * si + WEIGHT_LSD * lsd + WEIGHT_RESIDUAL * (1 - min(1.0, residual)))


def _logistic(x: float, steepness: float, centre: float) -> float:
    z = steepness * (x - centre)
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


@dataclass
class LogSpectralDistance:
    """LSD in dB: mean over frames of the root mean square over bins of 10 log10(P_s / P_y) (Gray & Markel 1976).

    Attributes:
        floor: power a bin added to both sides; `floor_power` gives it from the reference.
    """

    floor: float
    total: float = 0.0
    frames: int = 0

    def add(self, estimate: NDArray[Any], reference: NDArray[Any]) -> None:
        """Add spectra `[C, N, F]`, the estimate already scaled to fit."""
        ratio = 10 * np.log10((np.abs(reference) ** 2 + self.floor) / (np.abs(estimate) ** 2 + self.floor))
        rms = np.sqrt(np.mean(ratio**2, axis=-1))
        self.total += float(rms.sum())
        self.frames += rms.size

    def value(self) -> float:
        if not self.frames:
            raise Missing("no frame")
        return self.total / self.frames


def floor_power(reference: Sums, samples: int, window_energy: float) -> float:
    """The LSD's floor: LSD_FLOOR_DB below the reference's mean power in a bin.

    Args:
        samples: how many (of all channels) the sums hold. window_energy: sum of the squared analysis window.
    """
    return max(reference.ss / max(samples, 1) * window_energy * 10 ** (LSD_FLOOR_DB / 10), 1e-20)


@dataclass
class MusicToSpeech:
    """Masked music-to-speech ratio in dB with a reference.

    Definition: what of the signal y is not the reference s, y - a s with a = <y, s> / <s, s>, counts as music; its energy over that of
    a s, both summed only over the frames in which s speaks (energy within 40 dB of its loudest frame), so that long pauses do not
    flatter. For a mixture s + m this is the ratio of m to s at active speech level. Limits: artefacts and lost speech count as music,
    so for an output it is an upper bound of the music left. Frames are gathered by their speech level in steps of 0.5 dB, so that
    memory does not grow with the file: the threshold is exact to one step.
    """

    gain: float
    speech: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(LEVELS)))
    residual: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(LEVELS)))

    def add(self, signal_: NDArray[Any], reference: NDArray[Any]) -> None:
        """Add spectra `[C, N, F]`."""
        scaled = self.gain * reference
        speech = (np.abs(scaled) ** 2).sum(axis=(0, 2), dtype=np.float64)
        residual = (np.abs(signal_ - scaled) ** 2).sum(axis=(0, 2), dtype=np.float64)
        level = np.searchsorted(LEVELS, 10 * np.log10(np.maximum(speech, 1e-20)), side="right") - 1
        self.speech += np.bincount(level, speech, len(LEVELS))
        self.residual += np.bincount(level, residual, len(LEVELS))

    def value(self) -> float:
        used = np.flatnonzero(self.speech)
        if not len(used):
            raise Missing("the reference is silent, or the signal holds nothing of it")
        active = slice(max(0, used[-1] + int(ACTIVE_DB / LEVEL_STEP_DB)), None)
        ratio = self.residual[active].sum() / self.speech[active].sum()
        return float(np.clip(10 * math.log10(max(ratio, 1e-10)), -MAX_DB, MAX_DB))
