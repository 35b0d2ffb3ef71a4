"""Models are recovered, errors are white, gaps are filled with the least error."""

import numpy as np
import pytest
from scipy import signal

from audiorestorer.dsp.autoregression import MAX_GAP, Frames, fill, fit, prediction_error

FRAMES = Frames(1024, 256, 2)


def process(length: int = 20_000) -> np.ndarray:
    """AR(2) with poles at radius 0.95."""
    return signal.lfilter([1], [1, -1.6, 0.9025], np.random.default_rng(0).standard_normal(length))


def test_the_model_of_a_process_is_found() -> None:
    filters = fit(process(), FRAMES)
    assert filters.shape == (-(-20_000 // 256), 3)
    assert np.median(filters, axis=0) == pytest.approx([1, -1.6, 0.9025], abs=0.03)


def test_the_error_is_white_and_of_the_innovation() -> None:
    x = process()
    error = prediction_error(x, fit(x, FRAMES), 256)
    assert error.shape == x.shape and error.std() == pytest.approx(1, abs=0.03)
    assert abs(np.corrcoef(error[1:], error[:-1])[0, 1]) < 0.05


def test_gaps_of_predictable_signals_are_filled() -> None:
    time = np.arange(4000)
    x = np.sin(0.1 * time) + 0.5 * np.sin(0.37 * time + 1)
    frames = Frames(1024, 256, 16)
    unknown = np.zeros(len(x), bool)
    for start in (0, 500, 510, 1700, 3980):
        unknown[start : start + 6] = True
    damaged = np.where(unknown, 9.0, x)
    filled = fill(damaged, unknown, fit(x, frames), 256)
    assert np.array_equal(filled[~unknown], x[~unknown])
    inner = unknown & (time > 100) & (time < 3900)
    assert np.abs(filled - x)[inner].max() < 0.02


def test_long_gaps_stay() -> None:
    x, unknown = process(3000), np.zeros(3000, bool)
    unknown[500 : 500 + MAX_GAP + 1] = True
    assert np.array_equal(fill(x, unknown, fit(x, FRAMES), 256), x)


@pytest.mark.parametrize("x", [np.zeros(100), np.ones(3000), np.zeros(0)])
def test_degenerate_signals(x: np.ndarray) -> None:
    if len(x):
        filters = fit(x, FRAMES)
        assert np.isfinite(filters).all() and np.isfinite(prediction_error(x, filters, 256)).all()
