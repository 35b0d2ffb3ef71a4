"""The training of the extension network: examples, resumption, and that it learns a band from another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import yaml

from audiorestorer.datasets.bank import AudioBank
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import extension
from audiorestorer.training.extension import ExtensionExamples, ExtensionSettings, fit, load_settings

RATE = 16_000
SIZES = {"bands": 6, "band_width": 8, "band_hidden": 4, "rnn_hidden": 8, "rnn_layers": 1}
NETWORK = {"sample_rate": RATE, "n_fft": 256, "hop_length": 64, **SIZES}


def experiment(folder: Path, **changes: object) -> ExtensionSettings:
    values = {
        "name": "tiny", "steps": 6, "steps_per_epoch": 3, "batch_size": 2, "segment_sec": 0.4, "workers": 0, "accelerator": "cpu",
        "precision": "32-true", "limit_hz": [3000.0, 5000.0], "network": NETWORK, **changes,
    }  # fmt: skip
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_settings(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two voices whose band above 4 kHz is noise that is 20 dB below the band under it, syllable by syllable."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(6):
        time = np.arange(3 * RATE) / RATE
        gate = 0.5 + 0.5 * np.sin(2 * np.pi * (2 + number % 2) * time)
        spectrum = np.fft.rfft(rng.standard_normal(len(time)))
        spectrum[np.fft.rfftfreq(len(time), 1 / RATE) > 3000] *= 0.1
        signal = 0.2 * gate * np.fft.irfft(spectrum, len(time))
        sf.write(folder / f"{number}.flac", np.clip(signal, -1, 1), RATE)
        rows.append({"path": f"{number}.flac", "kind": "speech", "label": f"voice{number % 2}", "split": "train"})
    (folder / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_an_example_lacks_what_lies_above_its_limit_and_is_aligned(data: Path, tmp_path: Path) -> None:
    settings = experiment(tmp_path, noise=0.0)
    examples = ExtensionExamples(AudioBank(data, None, RATE, "train"), settings)
    assert examples.names == ["voice0", "voice1"] and len(examples) == 6
    for index in range(6):
        one, again = examples[index], examples[index]
        assert all(np.array_equal(one[name], again[name]) for name in one)
        given, target = np.fft.rfft(one["given"]), np.fft.rfft(one["target"])
        frequency = np.fft.rfftfreq(len(one["given"]), 1 / RATE)
        below, above = frequency < 2000, frequency > 1.5 * 5000
        assert np.sum(np.abs(given - target)[below] ** 2) < 0.01 * np.sum(np.abs(target[below]) ** 2)
        assert np.sum(np.abs(given[above]) ** 2) < 0.05 * np.sum(np.abs(target[above]) ** 2)
        assert np.sqrt(np.mean(one["target"] ** 2)) == pytest.approx(1, abs=1e-3) and 2500 < one["limit"] <= 6500
    examples.epoch = 1
    assert not np.array_equal(examples[0]["target"], one["target"])


def test_resumed_equals_uninterrupted_byte_for_byte(data: Path, tmp_path: Path) -> None:
    settings = experiment(tmp_path)
    whole, resumed = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    fit(settings, data, whole, tmp_path / "work_a", 1)
    assert fit(settings, data, resumed, tmp_path / "work_b", 1, stop_after=1) is None and not resumed.exists()
    fit(settings, data, resumed, tmp_path / "work_b", 1)
    assert whole.read_bytes() == resumed.read_bytes()


def test_it_learns_how_loud_the_missing_band_is(data: Path, tmp_path: Path) -> None:
    settings = experiment(tmp_path, steps=60, steps_per_epoch=30, batch_size=4, learning_rate=0.02, storage="int8")
    fit(settings, data, tmp_path / "m.safetensors", tmp_path / "work", 1)
    config, network = extension.load(tmp_path / "m.safetensors")
    example = ExtensionExamples(AudioBank(data, None, RATE, "train"), settings)[1]
    limit = np.array([float(example["limit"])])
    made = extension.made_above(config, network, example["given"][None], limit, [0], [0], gain=1.0)[0]
    frequency = np.fft.rfftfreq(len(made), 1 / RATE)
    above = frequency > 1.2 * limit[0]
    got, wanted = (np.sum(np.abs(np.fft.rfft(signal))[above] ** 2) for signal in (made, example["target"]))
    assert abs(10 * np.log10(got / wanted)) < 4  # it begins 12 dB too quiet


def test_the_committed_experiment_is_valid() -> None:
    path = Path(__file__).parents[2] / "config/experiments/pilot_extension.yaml"
    assert load_settings(path).config == extension.ExtensionConfig()


def test_wrong_experiments_and_data_are_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match="loss 'nothing'"):
        experiment(tmp_path, losses={"nothing": 1.0})
    with pytest.raises(AudioRestorerError, match="bend"):
        experiment(tmp_path, bend=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioRestorerError, match=r"index\.jsonl"):
        fit(experiment(tmp_path), tmp_path / "empty", tmp_path / "m.safetensors", tmp_path / "work", 1)
