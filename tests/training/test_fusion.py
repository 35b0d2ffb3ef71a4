"""The fusion network's training: examples go on after a kill, a resumed run ends with the same bytes, and it learns whom to trust."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import fusion
from audiorestorer.models.fusion_net import load_checkpoint
from audiorestorer.training.fusion import fit, load_settings, make_examples
from tests.datasets.conftest import RATE, write_training_audio
from tests.tiny_models import write_model_json, write_tiny_mask_unet

NETWORK = {
    "sample_rate": RATE, "n_fft": 256, "hop_length": 64, "bands": 6, "band_width": 8, "band_hidden": 4, "rnn_hidden": 8,
    "rnn_layers": 1,
}  # fmt: skip
TINY: dict[str, Any] = {
    "name": "tiny", "seed": 5, "steps": 6, "steps_per_epoch": 2, "batch_size": 2, "precision": "32-true", "sources": ["a", "b"],
    "examples": 6, "warmup_steps": 2, "accelerator": "cpu", "network": NETWORK, "losses": {"l1": 1.0},
    "mixtures": {"segment_sec": 0.25},
}  # fmt: skip


def experiment(folder: Path, **changes: Any) -> Any:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return load_settings(path)


def sources(folder: Path) -> list[Path]:
    """Two tiny mask networks as fetched models."""
    for seed, name in enumerate("ab"):
        write_tiny_mask_unet(folder / f"{name}.safetensors", seed=seed)
    return [
        write_model_json(folder / f"{name}.json", name, "mask_network", [folder / f"{name}.safetensors"])
        for name in "ab"
    ]


def test_examples_go_on_and_two_processes_make_what_one_makes(tmp_path: Path) -> None:
    data, settings, models = write_training_audio(tmp_path / "audio"), experiment(tmp_path), sources(tmp_path)
    make_examples(settings, data, models, tmp_path / "one")
    files = sorted((tmp_path / "one").glob("*.npy"))
    assert len(files) == 6
    mixture, first, second, speech = np.load(files[0]).astype(np.float32)
    assert np.abs(mixture).max() == pytest.approx(0.7, abs=1e-3) and first.shape == speech.shape == (RATE // 4,)
    assert not np.allclose(first, second)
    for part in (0, 1):
        make_examples(settings, data, models, tmp_path / "two", part, 2)
    again = {path.name: path.read_bytes() for path in (tmp_path / "two").glob("*.npy")}
    assert again == {path.name: path.read_bytes() for path in files}
    (tmp_path / "two/000003.npy").unlink()
    stamp = (tmp_path / "two/000000.npy").stat().st_mtime_ns
    make_examples(settings, data, models, tmp_path / "two")
    assert (tmp_path / "two/000003.npy").read_bytes() == again["000003.npy"]
    assert (tmp_path / "two/000000.npy").stat().st_mtime_ns == stamp
    with pytest.raises(AudioRestorerError, match="the models are b, a; the experiment's sources are a, b"):
        make_examples(settings, data, models[::-1], tmp_path / "three")
    with pytest.raises(AudioRestorerError, match="two: holds examples of other settings, models or recordings"):
        make_examples(experiment(tmp_path, seed=6), data, models, tmp_path / "two")
    (tmp_path / "two/made_with.json").unlink()
    with pytest.raises(AudioRestorerError, match="nobody knows what its examples were made with"):
        make_examples(settings, data, models, tmp_path / "two")


def write_examples(folder: Path, count: int = 12) -> Path:
    """The first source is the speech with a little noise, the second noise alone."""
    folder.mkdir()
    (folder / "made_with.json").write_text('{"key": "by hand"}')
    for number in range(count):
        rng = np.random.default_rng(number)
        time = np.arange(RATE // 4) / RATE
        speech = 0.3 * np.sin(2 * np.pi * rng.uniform(200, 900) * time)
        noise = 0.2 * rng.standard_normal(len(time))
        np.save(
            folder / f"{number:06d}.npy",
            np.stack([speech + noise, speech + 0.05 * noise, noise, speech]).astype(np.float16),
        )
    return folder


def test_resumed_equals_uninterrupted_byte_for_byte(tmp_path: Path) -> None:
    folder, settings = write_examples(tmp_path / "examples"), experiment(tmp_path)
    whole, resumed = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    fit(settings, folder, whole, tmp_path / "work_a", 1)
    assert fit(settings, folder, resumed, tmp_path / "work_b", 1, stop_after=1) is None and not resumed.exists()
    fit(settings, folder, resumed, tmp_path / "work_b", 1)
    assert whole.read_bytes() == resumed.read_bytes()
    assert json.loads(whole.with_suffix(".json").read_text())["steps"] == 6


def test_it_learns_which_source_holds_the_speech(tmp_path: Path) -> None:
    folder = write_examples(tmp_path / "examples")
    settings = experiment(tmp_path, steps=60, steps_per_epoch=30, batch_size=4, learning_rate=0.02)
    fit(settings, folder, tmp_path / "m.safetensors", tmp_path / "work", 1)
    config, network = fusion.load(tmp_path / "m.safetensors")
    assert config.sources == ("a", "b")
    write_examples(tmp_path / "others", 20)
    mixture, good, bad, speech = np.load(tmp_path / "others/000019.npy").astype(np.float32)
    out = fusion.fused(config, network, np.stack([mixture, good, bad])[None], RATE)[0]
    error, mean = np.square(out - speech).mean(), np.square((good + bad) / 2 - speech).mean()
    assert error < mean / 10


def test_a_second_training_begins_with_the_weights_of_the_first(tmp_path: Path) -> None:
    """With a learning rate of nearly nothing the network stays what it was; of another shape it is refused; sources may be others."""
    folder, first, second = (
        write_examples(tmp_path / "examples"),
        tmp_path / "1.safetensors",
        tmp_path / "2.safetensors",
    )
    fit(experiment(tmp_path, storage="float32"), folder, first, tmp_path / "work", 1)
    begun = {"initial": str(first), "learning_rate": 1e-12, "storage": "float32", "sources": ["a", "c"]}
    fit(experiment(tmp_path, **begun), folder, second, tmp_path / "work", 1)
    before, after = (load_checkpoint(path).state_dict() for path in (first, second))
    assert fusion.load(second)[0].sources == ("a", "c")
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=1e-7, rtol=0)
    fit(
        experiment(tmp_path, **{**begun, "learning_rate": 0.1}),
        folder,
        tmp_path / "3.safetensors",
        tmp_path / "work",
        1,
    )
    far = load_checkpoint(tmp_path / "3.safetensors").state_dict()
    half = {**begun, "learning_rate": 0.1, "initial_share": 0.5}
    fit(experiment(tmp_path, **half), folder, tmp_path / "4.safetensors", tmp_path / "work", 1)
    between = load_checkpoint(tmp_path / "4.safetensors").state_dict()
    for name, value in before.items():
        torch.testing.assert_close(between[name], (value + far[name]) / 2, atol=1e-5, rtol=0)
    assert max(float((far[name] - value).abs().max()) for name, value in before.items()) > 0.1
    wrong = {**begun, "network": {**NETWORK, "bands": 5}}, {**begun, "sources": ["a"]}
    for changes in wrong:
        with pytest.raises(AudioRestorerError, match="1.safetensors: a fusion network of another shape"):
            fit(experiment(tmp_path, **changes), folder, tmp_path / "3.safetensors", tmp_path / "work", 1)


def test_wrong_experiments_are_named(tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match="loss 'nothing'"):
        experiment(tmp_path, losses={"nothing": 1.0})
    with pytest.raises(AudioRestorerError, match="sources"):
        experiment(tmp_path, sources=[])
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioRestorerError, match="has 0 examples: make them with"):
        fit(experiment(tmp_path), tmp_path / "empty", tmp_path / "m.safetensors", tmp_path / "work")
