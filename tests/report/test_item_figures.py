"""The effective mask and loudness over time: a tone is kept or killed, a sine reads its loudness."""

import numpy as np
import pytest

from audiorestorer.dsp.loudness import over_time
from audiorestorer.report.figures import level_db
from audiorestorer.report.item_figures import details, effective_mask_db

RATE = 16_000


def tones(*frequencies: float, seconds: float = 4.0) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    return sum(0.1 * np.sin(2 * np.pi * frequency * time) for frequency in frequencies)[None].astype(np.float32)


def test_a_killed_tone_is_at_the_floor_and_a_kept_one_at_0_db_whatever_the_level():
    before, after = tones(500, 3000), tones(500) * np.float32(10 ** (7 / 20))
    mask, _ = effective_mask_db(before, after, RATE)
    bins = (mask.shape[0] - 1) * 2
    kept, killed = (mask[round(frequency / RATE * bins), 5:-5] for frequency in (500, 3000))
    assert np.allclose(kept, 0, atol=0.2) and np.allclose(killed, -40)


def test_a_halved_tone_is_at_minus_6_db():
    mask, _ = effective_mask_db(tones(500, 3000), tones(500) + 0.5 * tones(3000), RATE)
    found = mask[round(3000 / RATE * (mask.shape[0] - 1) * 2), 5:-5]
    # both tones are within 20 dB of the loudest: the broadband gain is the median over both
    assert np.ptp(found) < 0.5 and -6.5 < found.mean() <= 0


def test_where_nothing_was_there_is_no_mask():
    mask, _ = effective_mask_db(tones(500), tones(500), RATE)
    level, _ = level_db(tones(500), RATE)
    assert np.isnan(mask[level < level.max() - 81]).all() and np.isnan(mask).any()


@pytest.mark.parametrize(("channels", "lufs"), [(2, -23.0), (1, -26.01)])
@pytest.mark.parametrize("window_sec", [0.4, 3.0])
def test_a_997_hz_sine_at_minus_23_dbfs_reads_its_loudness_all_along(channels, lufs, window_sec):
    """BS.1770-4: 0 dBFS in one channel reads -3.01 LUFS, in both 0 LUFS (EBU Tech 3341, test signal 1, at 1000 Hz)."""
    rate = 48_000
    time = np.arange(6 * rate) / rate
    sine = np.tile(10 ** (-23 / 20) * np.sin(2 * np.pi * 997 * time), (channels, 1)).astype(np.float32)
    times, levels = over_time(sine, rate, window_sec)
    assert (
        times[0] == pytest.approx(window_sec) and times[-1] == pytest.approx(6.0) and np.allclose(np.diff(times), 0.1)
    )
    assert np.allclose(levels[2:], lufs, atol=0.1)


def test_silence_and_short_signals():
    zeros = np.zeros((2, 2 * RATE), np.float32)
    assert np.isneginf(over_time(zeros, RATE, 0.4)[1]).all() and not len(over_time(zeros, RATE, 3.0)[1])
    for length in (1, 100, 2 * RATE):
        assert details(zeros[:, :length], zeros[:, :length], RATE)


def test_equal_input_equal_bytes_and_small():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, 6 * 44_100)).astype(np.float32) * 0.1
    first = details(noise, 0.5 * noise, 44_100, -23.0)
    assert first == details(noise, 0.5 * noise, 44_100, -23.0) and len(first) < 150_000
