"""Small denoisers, of random weights and of known masks, shared by the stages that run one checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from audiorestorer.models.mask_unet import MaskUNet, MaskUNetConfig, save_checkpoint

RATE = 8000
SMALL = MaskUNetConfig(
    sample_rate=RATE, n_fft=256, hop_length=64, frequency_fold=2, channels=(4,), time_strides=(2,), rnn_hidden=8
)


def with_mask(bias: float, config: MaskUNetConfig = SMALL) -> MaskUNet:
    """A network whose mask is sigmoid(bias), of `mask_limit`, everywhere: 40 lets all pass, -40 nothing."""
    model = MaskUNet(config).eval()
    torch.nn.init.zeros_(model.head.weight)
    torch.nn.init.constant_(model.head.bias, bias)  # type: ignore[arg-type]
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_checkpoint(path, MaskUNet(SMALL), "denoise", {})
    return path
