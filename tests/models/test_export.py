"""ONNX export equals PyTorch at any length and batch; what differs or does not fit is refused and leaves no file."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import export
from audiorestorer.models.mask_config import KINDS, MaskUNetConfig
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint, save_checkpoint
from audiorestorer.models.onnx_run import session
from audiorestorer.stages.training import export_onnx, profile_infer, register_model
from audiorestorer.store import sha256_file

RATE = 8000


def network(bottleneck: str, levels: int = 2) -> MaskUNet:
    torch.manual_seed(0)
    return MaskUNet(
        MaskUNetConfig(
            sample_rate=RATE, n_fft=128, hop_length=32, frequency_fold=2, channels=(4, 8)[:levels], time_strides=(1, 2)[:levels],
            bottleneck=bottleneck, rnn_hidden=8, mask_floor=0.01,
        )
    ).eval()  # fmt: skip


def bands(taps: int = 0) -> MaskUNet:
    torch.manual_seed(0)
    return MaskUNet(
        MaskUNetConfig(
            sample_rate=RATE, n_fft=128, hop_length=32, frequency_fold=1, channels=(), time_strides=(), bottleneck="lstm",
            rnn_hidden=6, bands=5, band_width=8, band_hidden=4, taps=taps,
        )
    ).eval()  # fmt: skip


@pytest.mark.parametrize("model", [*(network(kind) for kind in KINDS), network("lstm", 0), bands(), bands(3)])
def test_equals_pytorch(model: MaskUNet) -> None:
    content = export.export(model, {"task": "denoise"}, 2000)
    assert export.difference(model, content, 3000) < export.TOLERANCE
    silent = np.zeros((2, 1, 777), np.float32)
    assert np.abs(session(content).run(None, {"mixture": silent})[0]).max() < 1e-6


@pytest.mark.parametrize("bottleneck", KINDS)
def test_bottlenecks_look_along_time_and_survive_a_round_trip(bottleneck: str, tmp_path: Path) -> None:
    model = network(bottleneck)
    save_checkpoint(tmp_path / "m.safetensors", model, "denoise", {}, storage="float32")
    mixture = torch.randn(1, 1, 4000, requires_grad=True)
    loaded = load_checkpoint(tmp_path / "m.safetensors")[0]
    with torch.no_grad():
        assert torch.equal(loaded(mixture), model(mixture))
    magnitude = model.spectrum(mixture[:, 0]).abs().detach().requires_grad_(True)
    features = torch.stack([magnitude, magnitude], dim=1)
    model.network(features)[:, :, :, 20].sum().backward()
    reach = magnitude.grad.abs().sum(dim=(0, 1)).nonzero().flatten()  # type: ignore[union-attr]
    assert (reach.max() - reach.min() > 60) == (bottleneck != "none")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, network("gru"), "denoise", {})
    return path


def test_the_stage_writes_metadata_and_refuses_what_does_not_fit(checkpoint: Path, tmp_path: Path) -> None:
    figures = export_onnx.run(checkpoint, tmp_path / "m.onnx", sr=RATE, length=RATE)
    found = {item.key: item.value for item in onnx.load(str(tmp_path / "m.onnx")).metadata_props}
    assert (
        found["sample_rate"] == str(RATE)
        and found["task"] == "denoise"
        and found["checkpoint_sha256"] == sha256_file(checkpoint)
    )
    assert json.loads(found["config"])["n_fft"] == 128
    assert json.loads((tmp_path / "m.json").read_text()) == figures and figures["max_difference"] < 1e-4
    for arguments, message in (({"sr": 44100}, "works at 8000 Hz"), ({"length": 3}, "at least one hop")):
        with pytest.raises(AudioRestorerError, match=message):
            export_onnx.run(checkpoint, tmp_path / "no.onnx", **arguments)
    (tmp_path / "e.yaml").write_text("network: {n_fft: 512}\n")
    with pytest.raises(AudioRestorerError, match="network: sample_rate"):
        export_onnx.run(checkpoint, tmp_path / "no.onnx", config=tmp_path / "e.yaml")
    checkpoint.write_bytes(b"no")
    with pytest.raises(AudioRestorerError, match="safetensors"):
        export_onnx.run(checkpoint, tmp_path / "no.onnx")
    assert not (tmp_path / "no.onnx").exists()


def test_a_difference_is_refused_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real check on a real difference: weights that change between export and comparison."""
    model = network("gru")
    honest = export.export

    def changed(*arguments):  # type: ignore[no-untyped-def]
        content = honest(*arguments)
        torch.nn.init.normal_(model.head.weight)
        return content

    monkeypatch.setattr(export, "export", changed)
    with pytest.raises(AudioRestorerError, match="differs from PyTorch by"):
        export.write_checked(tmp_path / "m.onnx", model, {}, 2000)
    assert not list(tmp_path.iterdir())


