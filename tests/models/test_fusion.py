"""The fusion network: torch and NumPy agree, it begins as the mean, rates and levels do not matter, other files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import fusion
from audiorestorer.models.fusion import FusionConfig
from audiorestorer.models.fusion_net import FusionNet, save_checkpoint
from tests.tiny_models import write_tiny_mask_unet

CONFIG = FusionConfig(
    sources=("a", "b"), n_fft=512, hop_length=128, bands=8, band_width=8, band_hidden=8, rnn_hidden=8, rnn_layers=1
)


def network(seed: int = 0) -> FusionNet:
    torch.manual_seed(seed)
    return FusionNet(CONFIG).eval()


def signals(rows: int, length: int, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((rows, 3, length)).astype(np.float32)


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_the_file_without_torch_equals_the_network_in_torch(tmp_path: Path, storage: str) -> None:
    net = network()
    with torch.no_grad():
        for layer in net.split.exits:
            layer.weight.mul_(30)  # weights that differ from bin to bin
    save_checkpoint(tmp_path / "f.safetensors", net, {"note": 1}, storage)
    config, run = fusion.load(tmp_path / "f.safetensors")
    x = signals(2, 9_999)
    with torch.inference_mode():
        wanted = net(torch.from_numpy(x))[:, 0].numpy()
    assert config == CONFIG
    assert np.abs(fusion.fused(config, run, x, 22_050) - wanted).max() < (1e-6 if storage == "float32" else 1e-4)


def test_before_its_training_it_is_nearly_the_mean() -> None:
    x = torch.from_numpy(signals(1, 20_000))
    with torch.inference_mode():
        out = network()(x)[0, 0]
    mean = x[0, 1:].mean(dim=0)
    assert (out - mean).square().mean() < 0.05 * mean.square().mean()


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_weights_of_one_half_are_the_mean_at_every_rate(rate: int) -> None:
    def halves(features: np.ndarray) -> np.ndarray:
        assert features.shape[1:3] == (6, 256) and np.isfinite(features).all()
        out = np.full((len(features), 3, *features.shape[2:]), 0.5, np.float32)
        out[:, 2] = 0  # of the mixture
        return out

    x = signals(2, rate // 2 + 7)
    np.testing.assert_allclose(fusion.fused(CONFIG, halves, x, rate), x[:, 1:].mean(axis=1), atol=1e-5)
    n_fft, hop = CONFIG.sizes_at(rate)
    assert n_fft == 4 * hop and abs(hop / rate - 128 / 22_050) < 1.01 / rate


def test_the_level_of_a_recording_does_not_matter_and_silence_stays(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "f.safetensors", network(3), {})
    config, run = fusion.load(tmp_path / "f.safetensors")
    x = signals(1, 8_000)
    plain, quiet = fusion.fused(config, run, x, 22_050), fusion.fused(config, run, 0.01 * x, 22_050)
    assert np.abs(100 * quiet - plain).max() < 1e-4 * np.abs(plain).max()
    assert not fusion.fused(config, run, 0 * x, 22_050).any()


def test_the_share_of_the_mean_draws_the_weights_to_it(tmp_path: Path) -> None:
    x = signals(1, 9_000)
    out = {}
    for share in (0.0, 0.25, 1.0):
        save_checkpoint(tmp_path / "f.safetensors", network(5), {}, "float32", share)
        out[share] = fusion.fused(*fusion.load(tmp_path / "f.safetensors"), x, 22_050)
    np.testing.assert_allclose(out[1.0], x[:, 1:].mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(out[0.25], 0.75 * out[0.0] + 0.25 * out[1.0], atol=1e-5)


def test_another_file_is_refused_with_its_reason(tmp_path: Path) -> None:
    write_tiny_mask_unet(tmp_path / "mask.safetensors")
    with pytest.raises(AudioRestorerError, match="mask.safetensors: not a fusion network"):
        fusion.load(tmp_path / "mask.safetensors")
    net = network()
    net.split.turns = torch.nn.ModuleList()
    save_checkpoint(tmp_path / "less.safetensors", net, {})
    with pytest.raises(AudioRestorerError, match="less.safetensors: weights do not fit the config: split.turns.0"):
        fusion.load(tmp_path / "less.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": 0}, "bands: 0"),
        ({"bands": 10**9}, "bands"),
        ({"sources": ()}, "sources"),
        ({"sources": (1, 2)}, "sources"),
        ({"hop_length": 384}, "multiple of 2 hop_length"),
        ({"rnn_hidden": 1.5}, "rnn_hidden"),
        ({"mean_share": float("nan")}, "mean_share"),
    ],
)
def test_shapes_out_of_bounds(change: dict, message: str) -> None:
    with pytest.raises(AudioRestorerError, match=message):
        FusionConfig(**{"sources": ("a", "b"), **change})
