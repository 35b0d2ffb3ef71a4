"""Clicks in speech: found, measured, not invented, and the same whatever the blocks are."""

import numpy as np
import pytest

from audiorestorer.dsp.active_level import active_level
from audiorestorer.dsp.click_census import CENSUS_DETECTOR, Census
from audiorestorer.dsp.click_detection import DETECTOR, Detector, blocks
from audiorestorer.dsp.clicks import ImpulseLaw, draw
from tests.clean_speech import LEVEL, clean_speech

RATE = 44_100


def clicked(rate: float, sample_rate: int = RATE, recordings: int = 12, seed: int = 1, level_db: float = 9.0):  # type: ignore[no-untyped-def]
    speech = clean_speech(sample_rate, recordings)
    law = ImpulseLaw(rate, LEVEL * 10 ** (level_db / 20), 6.0, width_sec=3e-4, resonance_hz=(1500, 6000))
    train, drawn = draw(np.random.default_rng(seed), law, speech.shape[1], sample_rate)
    return speech, speech + train, drawn


def count(audio: np.ndarray, sample_rate: int = RATE, detector: Detector = DETECTOR) -> int:
    return sum(len(block.clicks) for block in blocks([audio], sample_rate, LEVEL, detector))


def test_recall_and_amplitudes() -> None:
    _, noisy, drawn = clicked(10.0, recordings=3)
    clicks = [block.clicks for block in blocks([noisy], RATE, LEVEL)]
    names = ("places", "starts", "ends", "amplitudes")
    places, starts, ends, amplitudes = (np.concatenate([getattr(part, name) for part in clicks]) for name in names)
    distance = np.abs(places[:, None] - drawn.starts)
    nearest = distance.min(axis=0)
    heard = nearest < 0.0015 * RATE
    assert heard.mean() > 0.93
    size = amplitudes[distance.argmin(axis=0)][heard] / np.abs(drawn.amplitudes[heard])
    assert np.median(20 * np.log10(size)) == pytest.approx(0, abs=0.3)
    assert ((starts <= places) & (places < ends)).all()


def test_clean_speech_shows_few() -> None:
    """With the neighbour condition less than 1/s; without it glottal pulses by the dozen."""
    speech = clean_speech(16_000, 6)
    seconds = speech.shape[1] / 16_000
    assert count(speech, 16_000) / seconds < 1.5
    assert count(speech, 16_000, Detector(neighbour_ratio=0)) / seconds > 10


def test_a_click_in_one_channel_is_found_once() -> None:
    stereo = np.repeat(clean_speech(RATE, 1), 2, axis=0)
    stereo[1, 50_000:50_010] += 0.5
    stereo[:, 100_000] -= 0.4
    places = np.concatenate([block.clicks.places for block in blocks([stereo], RATE, LEVEL)])
    for place in (50_000, 100_000):
        assert np.sum(np.abs(places - place) < 20) == 1


def test_blocks_do_not_matter() -> None:
    _, noisy, _ = clicked(20.0, recordings=1)
    whole = list(blocks([noisy], RATE, LEVEL, CENSUS_DETECTOR))
    cuts = list(range(0, noisy.shape[1], 12_345)) + [noisy.shape[1]]
    parts = list(blocks([noisy[:, a:b] for a, b in zip(cuts, cuts[1:], strict=False)], RATE, LEVEL, CENSUS_DETECTOR))
    assert [p.start for p in parts] == [w.start for w in whole]
    for part, one in zip(parts, whole, strict=True):
        assert np.array_equal(part.repaired, one.repaired) and np.array_equal(part.clicks.places, one.clicks.places)
    assert np.array_equal(np.concatenate([p.audio for p in parts], axis=1), noisy)


@pytest.mark.parametrize("length", [0, 1, 100, 44_100])
def test_silence_and_short_signals(length: int) -> None:
    assert count(np.zeros((1, length), np.float32)) == 0
    out = list(blocks([np.zeros((2, length), np.float32)], RATE, LEVEL))
    assert sum(block.audio.shape[1] for block in out) == length


@pytest.mark.parametrize(("rate", "recordings"), [(0.0, 6), (4.0, 12), (50.0, 2)])
def test_the_census_makes_up_for_what_is_missed(rate: float, recordings: int) -> None:
    _, noisy, drawn = clicked(max(rate, 1e-9), recordings=recordings)
    census = Census(RATE)
    for block in blocks([noisy], RATE, LEVEL, CENSUS_DETECTOR):
        census.add(block)
    seconds = noisy.shape[1] / RATE
    count = census.count(0.05)
    assert count.rate_per_sec == pytest.approx(len(drawn) / seconds, rel=0.15, abs=0.1)
    if rate:
        assert count.found / seconds < 1.05 * len(drawn) / seconds
        assert count.level_db == pytest.approx(20 * np.log10(LEVEL) + 9, abs=1.5)
        assert count.spread_db == pytest.approx(6, abs=1.5) and 2e-4 < count.width_sec < 6e-4
    else:
        assert np.isnan(count.level_db) or count.found < 4


def test_active_level_is_that_of_the_speech() -> None:
    speech = clean_speech(16_000, 2)
    padded = np.concatenate([speech, np.zeros((1, 160_000), np.float32)], axis=1)
    assert active_level([padded], 16_000) == pytest.approx(active_level([speech], 16_000), rel=0.02)
    assert active_level([speech], 16_000) == pytest.approx(LEVEL, rel=0.15)
    assert active_level([np.zeros((1, 1000), np.float32)], 16_000) == 0.0
    tone = np.full((1, 1000), 0.5, np.float32)
    assert active_level([tone[:, :300], tone[:, 300:]], 16_000) == pytest.approx(0.5, rel=1e-3)
