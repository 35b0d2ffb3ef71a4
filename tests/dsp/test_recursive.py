"""Recursive filters in blocks are those of scipy, whatever the blocks; the running maximum is scipy's too."""

import numpy as np
import pytest
from scipy import ndimage, signal

from audiorestorer.dsp.loudness import k_weighting, running_maximum
from audiorestorer.dsp.recursive import BLOCK, Sections


@pytest.mark.parametrize("rate", [8_000, 48_000, 384_000])
@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, 3 * BLOCK + 7, 100_000])
def test_equals_scipy_in_blocks_of_any_size(rate: int, size: int) -> None:
    sections = k_weighting(rate)
    x = np.random.default_rng(0).standard_normal((2, 700 if size < BLOCK else 20_000)) + 3.0
    own = Sections(sections, 2)
    out = np.concatenate([own(x[:, begin : begin + size]) for begin in range(0, x.shape[1], size)], axis=1)
    np.testing.assert_allclose(out, signal.sosfilt(sections, x, axis=1), atol=1e-8)


def test_butterworth_sections_of_a_steep_filter() -> None:
    sections = signal.butter(8, 100, "highpass", fs=48_000, output="sos")
    x = np.random.default_rng(1).standard_normal((1, 50_000))
    np.testing.assert_allclose(Sections(sections, 1)(x), signal.sosfilt(sections, x), atol=1e-7)


@pytest.mark.parametrize("size", [1, 2, 3, 17, 64, 481])
def test_running_maximum(size: int) -> None:
    x = np.random.default_rng(2).standard_normal(1000)
    wanted = ndimage.maximum_filter1d(x, size, origin=0)[size // 2 : 1000 - (size - 1) // 2]
    np.testing.assert_array_equal(running_maximum(x, size), wanted)
