"""Small denoisers, of random weights and of known masks, and a folder of recordings: for the stages that run one checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.models.mask_config import MaskUNetConfig

if TYPE_CHECKING:
    from audiorestorer.models.mask_unet import MaskUNet

RATE = 8000
SMALL = MaskUNetConfig(
    sample_rate=RATE, n_fft=256, hop_length=64, frequency_fold=2, channels=(4,), time_strides=(2,), rnn_hidden=8
)


def write_recordings(
    folder: Path, files: dict[str, tuple[int, tuple[int, ...], str | None]], level: float, rate: int
) -> None:
    """Noise of a level in files of (rate, shape, subtype), and three that are bad: no audio, empty, not finite."""
    rng = np.random.default_rng(0)
    for name, (own, shape, subtype) in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, level * rng.standard_normal(shape).clip(-4, 4), own, subtype=subtype)
    (folder / "bad.wav").write_bytes(b"RIFF")
    sf.write(folder / "empty.wav", np.zeros(0), rate)
    sf.write(folder / "nan.wav", np.full(rate, np.nan), rate, subtype="FLOAT")


def with_mask(bias: float, config: MaskUNetConfig = SMALL) -> MaskUNet:
    """A network whose mask is sigmoid(bias), of `mask_limit`, everywhere: 40 lets all pass, -40 nothing."""
    import torch

    from audiorestorer.models.mask_unet import MaskUNet

    model = MaskUNet(config).eval()
    torch.nn.init.zeros_(model.head.weight)
    torch.nn.init.constant_(model.head.bias, bias)  # type: ignore[arg-type]
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from audiorestorer.models.mask_unet import MaskUNet, save_checkpoint

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_checkpoint(path, MaskUNet(SMALL), "denoise", {})
    return path
