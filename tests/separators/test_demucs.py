"""kind: demucs: equal to demucs' own apply_model, runs only what is needed, and loads nothing that could run code."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from audiorestorer.errors import AudioRestorerError
from audiorestorer.separators import Loaded, ModelFiles, Options, load
from audiorestorer.separators.runtime.streaming import at_network_rate
from tests import tiny_models as tiny

BOTH = ("vocals", "accompaniment")


def ready(folder: Path, files: list[Path], stems=("vocals",), **more) -> Loaded:
    model = ModelFiles.read(tiny.write_model_json(folder / "m.json", "m", "demucs", files, **more))
    return load(model, Options(stems=stems))


def ours(loaded: Loaded, audio: np.ndarray, **passes) -> np.ndarray:
    def source():
        yield audio[:, :3000]
        yield audio[:, 3000:]

    parts = list(at_network_rate(loaded, source, audio.shape[1], audio.shape[0], **passes))
    return np.concatenate(parts, axis=1)


def theirs(model, audio: np.ndarray, **how) -> np.ndarray:
    """demucs.api's normalisation around apply_model: [sources, C, T]."""
    from demucs.apply import apply_model

    mix = torch.from_numpy(audio)
    mean, std = mix.mean(0).mean(), mix.mean(0).std() + 1e-8
    out = apply_model(model, ((mix - mean) / std)[None], shifts=0, split=True, **how)[0] * std + mean
    return out.numpy()


def noise(length: int, channels: int = 2) -> np.ndarray:
    return (np.random.default_rng(length).standard_normal((channels, length)) * 0.1 + 0.02).astype(np.float32)


@pytest.mark.parametrize("length", [1000, 6000, 14_001])
@pytest.mark.parametrize("make", [tiny.tiny_htdemucs, tiny.tiny_hdemucs])
def test_equals_apply_model(tmp_path: Path, make, length: int) -> None:
    model = make()
    network = ready(tmp_path, tiny.write_bag(tmp_path, "m", [model]), BOTH)
    expected = theirs(model, noise(length))
    out = ours(replace(network, rows=3), noise(length))
    assert out.shape == (4, length)
    np.testing.assert_allclose(out[:2], expected[3], atol=1e-5)
    np.testing.assert_allclose(out[2:], expected[:3].sum(axis=0), atol=2e-5)


@pytest.mark.parametrize("format", ["th", "safetensors"])
def test_weighted_bag_and_segment(tmp_path: Path, format: str) -> None:
    from demucs.apply import BagOfModels

    models = [tiny.tiny_htdemucs(seed) for seed in range(2)]
    weights = [[1.0, 0.5, 0.0, 2.0], [0.0, 1.0, 1.0, 1.0]]
    network = ready(tmp_path, tiny.write_bag(tmp_path, "m", models, weights, format=format), BOTH)
    audio = noise(9000)
    expected = theirs(BagOfModels(models, weights), audio, segment=0.5, overlap=0.1)
    out = ours(replace(network, segment_sec=0.5), audio, overlap=0.1)
    np.testing.assert_allclose(out[:2], expected[3], atol=1e-5)
    np.testing.assert_allclose(out[2:], expected[:3].sum(axis=0), atol=2e-5)
    with pytest.raises(AudioRestorerError, match="segment_sec: longer than it was trained on .* at most 0.75"):
        network.network.members(1.0)


def test_quantised_bag(tmp_path: Path) -> None:
    pytest.importorskip("diffq", reason="quantised bags need diffq")
    from demucs.pretrained import get_model

    files = tiny.write_tiny_hdemucs_bag(tmp_path, "m", quantised=True)
    audio = noise(10_000)
    expected = theirs(get_model("m", tmp_path), audio)
    np.testing.assert_allclose(ours(ready(tmp_path, files), audio), expected[3], atol=1e-5)


def test_only_the_vocals_member_runs(tmp_path: Path) -> None:
    files = tiny.write_tiny_htdemucs_bag(tmp_path)
    assert list(ready(tmp_path, files).network.networks) == [3]
    assert len(ready(tmp_path, files, BOTH).network.networks) == 4


