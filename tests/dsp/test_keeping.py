"""What a recording holds stays to the sample, and what is made above its band follows its level."""

from __future__ import annotations

import numpy as np
import pytest

from audiorestorer.dsp import keeping
from audiorestorer.dsp.artefacts import band_limit
from tests.clean_speech import clean_speech

RATE = 44_100


def wide_speech() -> np.ndarray:
    """A voice of 16 kHz with breath above its band, as a microphone would have heard it."""
    speech = clean_speech(RATE)[:, : 6 * RATE]
    breath = np.random.default_rng(2).standard_normal(speech.shape).astype(np.float32)
    return speech + 0.01 * np.abs(speech) * breath


def tone(hz: float, seconds: float = 2.0, level: float = 0.1) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)[None]


def together(kept: np.ndarray, made: np.ndarray, limit: float) -> np.ndarray:
    blocks = keeping.joined(iter([kept]), iter([made]), kept.shape[1], RATE, [limit] * len(kept))
    return np.concatenate(list(blocks), axis=1)


def level_at(audio: np.ndarray, hz: float) -> float:
    """Amplitude of a tone in the middle of the first channel."""
    part = audio[0, RATE // 2 : 3 * RATE // 2] * np.hanning(RATE)
    return float(4 * np.abs(np.exp(-2j * np.pi * hz * np.arange(len(part)) / RATE) @ part) / len(part))


def test_below_the_limit_the_recording_above_it_what_is_made() -> None:
    kept, made = tone(1000) + tone(3000), tone(1000) * 3 + tone(3000) + tone(9000)
    out = together(kept, made, 4000)
    assert level_at(out, 1000) == pytest.approx(0.1, rel=1e-3) and level_at(out, 3000) == pytest.approx(0.1, rel=1e-3)
    assert level_at(out, 9000) == pytest.approx(0.1, rel=0.02)  # at the level that the made one has beside 3 kHz
    loud = together(kept, made * 0.2, 4000)
    assert level_at(loud, 9000) == pytest.approx(0.08, rel=0.02)  # brought up, by a factor of four at most


def test_where_the_recording_is_silent_nothing_is_made() -> None:
    kept, made = tone(3000), tone(3000) + tone(9000)
    kept[:, RATE:] = 0
    out = together(kept, made, 4000)
    assert np.abs(out[:, RATE + 8000 :]).max() < 1e-6 and level_at(out, 9000) > 0.01


def test_a_channel_that_lacks_nothing_stays_as_it_is() -> None:
    kept, made = np.concatenate([tone(3000), tone(9000)]), np.concatenate([tone(8000), tone(8000)])
    blocks = keeping.joined(iter([kept]), iter([made]), kept.shape[1], RATE, [4000, RATE])
    out = np.concatenate(list(blocks), axis=1)
    np.testing.assert_allclose(out[1], kept[1], atol=1e-6)
    assert level_at(out, 8000) == pytest.approx(0.1 * keeping.MOST_GAIN, rel=0.02)  # the other one gets its band


@pytest.mark.parametrize("limit", [3400, 4000, 8000])
def test_a_band_limit_is_found(limit: float) -> None:
    speech = wide_speech()
    narrow = band_limit(speech, RATE, low_hz=None, high_hz=limit, order=30)
    (found,) = keeping.held([narrow], RATE, np.array([0.05], np.float32))
    assert found.band_hz == pytest.approx(limit, rel=0.15) and found.lacks(RATE)


@pytest.mark.parametrize("level", [0.05, 5e-5])
def test_clean_speech_lacks_nothing_and_is_not_denoised(level: float) -> None:
    speech = wide_speech()
    speech = speech * (level / float(np.sqrt(np.mean(np.square(speech)))))
    (found,) = keeping.held([speech], RATE, np.array([level], np.float32))
    assert not found.lacks(RATE) and found.wet == 0


def test_noise_calls_for_the_denoiser() -> None:
    speech = clean_speech(RATE)[:, : 6 * RATE]
    noise = np.random.default_rng(1).standard_normal(speech.shape).astype(np.float32)
    noise *= np.sqrt(np.mean(np.square(speech))) * 10 ** (-10 / 20)
    (found,) = keeping.held([speech + noise], RATE, np.array([0.05], np.float32))
    assert found.wet == 1 and found.snr_db == pytest.approx(12, abs=5)


def test_silence_and_almost_nothing() -> None:
    for audio in (np.zeros((1, RATE), np.float32), tone(1000, 0.01)):
        (found,) = keeping.held([audio], RATE, np.array([0.0], np.float32))
        assert not found.lacks(RATE) and 0 <= found.wet <= 1
