"""The mask network keeps length, level and silence; its checkpoints round-trip and refuse what does not fit."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.mask_config import MaskUNetConfig
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint, save_checkpoint

SMALL = MaskUNetConfig(n_fft=128, hop_length=32, frequency_fold=2, channels=(4, 8), time_strides=(1, 2), rnn_hidden=8)
BANDS = MaskUNetConfig(
    n_fft=128, hop_length=32, frequency_fold=1, channels=(), time_strides=(), bottleneck="lstm", rnn_hidden=6,
    bands=7, band_width=8, band_hidden=4,
)  # fmt: skip


TAPS = replace(BANDS, taps=5)


@pytest.fixture(params=[SMALL, BANDS, TAPS], ids=["unet", "bands", "taps"])
def model(request: pytest.FixtureRequest) -> MaskUNet:
    torch.manual_seed(0)
    return MaskUNet(request.param).eval()


@pytest.mark.parametrize("length", [1, 31, 32, 1000, 4097])
def test_keeps_the_length(model: MaskUNet, length: int) -> None:
    with torch.no_grad():
        out = model(torch.randn(2, 1, length))
    assert out.shape == (2, 1, length)
    assert out.isfinite().all()


@pytest.mark.parametrize("gain", [100.0, 0.001])
def test_level_invariant(model: MaskUNet, gain: float) -> None:
    mixture = 0.1 * torch.randn(1, 1, 3000)
    with torch.no_grad():
        assert torch.allclose(model(gain * mixture) / gain, model(mixture), atol=1e-5)


def test_silence_stays_silent_beside_a_loud_item(model: MaskUNet) -> None:
    mixture = torch.stack([torch.zeros(1, 2000), torch.randn(1, 2000)])
    with torch.no_grad():
        out = model(mixture)
        assert out[0].abs().max() == 0
        assert torch.allclose(out[1:], model(mixture[1:]), atol=1e-5)  # an item does not depend on its batch


def test_mask_range_and_shape() -> None:
    config = MaskUNetConfig(**{**SMALL.__dict__, "mask_floor": 0.2, "mask_limit": 0.9})
    model = MaskUNet(config).eval()
    with torch.no_grad():
        _, mask = model.speech_and_mask(torch.randn(2, 1, 3200))
    assert mask.shape == (2, 1, 65, 101)
    assert mask.min() >= 0.2 and mask.max() <= 0.9


def test_a_mask_of_one_is_the_identity(model: MaskUNet) -> None:
    for last in model.split.exits if model.config.bands else [model.head]:
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
        with torch.no_grad():
            last.bias[:: model.config.outputs] = 40.0  # sigmoid(40) is 1; the taps are 0
    mixture = torch.randn(1, 1, 2500)
    with torch.no_grad():
        assert torch.allclose(model(mixture), mixture, atol=1e-5)


class Core(torch.nn.Module):
    """What is exported: the network between STFT and inverse STFT."""

    def __init__(self, model: MaskUNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.model.network(features)


def test_the_core_traces(model: MaskUNet) -> None:
    with torch.no_grad():
        features = torch.randn(1, model.config.features, 65, 95)
        traced = torch.jit.trace(Core(model), features, check_trace=False)
        assert torch.allclose(traced(features), model.network(features), atol=1e-6)


def test_checkpoint_round_trip(model: MaskUNet, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, model, "denoise", {"steps": 3})
    again, metadata = load_checkpoint(path)
    mixture = torch.randn(1, 1, 3000)
    with torch.no_grad():
        assert torch.allclose(again(mixture), model(mixture), atol=5e-3)  # float16 weights
    assert metadata["task"] == "denoise" and metadata["sample_rate"] == 22050 and metadata["card"] == {"steps": 3}
    assert again.config == model.config and not again.training
    first = path.read_bytes()
    save_checkpoint(path, model, "denoise", {"steps": 3})
    assert path.read_bytes() == first
    assert not list(tmp_path.glob(".*"))


def test_int8_matrices_are_a_quarter_and_nearly_the_same(model: MaskUNet, tmp_path: Path) -> None:
    sizes = {}
    for storage in ("float32", "int8"):
        path = tmp_path / f"{storage}.safetensors"
        save_checkpoint(path, model, "denoise", {}, storage=storage)
        sizes[storage] = sum(value.numel() * value.element_size() for value in load_file(str(path)).values())
    packed, metadata = load_checkpoint(tmp_path / "int8.safetensors")
    assert metadata["format_version"] == 3
    for name, value in model.state_dict().items():
        steps = value.abs().amax(dim=1, keepdim=True) / 127 if value.ndim == 2 else value.abs() / 512
        assert ((packed.state_dict()[name] - value).abs() <= 0.6 * steps + 1e-6).all(), name
    mixture = torch.randn(1, 1, 3000)
    with torch.no_grad():
        wanted, found = model(mixture), packed(mixture)
    assert (found - wanted).square().mean() < 1e-4 * wanted.square().mean()  # 40 dB below the output
    state = [value for value in model.state_dict().values() if value.is_floating_point()]
    saved = sum(3 * value.numel() - 2 * value.shape[0] if value.ndim == 2 else 2 * value.numel() for value in state)
    assert sizes["int8"] == sizes["float32"] - saved


def test_refuses_scales_of_other_rows(model: MaskUNet, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, model, "separate", {}, storage="int8")
    state = load_file(str(path))
    name = next(name for name in state if name.endswith(".scale"))
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
    save_file({**state, name: state[name][:-1]}, str(path), metadata=metadata)
    with pytest.raises(AudioRestorerError, match="do not fit"):
        load_checkpoint(path)


def damaged(path: Path, **metadata: str) -> None:
    with safe_open(str(path), "pt") as file:
        kept = file.metadata()
    save_file(load_file(str(path)), str(path), metadata={**kept, **metadata})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "other"}, "architecture"),
        ({"format_version": "9"}, "format_version"),
        ({"task": "dance"}, "task"),
        ({"config": "{"}, "config"),
        ({"config": json.dumps({"colour": 1})}, "colour"),
        ({"config": json.dumps({"channels": [4, 8], "time_strides": [1, 2]})}, "do not fit"),
    ],
)
def test_refuses_wrong_metadata(model: MaskUNet, tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, model, "separate", {})
    damaged(path, **change)
    with pytest.raises(AudioRestorerError, match=message) as raised:
        load_checkpoint(path)
    assert str(path) in str(raised.value)


def test_refuses_other_files(tmp_path: Path) -> None:
    pickled = tmp_path / "m.safetensors"
    torch.save({"a": torch.zeros(1)}, pickled)
    for path in (pickled, tmp_path / "absent.safetensors"):
        with pytest.raises(AudioRestorerError, match="safetensors"):
            load_checkpoint(path)


def test_refuses_missing_weights(model: MaskUNet, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, model, "separate", {})
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
    state = load_file(str(path))
    lost = "split.exits.3.bias" if model.config.bands else "head.bias"
    state.pop(lost)
    save_file(state, str(path), metadata=metadata)
    with pytest.raises(AudioRestorerError, match=re.escape(lost)):
        load_checkpoint(path)


def test_refuses_impossible_shapes() -> None:
    with pytest.raises(AudioRestorerError, match="hop_length"):
        MaskUNetConfig(n_fft=512, hop_length=500)
    with pytest.raises(AudioRestorerError, match="one entry a level"):
        MaskUNetConfig(channels=(4,), time_strides=(1, 2))
