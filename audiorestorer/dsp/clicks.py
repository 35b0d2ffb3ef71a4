"""Impulses of a record: clicks, pops and crackle differ in rate, size and width only.

Times are a Poisson process. A pulse is a damped oscillation a e^(-t/tau) cos(2 pi f t + phi), the pickup's answer to a step in the
groove, scaled so that its largest sample is the drawn amplitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio

Law = Literal["log-normal", "pareto"]

DECAY = np.log(10.0)  # a pulse's envelope falls to a tenth in one width
TAIL_WIDTHS = 4.0  # length of a pulse in widths: it ends at -80 dB
PARETO_LEAST_SHAPE = 1.0  # below it the mean is infinite
CLIPPED_DB = 24.0  # an amplitude is held within this of its median: a Pareto law's tail has no end


@dataclass(frozen=True)
class Impulses:
    """Impulses that were drawn, `[n]` each, in order of time.

    Attributes:
        starts: first sample. amplitudes: largest sample, with its sign. widths_sec: time in which the envelope falls to a tenth.
            resonances_hz: 0 for none.
    """

    starts: NDArray[np.int64]
    amplitudes: NDArray[np.float64]
    widths_sec: NDArray[np.float64]
    resonances_hz: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.starts)

    def record(self) -> dict[str, list[float]]:
        """The impulses as JSON-able lists, rounded, for a manifest."""
        return {
            "starts": [int(value) for value in self.starts],
            "amplitudes": [round(float(value), 7) for value in self.amplitudes],
            "widths_sec": [round(float(value), 7) for value in self.widths_sec],
            "resonances_hz": [round(float(value), 1) for value in self.resonances_hz],
        }


@dataclass(frozen=True)
class ImpulseLaw:
    """The distributions that impulses are drawn from.

    Attributes:
        rate_per_sec: rate of the Poisson process.
        amplitude: median, full scale 1. spread_db: standard deviation of the amplitude's level (log-normal); the Pareto law takes
            the tail whose level has that standard deviation.
        width_sec: median. width_spread: standard deviation of its logarithm.
        resonance_hz: range, drawn evenly over log frequency; (0, 0): pure decay.
    """

    rate_per_sec: float
    amplitude: float
    spread_db: float = 6.0
    law: Law = "log-normal"
    width_sec: float = 3e-4
    width_spread: float = 0.5
    resonance_hz: tuple[float, float] = (0.0, 0.0)


def poisson_times(rng: np.random.Generator, rate_per_sec: float, length: int, sample_rate: int) -> NDArray[np.float64]:
    """Times of a Poisson process in samples, rising, fractional."""
    return np.sort(rng.uniform(0, length, int(rng.poisson(rate_per_sec * length / sample_rate))))


def amplitudes(rng: np.random.Generator, law: ImpulseLaw, count: int) -> NDArray[np.float64]:
    """Amplitudes without sign. The level of a Pareto law x^-a is exponential with standard deviation 20 / (a ln 10) dB."""
    if law.law == "pareto":
        shape = max(PARETO_LEAST_SHAPE, 20 / np.log(10) / max(law.spread_db, 1e-9))
        over_db = 20 * np.log10(rng.pareto(shape, count) + 1) - 20 * np.log10(2 ** (1 / shape))
    else:
        over_db = law.spread_db * rng.standard_normal(count)
    return np.asarray(law.amplitude * 10 ** (np.clip(over_db, -CLIPPED_DB, CLIPPED_DB) / 20), np.float64)


def draw(rng: np.random.Generator, law: ImpulseLaw, length: int, sample_rate: int) -> tuple[Audio, Impulses]:
    """Draw impulses and render them.

    Returns:
        Samples `[1, length]` and the impulses.
    """
    times = poisson_times(rng, law.rate_per_sec, length, sample_rate)
    count = len(times)
    size = amplitudes(rng, law, count) * rng.choice([-1.0, 1.0], count)
    widths = law.width_sec * np.exp(law.width_spread * rng.standard_normal(count))
    low, high = law.resonance_hz
    resonances = np.exp(rng.uniform(np.log(low), np.log(high), count)) if low > 0 else np.zeros(count)
    resonances = np.minimum(resonances, 0.45 * sample_rate)
    phases = rng.uniform(-np.pi / 2, np.pi / 2, count) if low > 0 else np.zeros(count)
    out = np.zeros(length)
    for time, amplitude, width, resonance, phase in zip(times, size, widths, resonances, phases, strict=True):
        _add(out, time, amplitude, pulse(time % 1, width, resonance, phase, sample_rate))
    return out.astype(np.float32)[None], Impulses(times.astype(np.int64), size, widths, resonances)


def pulse(
    fraction: float, width_sec: float, resonance_hz: float, phase: float, sample_rate: int
) -> NDArray[np.float64]:
    """A damped oscillation that begins `fraction` of a sample after the first one; its largest sample is 1 in magnitude, `[n]`."""
    size = max(2, int(TAIL_WIDTHS * width_sec * sample_rate) + 1)
    time = np.maximum(np.arange(1, size + 1) - fraction, 0) / sample_rate
    shape = np.exp(-DECAY * time / width_sec) * np.cos(2 * np.pi * resonance_hz * time + phase)
    return np.asarray(shape / max(float(np.abs(shape).max()), 1e-12), np.float64)


def _add(out: NDArray[np.float64], time: float, amplitude: float, shape: NDArray[np.float64]) -> None:
    first = int(time)
    part = shape[: len(out) - first]
    out[first : first + len(part)] += amplitude * part


def as_dict(law: ImpulseLaw) -> dict[str, Any]:
    """The law's numbers for a manifest."""
    return {
        "rate_per_sec": law.rate_per_sec, "amplitude": law.amplitude, "spread_db": law.spread_db, "law": law.law,
        "width_sec": law.width_sec, "width_spread": law.width_spread, "resonance_hz": list(law.resonance_hz),
    }  # fmt: skip
