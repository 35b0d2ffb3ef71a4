import numpy as np
import pytest

from audiorestorer.audio import rechunk
from audiorestorer.dsp import stft
from audiorestorer.dsp.masks import fuse_max, fuse_mean, ratio_mask
from audiorestorer.dsp.wiener import apply_floor, beta_wiener

RNG = np.random.default_rng(0)


def noise(channels=1, length=30_001, scale=0.1):
    return RNG.normal(0, scale, (channels, length)).astype(np.float32)


def whole(*args):
    return np.concatenate(list(stft.process(*args)), axis=1)


@pytest.mark.parametrize(("n_fft", "hop"), [(2048, 512), (512, 256), (1024, 128)])
@pytest.mark.parametrize("length", [1, 100, 2048, 30_001])
def test_unchanged_spectra_give_the_signal_back(n_fft, hop, length):
    x = noise(2, length)
    y = whole([iter([x])], length, n_fft, hop, lambda s: s)
    assert y.shape == x.shape and np.abs(x - y).max() < 1e-6


def test_block_size_does_not_change_a_bit():
    x, y = noise(), noise()

    def halve(a, b):
        return a * ratio_mask(b, a)

    results = [whole([rechunk([x], n), rechunk([y], n + 1)], x.shape[1], 512, 128, halve) for n in (7919, 500, 100_000)]
    assert all(np.array_equal(results[0], other) for other in results[1:])


def test_a_tone_lies_in_its_bin():
    rate, n_fft = 16_000, 1024
    x = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)[None].astype(np.float32)
    spectra = np.concatenate([s[0] for s in stft.analyse([iter([x])], rate, n_fft, 256)], axis=1)
    assert np.abs(spectra[0, 20:-20]).mean(axis=0).argmax() == 1000 * n_fft // rate


def spectra(scale=1.0):
    def one():
        return (scale * (RNG.normal(size=(1, 40, 257)) + 1j * RNG.normal(size=(1, 40, 257)))).astype(np.complex64)

    return one(), one()


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1, 1e6])
@pytest.mark.parametrize("beta", [0.5, 1, 2, 8])
def test_masks_stay_in_bounds_at_any_level_and_two_shares_sum_to_one(scale, beta):
    v, a = spectra(scale)
    mask, rest = beta_wiener(v, v + a, beta), beta_wiener(a, v + a, beta)
    assert mask.min() >= 0 and mask.max() <= 1
    assert np.allclose(mask + rest, 1, atol=1e-4)


def test_ratio_mask_is_the_design_s_formula():
    v, a = spectra()
    want = np.abs(v) ** 2 / (np.abs(v) ** 2 + np.abs(a) ** 2)
    assert np.allclose(ratio_mask(v, a), want, atol=1e-5)


def test_power_one_gives_a_network_s_own_mask_back():
    x, _ = spectra()
    own = np.random.default_rng(3).random(x.shape).astype(np.float32)
    assert np.allclose(ratio_mask(own * x, (1 - own) * x, power=1.0), own, atol=1e-5)


def test_level_does_not_change_a_mask():
    v, a = spectra()
    for factor in (1e-3, 100):
        assert np.allclose(ratio_mask(v * factor, a * factor), ratio_mask(v, a), atol=1e-5)


def test_silence_gives_no_nan():
    zero = np.zeros((1, 3, 5), np.complex64)
    assert np.isfinite(ratio_mask(zero, zero)).all() and np.isfinite(beta_wiener(zero, zero, 1.0)).all()


def test_fusion_takes_the_larger_mask_and_the_floor_holds():
    a, b = np.array([0.1, 0.9], np.float32), np.array([0.5, 0.2], np.float32)
    assert fuse_max([a, b]).tolist() == pytest.approx([0.5, 0.9])
    assert fuse_mean(iter([a, b, b])).tolist() == pytest.approx(((a + 2 * b) / 3).tolist())
    assert apply_floor(np.array([0.0, 0.5], np.float32), 0.1).tolist() == pytest.approx([0.1, 0.5])
