"""The ONNX graph of a mask network is the network: as torch computes it, at any length and batch, from a checkpoint's arrays alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import arrays
from audiorestorer.models.mask_arrays import features, inverse, spectrum
from audiorestorer.models.mask_config import KINDS, MaskUNetConfig
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint, save_checkpoint
from audiorestorer.separators.mask_network import Checkpoint

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models/pilot"
SMALL = {"sample_rate": 8000, "n_fft": 128, "hop_length": 32, "rnn_hidden": 8}
UNET = {**SMALL, "frequency_fold": 2, "channels": (4, 8), "time_strides": (1, 2)}
PLAIN = {**SMALL, "frequency_fold": 1, "channels": (), "time_strides": ()}
SHAPES = {
    **{kind: {**UNET, "bottleneck": kind, "mask_floor": 0.01} for kind in KINDS},
    "frames": {**PLAIN, "bottleneck": "lstm"},
    "bands": {**PLAIN, "bottleneck": "lstm", "bands": 5, "band_width": 8, "band_hidden": 4, "mask_limit": 2.0},
    "taps": {**PLAIN, "bottleneck": "lstm", "bands": 5, "band_width": 8, "band_hidden": 4, "taps": 3},
}


def written(folder: Path, name: str) -> Path:
    """A checkpoint of random weights whose batch norms are not the identity."""
    torch.manual_seed(0)
    model = MaskUNet(MaskUNetConfig(**SHAPES[name])).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(2, 1, 4000))
    save_checkpoint(folder / "m.safetensors", model.eval(), "denoise", {}, storage="float32")
    return folder / "m.safetensors"


def difference_db(one: np.ndarray, other: np.ndarray) -> float:
    """RMS of the difference, relative to `other`'s."""
    return float(10 * np.log10(np.square(one - other, dtype=np.float64).mean() / np.square(other).mean() + 1e-30))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("length", [1, 33, 4001])
def test_the_graph_equals_torch(name: str, length: int, tmp_path: Path) -> None:
    checkpoint = Checkpoint(written(tmp_path, name))
    audio = np.random.default_rng(0).standard_normal((3, 1, length)).astype(np.float32)
    onnx, in_torch = (checkpoint.load("cpu", 1, torch=torch_)(audio) for torch_ in (False, True))
    for stem in ("vocals", "top_gain"):
        np.testing.assert_allclose(onnx[stem], in_torch[stem], atol=2e-5)
    assert onnx["vocals"].shape == audio.shape


@pytest.mark.parametrize("name", ["pilot_sep_a", "pilot_sep_b", "pilot_denoiser"])
def test_the_pilots_are_within_minus_80_db_of_torch(name: str) -> None:
    """int8 weights, 22.05 kHz, a window full of sound and one with a lone word."""
    checkpoint = Checkpoint(MODELS / f"{name}.safetensors")
    audio = np.random.default_rng(0).standard_normal((2, 1, 3 * 22_050)).astype(np.float32) * np.float32(0.1)
    audio[1, :, 8000:-50_000] *= 1e-3
    onnx, in_torch = (checkpoint.load("cpu", 1, torch=torch_)(audio) for torch_ in (False, True))
    assert difference_db(onnx["vocals"], in_torch["vocals"]) < -80
    assert np.abs(onnx["top_gain"] - in_torch["top_gain"]).max() < 1e-5  # a gain: of 1


def test_transforms_are_those_of_training() -> None:
    """Without weighted frames, NumPy's features and STFT are `MaskUNet`'s; the STFT's inverse gives the signal back."""
    model = MaskUNet(MaskUNetConfig(**UNET))
    audio = np.random.default_rng(0).standard_normal((2, 3001)).astype(np.float32)
    ours, theirs = spectrum(audio, 128, 32), model.spectrum(torch.from_numpy(audio))
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)
    np.testing.assert_allclose(features(np.abs(ours)), model.features(theirs.abs()).numpy(), atol=1e-4)
    np.testing.assert_allclose(inverse(ours, 128, 32, 3001), audio, atol=1e-5)
    silent = np.zeros((1, 65, 9), np.float32)
    np.testing.assert_allclose(features(silent), model.features(torch.from_numpy(silent)).numpy(), atol=1e-6)


@pytest.mark.parametrize("name", ["gru", "attention", "bands", "taps"])
@pytest.mark.parametrize("change", ["missing", "more", "shape", "type"])
def test_weights_that_do_not_fit_are_refused_as_by_torch(name: str, change: str, tmp_path: Path) -> None:
    path = written(tmp_path, name)
    state, (_, raw) = load_file(path), arrays.read(path)
    first = next(key for key in sorted(state) if state[key].ndim == 2)
    if change == "missing":
        del state[first]
    elif change == "more":
        state["more.weight"] = torch.zeros(3)
    else:
        state[first] = state[first][:, :-1].contiguous() if change == "shape" else state[first].to(torch.int32)
    save_file(state, path, metadata=raw)
    with pytest.raises(AudioRestorerError, match=r"m\.safetensors.*do not fit the config"):
        Checkpoint(path)
    if change != "type":
        with pytest.raises(AudioRestorerError, match=r"m\.safetensors.*do not fit the config"):
            load_checkpoint(path)


def test_no_torch_is_imported_on_a_cpu(tmp_path: Path) -> None:
    """From the record of a fetched model to a restored second."""
    record = {
        "name": "m", "kind": "mask_network", "source": "x", "digest": "d", "sample_rate": 22_050,
        "files": [{"path": str(MODELS / "pilot_denoiser.safetensors"), "sha256": ""}],
    }  # fmt: skip
    (tmp_path / "m.json").write_text(json.dumps(record))
    code = """
import sys
from pathlib import Path
import numpy as np
from audiorestorer.devices import pick_device
from audiorestorer.separators import ModelFiles, Options, load
device = pick_device("cpu", 1)
loaded = load(ModelFiles.read(Path(sys.argv[1])), Options(device=device, backend="auto"))
out = loaded.network(np.ones((1, 1, 22050), np.float32))
assert out["vocals"].shape == (1, 1, 22050)
print([name for name in ("torch", "scipy.signal", "pandas", "librosa") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.json")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
