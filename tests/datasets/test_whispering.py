"""A whisper says the same without a voice."""

from __future__ import annotations

import numpy as np
import pytest

from audiorestorer.datasets.whispering import whispered

RATE = 16_000


def vowel(hertz: float = 150.0) -> np.ndarray:
    """Two seconds of a voice of 150 Hz with a formant at 1500 Hz."""
    time = np.arange(2 * RATE) / RATE
    overtones = np.arange(1, int(RATE / 2 / hertz))
    gains = 1 / (1 + ((overtones * hertz - 1500) / 200) ** 2)
    return (gains[:, None] * np.sin(2 * np.pi * hertz * overtones[:, None] * time)).sum(axis=0).astype(np.float32)


def power(signal: np.ndarray) -> np.ndarray:
    frames = signal[: len(signal) // 4000 * 4000].reshape(-1, 4000) * np.hanning(4000)
    return np.square(np.abs(np.fft.rfft(frames))).mean(axis=0)  # bins of 4 Hz


def test_the_voice_goes_and_the_formant_stays() -> None:
    before, speech = power(vowel()), whispered(np.random.default_rng(1), vowel(), RATE)
    after = power(speech)
    harmonics = np.arange(150, 3000, 150) // 4
    between = harmonics + round(75 / 4)
    assert before[harmonics].sum() > 1000 * before[between].sum()
    assert after[harmonics].sum() < 3 * after[between].sum()
    heard = np.convolve(after, np.ones(50) / 50, mode="same")
    assert 1300 < 4 * heard.argmax() < 1700
    assert np.square(speech).mean() == pytest.approx(np.square(vowel()).mean(), rel=1e-3)


def test_a_whisper_pauses_where_the_voice_does() -> None:
    voice = vowel()
    voice[RATE // 2 : RATE] = 0
    speech = whispered(np.random.default_rng(1), voice, RATE)
    pause = np.square(speech[RATE // 2 + 800 : RATE - 800]).mean()
    assert pause < 1e-4 * np.square(speech[:6000]).mean()
    assert speech.shape == voice.shape and speech.dtype == np.float32
    silence = np.zeros(1000, np.float32)
    assert not whispered(np.random.default_rng(1), silence, RATE).any()
