"""kind: mask_network: channels apart, the band above the network's Nyquist gets the gain of its top band."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiorestorer.errors import AudioRestorerError
from audiorestorer.separators import Loaded, ModelFiles, Options, Separator, load
from audiorestorer.separators.mask_network import top_gain
from audiorestorer.separators.runtime.streaming import Recording, estimates
from tests.tiny_models import write_model_json, write_tiny_mask_unet

RATE = 8000


def ready(folder: Path, **more):
    write_tiny_mask_unet(folder / "w.safetensors")
    return load(
        ModelFiles.read(write_model_json(folder / "m.json", "m", "mask_network", [folder / "w.safetensors"], **more)),
        Options(),
    )


def recording(audio: np.ndarray, rate: int) -> Recording:
    return Recording(lambda: iter([audio[:, :5000], audio[:, 5000:]]), rate, audio.shape[0], audio.shape[1])


def whole(loaded: Loaded, audio: np.ndarray, rate: int) -> dict[str, np.ndarray]:
    blocks = list(estimates(loaded, recording(audio, rate)))
    return {name: np.concatenate([block[name] for block in blocks], axis=1) for name in blocks[0]}


def test_a_mask_of_one_gives_the_input_back_in_full_band(tmp_path: Path) -> None:
    network = ready(tmp_path)
    network.network.network = lambda features: np.ones_like(features[:, 0])
    rate = 44_100
    audio = np.random.default_rng(0).standard_normal((2, 2 * rate)).astype(np.float32) * 0.1
    out = whole(network, audio, rate)
    error = np.abs(out["vocals"] + out["top_gain"] * out["high"] - audio)
    assert error[:, 32:-32].max() < 2e-3
    assert error.max() < 0.1  # the gain goes through a resampler, which sees zeros beyond the ends
    assert np.square(out["high"]).sum() > 0.4 * np.square(audio).sum()  # half of white noise lies above 11 kHz


def test_top_gain_follows_the_top_of_the_mask() -> None:
    mask = np.zeros((1, 257, 11), np.float32)
    mask[..., 170:250, 5:] = 1.0
    gain = top_gain(mask, 1300, 128)[0]
    assert gain.shape == (1300,)
    assert gain[:512].max() == 0 and gain[700:].min() > 0.85
    assert 0 < gain[576] < 1
    mask[..., :170, :] = 1.0  # below the top band: changes nothing
    np.testing.assert_array_equal(top_gain(mask, 1300, 128)[0], gain)


def test_channels_do_not_mix_and_low_rates_have_no_high_band(tmp_path: Path) -> None:
    network = ready(tmp_path)
    audio = np.random.default_rng(1).standard_normal((2, 20_001)).astype(np.float32) * 0.1
    out = whole(network, audio, 22_050)
    left = whole(network, audio[:1], 22_050)
    np.testing.assert_allclose(out["vocals"][:1], left["vocals"], atol=1e-5)
    assert out["vocals"].shape == audio.shape and not out["high"].any()
    short = whole(network, audio[:, :7001], 16_000)
    assert short["vocals"].shape == (2, 7001)


def test_wrong_rate_in_the_registry(tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match="the registry says 44100"):
        ready(tmp_path, sample_rate=44_100)


@pytest.mark.parametrize("kind", ["nothing", "hybrid", "enhancer", "word_gate", "../models/registry"])
def test_unknown_kind(tmp_path: Path, kind: str) -> None:
    """A module of the folder that has no `load` is no kind."""
    path = write_model_json(tmp_path / "m.json", "m", kind, [])
    with pytest.raises(
        AudioRestorerError,
        match=f"no audiorestorer/separators/{kind}.py .*kinds: bandit, deepfilternet, demucs, .*, mask_network, roformer",
    ):
        load(ModelFiles.read(path), Options())


class Counting(Separator):
    """One channel in, a tenth out; counts the windows that it is given."""

    sample_rate, channels, segment_sec = RATE, 1, 0.5

    def __init__(self) -> None:
        self.windows = 0

    def __call__(self, audio: np.ndarray) -> dict[str, np.ndarray]:
        self.windows += len(audio)
        return {"vocals": audio / 10}


def test_mono_and_mono_in_disguise_are_computed_once() -> None:
    mono = np.random.default_rng(0).standard_normal((1, RATE)).astype(np.float32)
    counts = []
    for audio in (mono, np.repeat(mono, 2, axis=0), np.concatenate([mono, -mono])):
        network = Counting()
        out = np.concatenate(
            [block["vocals"] for block in estimates(Loaded(network), recording(audio, RATE), overlap=0)], axis=1
        )
        np.testing.assert_allclose(out, audio / 10, atol=1e-6)
        counts.append(network.windows)
    assert counts == [2, 2, 4]