def test_mono_is_the_mean_of_a_stereo_copy(tmp_path: Path) -> None:
    network = ready(tmp_path, tiny.write_bag(tmp_path, "m", [tiny.tiny_htdemucs()]))
    mono = noise(5000, 1)
    stereo = ours(network, np.repeat(mono, 2, axis=0))
    np.testing.assert_allclose(ours(network, mono), stereo.mean(axis=0, keepdims=True), atol=1e-6)


def test_shifts_are_seeded(tmp_path: Path) -> None:
    network = ready(tmp_path, tiny.write_bag(tmp_path, "m", [tiny.tiny_htdemucs()]))
    one, same, other = (ours(network, noise(7000), shifts=2, seed=seed) for seed in (1, 1, 2))
    assert one.shape == (2, 7000)
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0


def test_shift_is_demucs_arithmetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import random

    from demucs.apply import apply_model

    model = tiny.tiny_hdemucs()
    network = ready(tmp_path, tiny.write_bag(tmp_path, "m", [model]))
    network.network.normalise = "none"
    lead = int(np.random.default_rng(5).integers(0, 4001, 1)[0])
    monkeypatch.setattr(random, "randint", lambda low, high: high - lead)
    audio = noise(9000)
    expected = apply_model(model, torch.from_numpy(audio)[None], shifts=1)[0, 3].numpy()
    np.testing.assert_allclose(ours(network, audio, shifts=1, seed=5), expected, atol=1e-5)


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_malicious_pickle_is_refused(tmp_path: Path) -> None:
    files = tiny.write_bag(tmp_path, "m", [tiny.tiny_htdemucs()])
    torch.save({**tiny.package(tiny.tiny_htdemucs()), "extra": Malicious(tmp_path / "owned")}, files[1])
    with pytest.raises(AudioRestorerError, match="trust: true"):
        ready(tmp_path, files)
    assert not (tmp_path / "owned").exists()


def test_trust_needs_the_matching_hash(tmp_path: Path) -> None:
    import json

    files = tiny.write_bag(tmp_path, "m", [tiny.tiny_htdemucs()])
    torch.save({**tiny.package(tiny.tiny_htdemucs()), "extra": Path("x")}, files[1])
    path = tiny.write_model_json(tmp_path / "m.json", "m", "demucs", files, trust=True)
    load(ModelFiles.read(path), Options())
    record = json.loads(path.read_text())
    record["files"][1]["sha256"] = "0" * 64
    path.write_text(json.dumps(record))
    with pytest.raises(AudioRestorerError, match="sha256 is not the registry's"):
        load(ModelFiles.read(path), Options())


@pytest.mark.parametrize(
    "metadata", [{"klass": "os.system"}, {"structure": '{"_dict": [["a", {"_class": "subprocess.Popen"}]]}'}]
)
def test_bad_class_in_safetensors_is_refused(tmp_path: Path, metadata: dict[str, str]) -> None:
    files = tiny.write_bag(tmp_path, "m", [tiny.tiny_htdemucs()], format="safetensors")
    tiny.write_safetensors(files[1], tiny.tiny_htdemucs(), **metadata)
    with pytest.raises(AudioRestorerError, match="names the class"):
        ready(tmp_path, files)


def test_bad_bags_are_refused(tmp_path: Path) -> None:
    files = tiny.write_bag(tmp_path, "m", [tiny.tiny_htdemucs()])
    files[0].write_text("models: ['../../etc/passwd']")
    with pytest.raises(AudioRestorerError, match="plain signature"):
        ready(tmp_path, files)
    files[0].write_text("models: ['deadbeef']")
    with pytest.raises(AudioRestorerError, match="member deadbeef"):
        ready(tmp_path, files)
    files[1].write_bytes(b"not a package")
    files[0].write_text("models: ['000000a0']")
    with pytest.raises(AudioRestorerError, match="damaged"):
        ready(tmp_path, files)
