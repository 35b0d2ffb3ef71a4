"""Hum is told from speech and from music; wow is that of tones that last."""

import numpy as np
import pytest

from audiorestorer.datasets import generated
from audiorestorer.dsp import artefacts, wow
from audiorestorer.dsp.tones import HumLevel, HumMeter, WowDepth, WowMeter
from tests.clean_speech import LEVEL, clean_speech

RATE = 22_050


def hum_of(audio: np.ndarray, rate: int) -> HumLevel:
    meter = HumMeter(rate)
    for start in range(0, audio.shape[1], 30_000):
        meter.add(audio[:, start : start + 30_000])
    return meter.result()


def wow_of(audio: np.ndarray, rate: int) -> WowDepth:
    meter = WowMeter(rate)
    meter.add(audio.astype(np.float32))
    return meter.result()


@pytest.mark.parametrize("base", [50.0, 59.7])
@pytest.mark.parametrize("snr", [10.0, 20.0])
def test_hum_under_speech(base: float, snr: float) -> None:
    speech = clean_speech(16_000, 6)
    drawn = artefacts.draw_hum(np.random.default_rng(4), base, 10, 5.0)
    found = hum_of(speech + artefacts.hum(drawn, speech.shape[1], 16_000) * LEVEL * 10 ** (-snr / 20), 16_000)
    assert found.base_hz == pytest.approx(base, abs=0.2) and found.confidence > 0.3
    assert found.level_dbfs == pytest.approx(20 * np.log10(LEVEL) - snr, abs=1.5)


def test_no_hum_in_speech_nor_in_music() -> None:
    music = generated.mixed(generated.stems_of(np.random.default_rng(3), 20.0, RATE))[None]
    for audio, rate in ((clean_speech(16_000, 6), 16_000), (music, RATE)):
        found = hum_of(audio, rate)
        assert np.isnan(found.base_hz) and found.level_dbfs == -120
    assert hum_of(np.zeros((1, 100), np.float32), RATE).confidence == 0


@pytest.mark.parametrize(("depth", "rate_hz"), [(0.1, 1.3), (0.3, 1.3), (1.0, 1.3), (0.5, 0.556), (0.5, 4.0)])
def test_wow_of_a_chord(depth: float, rate_hz: float) -> None:
    time = np.arange(12 * RATE) / RATE
    chord = sum(0.1 * np.sin(2 * np.pi * f * time) / (k + 1) for k, f in enumerate((220, 277, 330, 440, 660)))
    moved = wow.displacement((wow.Speed(depth / 100, rate_hz, 0.3),), len(time), RATE)
    noise = 0.002 * np.random.default_rng(1).standard_normal(len(time))
    found = wow_of(wow.warp(np.asarray(chord, np.float32)[None], moved) + noise, RATE)
    assert found.depth_percent == pytest.approx(depth, rel=0.15) and found.confidence > 0.5


def test_speech_says_nothing_of_wow() -> None:
    found = wow_of(clean_speech(16_000, 3), 16_000)
    assert np.isnan(found.depth_percent) and found.confidence == 0
