"""What a meter or a limiter must not do: depend on blocks, read cuts as peaks, let a peak between two samples through."""

import numpy as np
import pytest
from scipy import signal

from audiorestorer.audio import rechunk
from audiorestorer.dsp import loudness, stft
from audiorestorer.dsp.true_peak import inter_sample_peaks, oversampling

RATE = 48_000


def tone(hz=1000.0, seconds=2.0, amplitude=0.5, phase=0.3):
    time = np.arange(int(seconds * RATE)) / RATE
    fade = np.minimum(1, np.minimum(time, time[::-1]) / 0.05)
    return (amplitude * fade * np.sin(2 * np.pi * hz * time + phase))[None].astype(np.float32)


@pytest.mark.parametrize("block", [3, 100, 4799, 10**6])
@pytest.mark.parametrize("hz", [100.0, 1000.0, 15_000.0])
def test_true_peak_does_not_depend_on_where_blocks_end(block, hz):
    level = loudness.measure(rechunk([tone(hz, 0.5)], block), RATE, 1)
    assert level.true_peak_dbtp == pytest.approx(-6.02, abs=0.1)
    assert level.true_peak_dbtp == pytest.approx(loudness.measure([tone(hz, 0.5)], RATE, 1).true_peak_dbtp, abs=1e-5)


def test_coefficients_are_the_standard_s_at_48_khz():
    """BS.1770-4, annex 1, tables 1 and 2."""
    shelf, high_pass = loudness.k_weighting(48_000)
    want = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585]
    assert shelf == pytest.approx(want, abs=1e-12)
    assert high_pass == pytest.approx([1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621], abs=1e-12)


@pytest.mark.parametrize("rate", [8000, 44_100, 96_000, 192_000])
def test_peaks_against_a_finer_resampler(rate):
    rng = np.random.default_rng(rate)
    x = signal.sosfilt(signal.butter(6, 0.8, output="sos"), rng.normal(0, 0.2, 4000)).astype(np.float32)[None]
    fine = np.abs(signal.resample(x[0], 32 * x.shape[1]))[32 * 100 : -32 * 100].max()
    ours = inter_sample_peaks(x, rate, 0.0)[100:-100].max()
    assert 20 * np.log10(ours / fine) == pytest.approx(0, abs={4: 0.3, 2: 1.5, 1: 5}[oversampling(rate)])
    skipped = inter_sample_peaks(x, rate, 0.9 * float(ours))
    assert skipped.max() == inter_sample_peaks(x, rate, 0.0).max()


@pytest.mark.parametrize("phase", [0.0, np.pi / 4, np.pi / 3])
@pytest.mark.parametrize("ceiling", [-1.0, -6.0, -20.0])
def test_limiter_holds_peaks_between_samples(phase, ceiling):
    out = np.concatenate(list(loudness.limited([tone(RATE / 4, 1.0, 0.98, phase)], RATE, ceiling)), axis=1)
    fine = np.abs(signal.resample(out[0].astype(np.float64), 16 * out.shape[1])).max()
    # 4 times oversampling, which BS.1770 asks for, may miss 0.17 dB of a tone at a quarter of the rate
    assert ceiling - 0.2 < 20 * np.log10(fine) <= ceiling + 0.12
    assert loudness.measure([out], RATE, 1).true_peak_dbtp <= ceiling


def test_limiter_s_gain_is_smooth_and_returns_to_one():
    x = tone(200, 3.0, 0.2)
    x[0, RATE] = 0.9
    out = np.concatenate(list(loudness.limited(rechunk([x], 10_007), RATE, -6.0)), axis=1)
    loud = np.abs(x[0]) > 0.05
    gain = np.where(loud, out[0] / np.where(loud, x[0], 1), np.nan)
    assert np.nanmax(np.abs(np.diff(gain))) < 0.01
    assert np.array_equal(out[0, : RATE - 1000], x[0, : RATE - 1000]) and np.array_equal(out[0, -RATE:], x[0, -RATE:])
    assert np.nanmin(gain[RATE : RATE + 2000]) < 0.65 < 0.999 < gain[-10_000:][loud[-10_000:]].min()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_signal_that_is_no_number_has_no_level(bad):
    x = tone()
    x[0, 500] = bad
    with pytest.raises(ValueError, match="NaN"):
        loudness.measure([x], RATE, 1)


@pytest.mark.parametrize("length", [29_000, 31_000])
def test_spectra_of_streams_that_differ_in_length_are_refused(length):
    x, y = np.zeros((1, 30_000), np.float32), np.zeros((1, length), np.float32)
    with pytest.raises(ValueError, match="samples"):
        list(stft.process([[x], [y]], 30_000, 512, 128, lambda a, b: a + b))


def test_nothing_gives_nothing():
    assert list(stft.process([[]], 0, 512, 128, lambda a: a)) == []
