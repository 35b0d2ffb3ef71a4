import math

import numpy as np
import pystoi
import pytest

from audiorestorer.dsp import stft
from audiorestorer.metrics import Missing, signal
from audiorestorer.metrics.intelligibility import intelligibility
from audiorestorer.metrics.music import blind_music_to_speech

RNG = np.random.default_rng(0)
RATE = 16_000


def sums_of(y, s):
    sums = signal.Sums()
    half = s.shape[1] // 2
    sums.add(y[:, :half], s[:, :half])
    sums.add(y[:, half:], s[:, half:])
    return sums


def pair():
    s = RNG.normal(0, 0.1, (1, RATE)).astype(np.float32)
    n = RNG.normal(0, 0.1, (1, RATE)).astype(np.float32)
    n -= (n * s).sum() / (s * s).sum() * s
    return s, n * np.sqrt((s * s).sum() / (n * n).sum())


@pytest.mark.parametrize("snr", [-10, 0, 10, 30])
@pytest.mark.parametrize("gain", [0.001, 1, 100])
def test_si_sdr_of_orthogonal_noise_is_the_snr_at_any_gain(snr, gain):
    s, n = pair()
    y = gain * (s + n * 10 ** (-snr / 20))
    assert signal.si_sdr(sums_of(y, s)) == pytest.approx(snr, abs=0.01)


def test_si_sdr_edges():
    s, n = pair()
    assert signal.si_sdr(sums_of(s, s)) == signal.MAX_DB
    assert signal.si_sdr(sums_of(n, s)) < -40
    for y, r in ((s, 0 * s), (0 * s, s)):
        with pytest.raises(Missing, match="silent"):
            signal.si_sdr(sums_of(y, r))
    with pytest.raises(ValueError, match="shape"):
        signal.Sums().add(s, s[:, :5])


# By hand: s(x; k, x0) = 1 / (1 + exp(-k (x - x0)))
@pytest.mark.parametrize(
    ("si", "lsd", "r", "want"),
    [
        (1, 1, 1, 40.0),  # both logistic terms at one half, nothing for the residual: 100 (0.225 + 0.175)
        (1, 1, 0, 60.0),
        (1, 1, 1.5, 40.0),
        (0, 0, 1, 100 * (0.45 / (1 + math.exp(0.5)) + 0.35 / (1 + math.exp(0.8)))),
        (5, 1, 0.5, 100 * (0.45 / (1 + math.exp(-2)) + 0.175 + 0.1)),
        (1000, 1000, 0, 100.0),
        (-1000, -1000, 2, 0.0),
    ],
)
def test_composite(si, lsd, r, want):
    assert signal.composite(si, lsd, r) == pytest.approx(want, abs=1e-9)


def test_residual_ratio_ignores_gain_and_is_clipped():
    s, n = pair()
    noisy = sums_of(s + n, s)
    assert signal.residual_ratio(sums_of(3 * s, s), noisy) == pytest.approx(0, abs=1e-6)
    assert signal.residual_ratio(sums_of(-s, s), noisy) == signal.RESIDUAL_LIMIT


def lsd(y, s):
    sums = sums_of(y, s)
    metric = signal.LogSpectralDistance(signal.floor_power(sums, s.size, float((stft.hann(512) ** 2).sum())))
    for a, b in stft.analyse([iter([y]), iter([s])], s.shape[1], 512, 128):
        metric.add(a, b)
    return metric.value()


def test_lsd_of_a_gain_is_the_gain_and_of_itself_zero():
    s, n = pair()
    assert lsd(s, s) == 0
    assert lsd(2 * s, s) == pytest.approx(20 * math.log10(2), abs=0.1)
    assert lsd(s + n, s) < lsd(s + 3 * n, s)


def speech_in_pauses(seconds=6):
    t = np.arange(int(seconds * RATE)) / RATE
    gate = (np.sin(2 * np.pi * 0.8 * t) > -0.2).astype(np.float32)
    return (RNG.normal(0, 0.1, (1, len(t))) * gate).astype(np.float32), gate


@pytest.mark.parametrize("ratio", range(-30, 11, 5))
def test_music_to_speech_with_reference_is_the_true_ratio(ratio):
    s, gate = speech_in_pauses()
    m = RNG.normal(0, 1, s.shape).astype(np.float32)
    active = gate > 0
    m *= np.sqrt((s[0, active] ** 2).mean() / (m[0, active] ** 2).mean()) * 10 ** (ratio / 20)
    y = s + m
    sums = sums_of(y, s)
    metric = signal.MusicToSpeech(sums.ys / sums.ss)
    for a, b in stft.analyse([iter([y]), iter([s])], s.shape[1], 2048, 512):
        metric.add(a, b)
    assert metric.value() == pytest.approx(ratio, abs=1.5)


def test_blind_ratio_rises_with_the_music():
    s, _ = speech_in_pauses(12)
    values = []
    for ratio in (-30, -20, -10, 0):
        y = s + RNG.normal(0, 0.1 * 10 ** (ratio / 20), s.shape)
        values.append(blind_music_to_speech((y[0, : len(y[0]) // 512 * 512].reshape(-1, 512) ** 2).mean(axis=1)))
    assert values == sorted(values) and values[1] == pytest.approx(-20, abs=3)
    with pytest.raises(Missing, match="silent"):
        blind_music_to_speech(np.zeros(100))
    with pytest.raises(Missing, match="shorter"):
        blind_music_to_speech(np.ones(5))


def test_stoi_falls_with_noise_and_says_why_it_is_missing():
    s, _ = speech_in_pauses(4)
    n = RNG.normal(0, 0.1, s.shape).astype(np.float32)
    values = [intelligibility((s + k * n)[0], s[0], RATE) for k in (0, 0.3, 1, 3)]
    assert values[0] == pytest.approx((1, 1), abs=1e-4)
    for column in zip(*values, strict=True):
        assert list(column) == sorted(column, reverse=True)
    with pytest.raises(Missing, match="shorter"):
        intelligibility(s[0, :4000], s[0, :4000], RATE)
    short = np.zeros(RATE, np.float32)
    short[:2000] = s[0, :2000]
    with pytest.raises(Missing, match="30 frames"):
        intelligibility(short, short, RATE)


@pytest.mark.parametrize("rate", [10_000, 16_000, 22_050])
def test_stoi_and_estoi_are_what_pystoi_says(rate: int):
    envelope = np.repeat(RNG.random(60), rate // 10)
    speech = (0.1 * envelope * RNG.normal(0, 1, len(envelope))).astype(np.float32)
    speech[rate : 2 * rate] = 0
    heard = speech + RNG.normal(0, 0.05, len(speech)).astype(np.float32)
    wanted = [pystoi.stoi(speech, heard, rate, extended=extended) for extended in (False, True)]
    assert 0.1 < wanted[1] < wanted[0] < 0.99
    assert intelligibility(heard, speech, rate) == pytest.approx(wanted, abs=1e-6)


def test_nan_is_no_residual():
    """An output of NaN must not come out as a residual of 0 (perfect) or 1.5 (a number)."""
    clean, noisy = np.ones((1, 8), np.float32), np.full((1, 8), 1.5, np.float32)
    sums = {}
    for name, signal_ in (("noisy", noisy), ("broken", np.full((1, 8), np.nan, np.float32))):
        sums[name] = signal.Sums()
        sums[name].add(signal_, clean)
    assert math.isnan(signal.residual_ratio(sums["broken"], sums["noisy"]))
