"""Levels where BS.1770 gives no number, and of recordings with spikes."""

import numpy as np
import pytest

from audiorestorer.audio import rechunk
from audiorestorer.dsp import loudness
from audiorestorer.dsp.reading import Kind, reading

RATE = 16_000


def speech(seconds, level=0.05, seed=0):
    """Harmonics under an envelope of syllables, four a second, over faint hiss: `[1, T]`."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 0.7 * t)) / RATE
    voiced = sum(np.sin(k * phase) / k for k in range(1, 20)) * (0.6 - 0.4 * np.cos(2 * np.pi * 4 * t))
    return (level * (voiced + 0.01 * rng.standard_normal(len(t))))[None].astype(np.float32)


def read(x, rate=RATE, block=4321):
    return reading(lambda: rechunk([x], block), rate, x.shape[0])


def db(x):
    return np.float32(10 ** (x / 20))


@pytest.mark.parametrize("channels", [1, 2])
def test_ordinary_recordings_get_the_standard_s_number_to_the_last_bit(channels):
    x = np.repeat(speech(5), channels, axis=0)
    found = read(x)
    assert found.kind is Kind.STANDARD and found.spikes is None
    assert found.lufs == found.standard_lufs == loudness.measure(rechunk([x], 4321), RATE, channels).lufs
    assert found.loudest_lufs == pytest.approx(loudness.over_time(x, RATE, 0.4)[1].max(), abs=1e-6)


@pytest.mark.parametrize("quieter_db", [-50, -70, -100])
def test_below_the_gate_the_level_goes_on_as_the_signal_does(quieter_db):
    x = np.concatenate([speech(4), np.zeros((1, 3 * RATE), np.float32), speech(2)], axis=1)
    loud, quiet = read(x), read(x * db(quieter_db))
    assert quiet.kind is Kind.BELOW_GATE and quiet.standard_lufs is None
    assert quiet.lufs - loud.lufs == pytest.approx(quieter_db, abs=0.05)


@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.39, 0.4, 0.7, 2.0])
def test_pieces_of_one_take_read_one_level(seconds):
    x = speech(12)
    whole, size = read(x).lufs, round(seconds * RATE)
    starts = range(0, x.shape[1] - size, max(size, RATE))
    levels = [read(x[:, start : start + size]) for start in starts]
    assert {level.kind for level in levels} == {Kind.SHORT if seconds < 0.4 else Kind.STANDARD}
    # a tenth of a second is shorter than a syllable, so the take itself varies from piece to piece
    assert np.median([level.lufs for level in levels]) == pytest.approx(whole, abs=2 if seconds >= 0.2 else 3)


def test_a_steady_take_cut_into_pieces_reads_one_level_within_a_tenth():
    x = np.random.default_rng(0).normal(0, 0.05, (1, 8 * RATE)).astype(np.float32)
    whole = read(x).lufs
    for seconds in (0.1, 0.25, 0.399, 0.401, 1.0):
        assert read(x[:, RATE : RATE + round(seconds * RATE)]).lufs == pytest.approx(whole, abs=0.4)
    assert read(x[:, :10]).lufs is not None


def test_silence_is_silent_and_nothing_else():
    for length in (0, 1, 100, RATE):
        found = read(np.zeros((2, length), np.float32))
        assert found.kind is Kind.SILENT and found.lufs is None and found.loudest_lufs is None
    ends = np.zeros((1, RATE), np.float32)
    ends[0, -800:] = 0.1 * np.sin(np.arange(800) / 3)  # after the last whole block
    assert read(ends).lufs is not None


@pytest.mark.parametrize("height_db", [25, 84.9, 190])
@pytest.mark.parametrize("places", [[1600], [0], [70_000, 70_003, 90_000]])
def test_a_huge_sample_does_not_rule_the_level(height_db, places):
    x = speech(6, level=0.01)
    spiky = x.copy()
    spiky[0, places] = db(height_db)
    found, plain = read(spiky), read(x)
    assert found.lufs == pytest.approx(plain.lufs, abs=0.5)
    assert found.loudest_lufs == pytest.approx(plain.loudest_lufs, abs=0.5)
    assert found.true_peak_dbtp > height_db - 0.01 and found.spikes.limit < 1
    again = read(spiky, block=777)
    assert again.spikes == found.spikes and again.lufs == pytest.approx(found.lufs, abs=1e-9)


def test_taps_do_not_rule_the_level_and_a_lone_syllable_does():
    x = speech(6, level=0.003)
    tapped = x.copy()
    tap = 0.99 * np.exp(-np.arange(320) / 48) * np.sin(np.arange(320) * 0.5)
    for place in range(5_000, 90_000, 9_000):
        tapped[0, place : place + 320] += tap
    assert read(tapped).standard_lufs > read(x).lufs + 15
    assert read(tapped).lufs == pytest.approx(read(x).lufs, abs=2)
    hiss = np.random.default_rng(0).normal(0, 1e-4, (1, 6 * RATE)).astype(np.float32)
    hiss[:, 40_000:43_200] += speech(0.2)
    assert read(hiss).spikes is None and read(hiss).loudest_lufs > -40


@pytest.mark.parametrize("clicks", [1, 40])
def test_where_there_is_nothing_but_clicks_they_are_the_signal(clicks):
    x = np.zeros((1, 3 * RATE), np.float32)
    x[0, 500 :: x.shape[1] // clicks] = 0.5
    found = read(x)
    assert found.spikes is None and found.lufs is not None


def test_what_is_no_number_is_an_error():
    for value in (np.nan, np.inf):
        x = speech(0.3)
        x[0, -1] = value
        with pytest.raises(ValueError, match="NaN or infinity"):
            read(x)
