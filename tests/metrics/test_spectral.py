import numpy as np
import pytest

from audiorestorer.dsp.artefacts import band_limit
from audiorestorer.metrics import Missing
from audiorestorer.metrics.spectral import distances

RATE = 44_100


def noise(seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((1, 2 * RATE)).astype(np.float32)


def test_a_copy_at_another_level_has_no_distance() -> None:
    found = distances(0.3 * noise(), noise(), RATE)
    assert found["lsd_db"] < 1e-3 and found["lsd_high_db"] < 1e-3 and found["mel_db"] < 1e-3


def test_a_lost_band_shows_above_it() -> None:
    """White noise without its upper half: the floor of LSD is 60 dB below the mean power a bin."""
    found = distances(band_limit(noise(), RATE, low_hz=None, high_hz=4000.0, order=16), noise(), RATE)
    assert found["lsd_high_db"] > 40
    assert found["lsd_db"] < found["lsd_high_db"]


def test_other_noise_of_the_same_spectrum_has_the_distance_of_two_rayleigh_magnitudes() -> None:
    """10 log10 of the ratio of two exponential powers is logistic: standard deviation 10 / ln 10 * pi / sqrt 3 = 7.88 dB."""
    found = distances(noise(1), noise(2), RATE)
    assert found["lsd_db"] == pytest.approx(10 / np.log(10) * np.pi / np.sqrt(3), abs=0.15)
    assert found["mel_db"] < found["lsd_db"]  # a mel band is a mean of several bins


def test_silence_has_no_distance() -> None:
    with pytest.raises(Missing, match="output is silent"):
        distances(np.zeros((1, RATE), np.float32), noise()[:, :RATE], RATE)