def test_flops_of_a_cell_by_hand() -> None:
    """A network of one bidirectional LSTM layer over whole frames: products of its three linear parts, by hand."""
    config = MaskUNetConfig(
        sample_rate=RATE,
        n_fft=128,
        hop_length=32,
        frequency_fold=1,
        channels=(),
        time_strides=(),
        bottleneck="lstm",
        rnn_hidden=8,
        rnn_layers=1,
    )
    frames = 4 * RATE // 32 + 1
    wide, width = 2 * 64, 16
    linear = 2 * (wide * width + 16 * width + width * wide)  # squeeze, the layer's projection, expand
    head = 2 * 2 * 64
    cell = 2 * (width + 8) * 4 * 8 * 2
    assert profile_infer.flops(MaskUNet(config).eval()) == pytest.approx(frames * (linear + head + cell) / 4)


@pytest.mark.parametrize(
    "backends", [("onnxruntime",), pytest.param(("torch", "onnxruntime", "abacus"), marks=pytest.mark.slow)], ids=len
)
def test_profile(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], backends: tuple[str, ...]
) -> None:
    """A process of its own for each backend: one is enough for every day."""
    result = profile_infer.run(
        checkpoint,
        tmp_path / "p.json",
        secs=0.5,
        runs=4,
        backends=backends,
        figure=tmp_path / "p.png",
    )
    assert json.loads((tmp_path / "p.json").read_text()) == result
    for backend in {"torch", "onnxruntime"} & {*backends}:
        row = result["backends"][backend]
        assert (
            0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
            and row["peak_rss_mb"] > 50
            and 0 < row["memory_mb"] < 300
        )
        assert row["real_time_factor"] == pytest.approx(row["p50_ms"] / 500, rel=0.05) and row["max_difference"] < 1e-4
    assert (tmp_path / "p.png").exists()
    if "abacus" in backends:
        assert "abacus" in result["backends"]["abacus"]["reason"] and "absent" in capsys.readouterr().out
    with pytest.raises(AudioRestorerError, match="--secs"):
        profile_infer.run(checkpoint, tmp_path / "q.json", secs=0)


def test_openvino_gives_the_same(checkpoint: Path) -> None:
    model = load_checkpoint(checkpoint)[0]
    content = export.export(model, {}, RATE)
    found = profile_infer.measure("openvino", str(checkpoint), content, "cpu", 1, 1.0, 2)
    assert found["max_difference"] < 1e-3 and found["p50_ms"] > 0


def test_a_trained_model_becomes_a_registry_entry(checkpoint: Path, tmp_path: Path) -> None:
    from audiorestorer.models import registry

    file = tmp_path / "reg" / "models.yaml"
    assert "denoise: {model: mine}" in register_model.run(checkpoint, "mine", file, "MIT")
    found = registry.load(file)
    assert found.local("mine").resolve() == checkpoint and found.get("mine").files[0].sha256 == sha256_file(checkpoint)
    with pytest.raises(AudioRestorerError, match="has a model 'mine' already"):
        register_model.run(checkpoint, "mine", file, "MIT")
    file.write_text(
        file.read_text()
        + "  # a comment that stays\n  other:\n    kind: mask_network\n"
        + "    task: denoise\n    source: x.safetensors\n    licence: MIT\n"
    )
    save_checkpoint(checkpoint, network("lstm"), "separate", {})
    assert "separators:" in register_model.run(checkpoint, "mine", file, "CC0", replace=True)
    again = registry.load(file)
    assert (
        set(again.models) == {"mine", "other"}
        and again.get("mine").task == "separate"
        and "a comment that stays" in file.read_text()
    )
    with pytest.raises(AudioRestorerError, match="letters"):
        register_model.run(checkpoint, "my model", file, "MIT")
