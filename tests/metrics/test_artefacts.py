"""Removal and preservation: the oracle has both, silence, the unchanged input and tricks have not."""

from collections.abc import Callable

import numpy as np
import pytest

from audiorestorer.datasets.degradation.degradations import Degraded, degrade
from audiorestorer.datasets.degradation.settings import DegradationSettings
from audiorestorer.dsp.artefacts import band_limit
from audiorestorer.dsp.click_repair import repair
from audiorestorer.metrics import Missing
from audiorestorer.metrics.artefacts import impulse_removal, transient_preservation
from tests.clean_speech import clean_speech

RATE = 22_050
OFF = {name: {"probability": 0.0} for name in DegradationSettings.model_fields}


@pytest.fixture(scope="module")
def damaged() -> Degraded:
    """Fifteen clicks a second and hiss at 15 dB."""
    settings = DegradationSettings.model_validate(
        {
            **OFF,
            "clicks": {"probability": 1.0, "rate_per_sec": [15, 15], "level_db": [12, 12]},
            "hiss": {"probability": 1.0, "snr_db": [15, 15]},
        }
    )
    return degrade(clean_speech(RATE, 3), RATE, settings, np.random.default_rng(1))


def removal(damaged: Degraded, output: np.ndarray) -> float:
    drawn = damaged.impulses
    return impulse_removal(damaged.target, damaged.noisy, output, drawn.starts, RATE, drawn.widths_sec).rate


def kept(damaged: Degraded, output: np.ndarray) -> float:
    return transient_preservation(damaged.target, output, RATE).value


def with_holes(damaged: Degraded) -> np.ndarray:
    out = damaged.noisy.copy()
    for start in damaged.impulses.starts:
        out[:, max(0, start - 10) : start + 60] = 0
    return out


def low_passed(damaged: Degraded) -> np.ndarray:
    return band_limit(damaged.noisy, RATE, low_hz=None, high_hz=1500)


TRICKS: dict[str, tuple[Callable[[Degraded], np.ndarray], float, float]] = {
    "silence": (lambda d: np.zeros_like(d.noisy), 0.0, 0.0),
    "identity": (lambda d: d.noisy, 0.0, 0.4),
    "identity, softer": (lambda d: 0.1 * d.noisy, 0.0, 0.4),
    "all but silence": (lambda d: 1e-6 * d.noisy, 0.0, 0.4),
    "upside down": (lambda d: -d.target, 0.0, 0.0),
    "other noise": (lambda d: np.random.default_rng(1).normal(0, 0.1, d.noisy.shape).astype(np.float32), 0.02, 0.02),
    "holes": (with_holes, 0.1, 0.4),
    "low-pass": (low_passed, 1.0, 0.4),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_scores(damaged: Degraded, trick: str) -> None:
    make, most_removal, most_kept = TRICKS[trick]
    output = make(damaged)
    assert removal(damaged, output) <= most_removal and kept(damaged, output) <= most_kept
    assert min(removal(damaged, output), kept(damaged, output)) <= 0.4


@pytest.mark.parametrize("gain", [1.0, 0.01, 7.0])
def test_the_oracle_scores_one_at_any_gain(damaged: Degraded, gain: float) -> None:
    output = np.float32(gain) * damaged.target
    assert removal(damaged, output) == 1.0
    found = transient_preservation(damaged.target, output, RATE)
    assert found.value == pytest.approx(1, abs=1e-4) and found.onsets > 5


def test_the_less_noise_is_left_the_better(damaged: Degraded) -> None:
    outputs = [damaged.target + np.float32(share) * (damaged.noisy - damaged.target) for share in (1.0, 0.5, 0.2, 0.05)]
    removals, preserved = ([score(damaged, output) for output in outputs] for score in (removal, kept))
    assert removals == sorted(removals) and removals[0] == 0 and removals[-1] > 0.9
    assert preserved == sorted(preserved) and preserved[-1] > 0.85


def test_the_classical_repair_lies_between(damaged: Degraded) -> None:
    output = repair(damaged.noisy, RATE)
    assert 0.1 < removal(damaged, output) < 1 and kept(damaged, output) >= kept(damaged, damaged.noisy) - 0.02


def test_without_hiss_the_classical_repair_removes_most() -> None:
    settings = DegradationSettings.model_validate(
        {**OFF, "clicks": {"probability": 1.0, "rate_per_sec": [10, 10], "level_db": [15, 15], "pareto": 0.0}}
    )
    found = degrade(clean_speech(RATE, 2), RATE, settings, np.random.default_rng(1))
    assert removal(found, repair(found.noisy, RATE)) > 0.75 and kept(found, repair(found.noisy, RATE)) > 0.85


def test_what_cannot_be_measured_says_why(damaged: Degraded) -> None:
    clean = damaged.target
    none = np.zeros(0, np.int64)
    with pytest.raises(Missing, match="no click"):
        impulse_removal(clean, damaged.noisy, clean, none, RATE)
    with pytest.raises(Missing, match="no click"):  # nothing stands out
        impulse_removal(clean, clean, clean, np.array([1000]), RATE)
    with pytest.raises(Missing, match="no onset"):
        transient_preservation(np.zeros((1, RATE), np.float32), np.zeros((1, RATE), np.float32), RATE)
    with pytest.raises(ValueError, match="shape"):
        transient_preservation(clean, clean[:, 1:], RATE)


def test_stereo(damaged: Degraded) -> None:
    both = [np.repeat(audio, 2, axis=0) for audio in (damaged.target, damaged.noisy, damaged.target)]
    assert impulse_removal(*both, damaged.impulses.starts, RATE).rate == 1.0  # type: ignore[arg-type]
