"""What a recording is divided by before a network: one sample does not rule it, and channels that cancel do not make it zero."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from audiorestorer.dsp.outliers import limited, outlier_bound, without_outliers
from audiorestorer.separators import Loaded, Separator
from audiorestorer.separators.runtime.streaming import _statistics, at_network_rate

RATE = 16_000
BLOCK = 3_000


class Given(Separator):
    """Gives back what it gets, and keeps the highest sample of that."""

    sample_rate, segment_sec = RATE, 1.0

    def __init__(self, normalise: str, channels: int) -> None:
        self.normalise, self.channels, self.highest = normalise, channels, 0.0

    def __call__(self, audio: np.ndarray) -> dict[str, np.ndarray]:
        self.highest = max(self.highest, float(np.abs(audio).max()))
        return {"vocals": audio}


def speechlike(channels: int, level: float = 0.05) -> np.ndarray:
    rng = np.random.default_rng(0)
    envelope = np.interp(np.arange(4 * RATE), np.linspace(0, 4 * RATE, 40), rng.uniform(0.05, 1, 40))
    return (level * envelope * rng.standard_normal((channels, 4 * RATE))).astype(np.float32)


def blocks(audio: np.ndarray) -> Iterator[np.ndarray]:
    for begin in range(0, audio.shape[1], BLOCK):
        yield audio[:, begin : begin + BLOCK]


def scale_of(normalise: str, audio: np.ndarray) -> np.ndarray:
    network = Given(normalise, 2 if normalise == "demucs" else 1)
    return _statistics(network, lambda: blocks(audio), len(audio)).scale


def spiked(audio: np.ndarray) -> np.ndarray:
    out = audio.copy()
    out[:, 1_600] = 17_579.0
    return out


def tapped(audio: np.ndarray) -> np.ndarray:
    """Ten taps of 3 ms at full scale."""
    out = audio.copy()
    for number in range(10):
        begin = 4_000 + number * 5_500
        out[:, begin : begin + 48] = np.sign(np.sin(np.arange(48)))
    return out


@pytest.mark.parametrize("disturbed", [spiked, tapped])
@pytest.mark.parametrize("normalise", ["demucs", "std"])
def test_clicks_do_not_change_the_scale(normalise: str, disturbed) -> None:
    audio = speechlike(2, 0.005)
    ratio_db = 20 * np.log10(scale_of(normalise, disturbed(audio)) / scale_of(normalise, audio))
    assert np.abs(ratio_db).max() < 0.1


def test_without_clicks_the_scale_is_the_plain_deviation_to_the_bit() -> None:
    audio = speechlike(2)
    network = Given("demucs", 2)
    found = _statistics(network, lambda: iter([audio]), 2)
    mono = audio.mean(axis=0, dtype=np.float32).astype(np.float64)
    assert found.scale[0, 0] == pytest.approx(mono.std(ddof=1) + 1e-8, rel=1e-7)
    assert np.isinf(found.bound).all() and np.isinf(outlier_bound(blocks(audio), 2, RATE)).all()
    for function in (
        lambda: without_outliers(blocks(audio), found.bound, RATE),
        lambda: limited(blocks(audio), found.bound),
    ):
        assert (np.concatenate(list(function()), axis=1) == audio).all()


def test_a_spike_reaches_the_network_limited_and_nothing_else_changes() -> None:
    audio = speechlike(2)
    network = Given("demucs", 2)
    out = np.concatenate(
        list(at_network_rate(Loaded(network), lambda: blocks(spiked(audio)), audio.shape[1], 2)), axis=1
    )
    assert network.highest < 200  # standard deviations; the spike is at 600,000
    kept = np.arange(audio.shape[1]) != 1_600
    np.testing.assert_allclose(out[:, kept], audio[:, kept], atol=1e-5)


@pytest.mark.parametrize("gain", [-1.0, -0.9])
def test_opposite_polarity_has_the_scale_of_equal_polarity(gain: float) -> None:
    mono = speechlike(1)
    wanted = scale_of("demucs", np.concatenate([mono, mono]))
    found = scale_of("demucs", np.concatenate([mono, gain * mono]))
    assert np.abs(20 * np.log10(found / wanted)).max() < 0.5


def test_a_spike_in_silence_is_left_to_the_plain_rule() -> None:
    audio = np.zeros((1, RATE), np.float32)
    audio[0, 500] = 1.0
    assert np.isinf(outlier_bound(blocks(audio), 1, RATE)).all()
    assert scale_of("std", audio)[0, 0] == pytest.approx(audio.std(ddof=1) + 1e-3, rel=1e-5)
