"""What a mask network's levels are taken over: frames in which something is heard, and no click."""

import pytest
import torch

from audiorestorer.models.activity import LEAST_SHARE, frame_weights, unclicked
from audiorestorer.models.mask_unet import MaskUNet, MaskUNetConfig

RATE, N_FFT, HOP = 22_050, 1536, 384
FRAMES = (N_FFT, HOP, RATE)


def noise(seconds: float, level_db: float, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, int(seconds * RATE), generator=torch.Generator().manual_seed(seed)) * 10 ** (level_db / 20)


def lone(begin: float, end: float, level_db: float = -20.0) -> torch.Tensor:
    audio = noise(6.0, -61.0)
    audio[:, int(begin * RATE) : int(end * RATE)] += noise(6.0, level_db, 1)[:, int(begin * RATE) : int(end * RATE)]
    return audio


def test_a_window_full_of_sound_or_silent_is_not_weighted() -> None:
    assert frame_weights(noise(6.0, -20.0), *FRAMES) is None
    assert frame_weights(torch.zeros(1, RATE), *FRAMES) is None
    assert frame_weights(lone(0.5, 5.5), *FRAMES) is None


@pytest.mark.parametrize("offset", [0.0, 0.3])
@pytest.mark.parametrize("length", [0.2, 0.4, 1.0])
def test_what_is_heard_has_its_share(length: float, offset: float) -> None:
    weights = frame_weights(lone(2.0, 2.0 + length) + offset, *FRAMES)
    assert weights is not None
    assert weights.shape[1] == 6 * RATE // HOP + 2  # the frames of the spectrum
    assert weights.mean() == pytest.approx(1.0, abs=1e-4)
    inside = slice(int(1.9 * RATE / HOP), int((2.1 + length) * RATE / HOP) + 1)
    heard = weights[:, inside][weights[:, inside] > 1]
    assert heard.sum() / weights.shape[1] == pytest.approx(LEAST_SHARE, abs=1e-3)
    assert (weights > 1).sum() == len(heard)  # nothing else is heard


def test_clicks_are_not_heard_and_are_limited() -> None:
    audio = noise(6.0, -50.0)
    clicked = audio.clone()
    for second in range(6):
        clicked[:, second * RATE + 999 : second * RATE + 1060] = 0.9
    clicked[:, 5000] = 17_579.0
    assert frame_weights(clicked, *FRAMES) is None
    kept = unclicked(clicked, *FRAMES)
    assert kept.abs().max() < 10 ** ((-50 + 31) / 20)
    assert torch.equal(kept[:, 2000:4000], audio[:, 2000:4000])
    assert unclicked(audio, *FRAMES).equal(audio)


def test_by_activity_changes_nothing_in_full_windows_and_each_item_stands_alone() -> None:
    torch.manual_seed(0)
    shape = {"frequency_fold": 2, "channels": (4, 8), "time_strides": (1, 2), "rnn_hidden": 8}
    model = MaskUNet(MaskUNetConfig(n_fft=512, hop_length=128, **shape)).eval()
    full, sparse = noise(2.0, -20.0)[:, None], lone(0.5, 0.7)[:, None, : 2 * RATE]
    with torch.no_grad():
        masks = [[model.speech_and_mask(x, by_activity=by)[1] for by in (False, True)] for x in (full, sparse)]
        assert torch.equal(*masks[0])
        assert not torch.allclose(*masks[1], atol=1e-4)
        both = model.speech_and_mask(torch.cat([full, sparse]), by_activity=True)[0]
        for row, item in zip(both, (full, sparse), strict=True):
            torch.testing.assert_close(row, model.speech_and_mask(item, by_activity=True)[0][0], atol=1e-5, rtol=0)
        quiet = model.speech_and_mask(sparse * 1e-3, by_activity=True)[0] * 1e3
        torch.testing.assert_close(quiet, both[1:], atol=1e-4, rtol=0)
        for length in (1, 100, 128, 777):
            assert model.speech_and_mask(full[..., :length], by_activity=True)[0].shape[-1] == length
