"""Noise under speech is measured within a decibel, the bandwidth within a fifth."""

import numpy as np
import pytest

from audiorestorer.dsp import artefacts
from audiorestorer.dsp.noise_floor import NoiseFloor, NoiseMeter
from tests.clean_speech import LEVEL, clean_speech

WHITE = [(50.0, 0.0), (20_000.0, 0.0)]
RISING = [(50.0, 0.0), (1000.0, 0.0), (8000.0, 12.0)]


def measured(audio: np.ndarray, rate: int, block: int = 50_000) -> NoiseFloor:
    meter = NoiseMeter(rate)
    for start in range(0, audio.shape[1], block):
        meter.add(audio[:, start : start + block])
    return meter.result()


def hiss(length: int, rate: int, curve: list[tuple[float, float]], snr_db: float) -> np.ndarray:
    noise = artefacts.shaped_noise(np.random.default_rng(1), 1, length, rate, curve)
    return noise * np.float32(LEVEL * 10 ** (-snr_db / 20))


def dbfs(audio: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(np.square(audio, dtype=float)))))


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("curve", [WHITE, RISING], ids=["white", "rising"])
@pytest.mark.parametrize("snr", [5.0, 20.0, 40.0])
def test_noise_under_speech(rate: int, curve: list[tuple[float, float]], snr: float) -> None:
    speech = clean_speech(rate, 3)
    noise = hiss(speech.shape[1], rate, curve, snr)
    heard = artefacts.band_limit(noise, rate, low_hz=89, high_hz=None)
    found = measured(speech + noise, rate)
    assert found.noise_dbfs == pytest.approx(dbfs(heard), abs=1.0) and found.noise_confidence > 0.5
    if snr > 10:
        assert found.snr_db == pytest.approx(snr, abs=2.0)
    alone = measured(noise, rate)
    assert alone.noise_dbfs == pytest.approx(dbfs(heard), abs=0.5)


def test_the_noises_spectrum() -> None:
    rate = 44_100
    speech = clean_speech(rate, 2)
    noise = hiss(speech.shape[1], rate, [(100.0, 0.0), (1000.0, -20.0), (10_000.0, 0.0)], 15.0)
    found = measured(speech + noise, rate)
    density = {round(f): db - 10 * np.log10(f) for f, db in zip(found.bands_hz, found.bands_dbfs, strict=True)}
    assert density[10_000] - density[1000] == pytest.approx(20, abs=2.5)
    assert density[10_000] - density[5012] == pytest.approx(6, abs=1)


def test_digital_silence_between_words_is_no_noise() -> None:
    assert measured(clean_speech(16_000, 3), 16_000).noise_dbfs < -95
    silent = measured(np.zeros((1, 16_000), np.float32), 16_000)
    assert silent.noise_dbfs < -100 and np.isnan(silent.bandwidth_hz)
    assert np.isnan(NoiseMeter(16_000).result().speech_dbfs)


@pytest.mark.parametrize("cut", [2500.0, 3500.0, 5500.0])
@pytest.mark.parametrize("snr", [20.0, 40.0, None])
def test_bandwidth(cut: float, snr: float | None) -> None:
    speech = artefacts.band_limit(clean_speech(44_100), 44_100, low_hz=None, high_hz=cut, order=8)
    noise = hiss(speech.shape[1], 44_100, WHITE, snr) if snr else 0
    found = measured(speech + noise, 44_100)
    assert found.bandwidth_hz == pytest.approx(cut, rel=0.2) and found.bandwidth_confidence > 0.3


def test_blocks_do_not_matter() -> None:
    speech = clean_speech(16_000, 1)
    noisy = speech + hiss(speech.shape[1], 16_000, WHITE, 30.0)
    assert measured(noisy, 16_000, 1000) == measured(noisy, 16_000, 77_777)
