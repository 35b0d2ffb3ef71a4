"""The test sets of the enhancer: one fault each, of the size that their names say, and nothing moves."""

import numpy as np
import pytest

from audiorestorer.datasets.enhancement.degraded_sets import CLIP_SHARE, CONDITIONS, SNR_DB, degraded
from audiorestorer.datasets.levels import snr_db
from tests.clean_speech import clean_speech

RATE = 44_100


def speech() -> np.ndarray:
    return clean_speech(RATE)[:, : 5 * RATE]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_seed_gives_the_same_samples_and_nothing_moves(condition: str) -> None:
    made = degraded(speech(), RATE, condition, 3)
    assert made.shape == speech().shape and np.array_equal(made, degraded(speech(), RATE, condition, 3))
    spectra = np.fft.rfft(speech()[0]), np.fft.rfft(made[0])
    assert int(np.argmax(np.fft.irfft(spectra[1] * spectra[0].conj()))) == 0


@pytest.mark.parametrize(("condition", "limit_hz"), [("band_4khz", 4000), ("band_8khz", 8000)])
def test_band_limits(condition: str, limit_hz: int) -> None:
    noise = np.random.default_rng(0).standard_normal((1, 2 * RATE)).astype(np.float32)
    before, after = (np.abs(np.fft.rfft(one[0])) ** 2 for one in (noise, degraded(noise, RATE, condition, 0)))
    hertz = np.fft.rfftfreq(noise.shape[1], 1 / RATE)
    low, high = hertz < 0.7 * limit_hz, hertz > 2 * limit_hz
    assert after[low].sum() / before[low].sum() == pytest.approx(1, abs=0.02)
    assert after[high].sum() < 1e-4 * before[high].sum()


def test_noise_has_its_snr_and_clipping_its_limit() -> None:
    clean = speech()
    noise = degraded(clean, RATE, "noisy", 0) - clean
    assert snr_db(clean[0], noise[0], RATE) == pytest.approx(SNR_DB, abs=0.01)
    assert np.abs(degraded(clean, RATE, "clipped", 0)).max() == pytest.approx(
        CLIP_SHARE * np.abs(clean).max(), rel=1e-5
    )
    assert np.array_equal(degraded(clean, RATE, "clean", 0), clean)
