"""The classical repair takes clicks out of speech, and leaves what is not damaged."""

import numpy as np
import pytest

from audiorestorer.dsp.click_repair import Repair, repair, repair_blocks
from tests.clean_speech import LEVEL, clean_speech
from tests.dsp.test_click_detection import RATE, clicked


def error_db(output: np.ndarray, clean: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(np.square(clean, dtype=float)) / np.sum(np.square(output - clean, dtype=float))))


@pytest.mark.parametrize("rate", [2.0, 20.0])
def test_clicks_are_taken_out(rate: float) -> None:
    clean, noisy, drawn = clicked(rate, recordings=2)
    out = repair(noisy, RATE)
    assert out.shape == noisy.shape and out.dtype == np.float32
    assert error_db(out, clean) > error_db(noisy, clean) + 8
    damaged = np.zeros(clean.shape[1], bool)
    for start in drawn.starts:
        damaged[start - 100 : start + 400] = True
    untouched = np.abs(out - noisy)[0, ~damaged]
    assert np.mean(untouched > 0) < 0.01


def test_clean_speech_stays() -> None:
    clean = clean_speech(RATE, 2)
    assert error_db(repair(clean, RATE), clean) > 35


def test_the_usual_threshold_alone_eats_speech() -> None:
    """Why the neighbour condition is there."""
    clean = clean_speech(16_000, 1)
    alone = repair(clean, 16_000, Repair(threshold=3.0, neighbour_ratio=0.0))
    assert error_db(alone, clean) < 15 < error_db(repair(clean, 16_000), clean)


def test_streamed_like_in_one_piece_and_stereo_kept() -> None:
    _, noisy, _ = clicked(10.0, recordings=1)
    stereo = np.concatenate([noisy, 0.5 * noisy])
    whole = np.concatenate(list(repair_blocks([stereo], RATE, LEVEL)), axis=1)
    parts = [stereo[:, k : k + 5_000] for k in range(0, stereo.shape[1], 5_000)]
    assert np.array_equal(np.concatenate(list(repair_blocks(parts, RATE, LEVEL)), axis=1), whole)
    assert whole.shape == stereo.shape


def test_nothing_at_all() -> None:
    assert repair(np.zeros((2, 0), np.float32), RATE).shape == (2, 0)
    assert not repair(np.zeros((1, 5000), np.float32), RATE).any()
