"""What a mask network's levels are taken over: frames in which something is heard, and no click."""

import numpy as np
import pytest
import torch

from audiorestorer.models import activity
from audiorestorer.models.activity import LEAST_SHARE, frame_weights, unclicked
from audiorestorer.models.mask_arrays import speech_and_mask
from audiorestorer.models.mask_config import MaskUNetConfig
from audiorestorer.models.mask_unet import MaskUNet
from audiorestorer.separators.runtime.torch_masks import of_model

RATE, N_FFT, HOP = 22_050, 1536, 384
FRAMES = (N_FFT, HOP, RATE)


def noise(seconds: float, level_db: float, seed: int = 0) -> np.ndarray:
    white = np.random.default_rng(seed).standard_normal((1, int(seconds * RATE))) * 10 ** (level_db / 20)
    return white.astype(np.float32)


def lone(begin: float, end: float, level_db: float = -20.0) -> np.ndarray:
    audio = noise(6.0, -61.0)
    audio[:, int(begin * RATE) : int(end * RATE)] += noise(6.0, level_db, 1)[:, int(begin * RATE) : int(end * RATE)]
    return audio


def test_a_window_full_of_sound_or_silent_is_not_weighted() -> None:
    assert frame_weights(noise(6.0, -20.0), *FRAMES) is None
    assert frame_weights(np.zeros((1, RATE), np.float32), *FRAMES) is None
    assert frame_weights(lone(0.5, 5.5), *FRAMES) is None


@pytest.mark.parametrize("offset", [0.0, 0.3])
@pytest.mark.parametrize("length", [0.2, 0.4, 1.0])
def test_what_is_heard_has_its_share(length: float, offset: float) -> None:
    weights = frame_weights(lone(2.0, 2.0 + length) + np.float32(offset), *FRAMES)
    assert weights is not None
    assert weights.shape[1] == 6 * RATE // HOP + 2  # the frames of the spectrum
    assert weights.mean() == pytest.approx(1.0, abs=1e-4)
    inside = slice(int(1.9 * RATE / HOP), int((2.1 + length) * RATE / HOP) + 1)
    heard = weights[:, inside][weights[:, inside] > 1]
    assert heard.sum() / weights.shape[1] == pytest.approx(LEAST_SHARE, abs=1e-3)
    assert (weights > 1).sum() == len(heard)  # nothing else is heard


def test_clicks_are_not_heard_and_are_limited() -> None:
    audio = noise(6.0, -50.0)
    clicked = audio.copy()
    for second in range(6):
        clicked[:, second * RATE + 999 : second * RATE + 1060] = 0.9
    clicked[:, 5000] = 17_579.0
    assert frame_weights(clicked, *FRAMES) is None
    kept = unclicked(clicked, *FRAMES)
    assert np.abs(kept).max() < 10 ** ((-50 + 31) / 20)
    assert np.array_equal(kept[:, 2000:4000], audio[:, 2000:4000])
    assert unclicked(audio, *FRAMES) is audio


def test_activity_changes_nothing_in_full_windows_and_each_item_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    shape = {"frequency_fold": 2, "channels": (4, 8), "time_strides": (1, 2), "rnn_hidden": 8}
    config = MaskUNetConfig(n_fft=512, hop_length=128, **shape)
    network = of_model(MaskUNet(config))
    full, sparse = noise(2.0, -20.0), lone(0.5, 0.7)[:, : 2 * RATE]
    masks = [speech_and_mask(config, network, audio)[1] for audio in (full, sparse)]
    both = speech_and_mask(config, network, np.concatenate([full, sparse]))[0]
    for row, item in zip(both, (full, sparse), strict=True):
        np.testing.assert_allclose(row, speech_and_mask(config, network, item)[0][0], atol=1e-5)
    quiet = speech_and_mask(config, network, sparse * np.float32(1e-3))[0] * 1e3
    np.testing.assert_allclose(quiet, both[1:], atol=1e-4)
    for length in (1, 100, 128, 777):
        assert speech_and_mask(config, network, full[:, :length])[0].shape == (1, length)
    monkeypatch.setattr(activity, "frame_weights", lambda *_: None)
    without = [speech_and_mask(config, network, audio)[1] for audio in (full, sparse)]
    assert np.array_equal(masks[0], without[0]) and not np.allclose(masks[1], without[1], atol=1e-4)
