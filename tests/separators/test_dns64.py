"""kind: dns64: segments with context against the whole file, normalisation of the whole file, alignment, safe loading."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from audiorestorer.errors import AudioRestorerError
from audiorestorer.separators import ModelFiles, Options, load
from audiorestorer.separators.streaming import How, Recording, at_network_rate, estimates
from tests.tiny_models import write_model_json, write_tiny_dns64

TOLERANCE = 1e-4  # segments against the whole file, relative to its peak; measured 1e-6 with random weights


def ready(folder: Path, path: Path):
    return load(ModelFiles.read(write_model_json(folder / "m.json", "m", "dns64", [path])), Options())


@pytest.fixture
def denoiser():
    return pytest.importorskip("denoiser.demucs", reason="the denoiser package (CC-BY-NC) is not installed")


@pytest.mark.parametrize("serialised", [False, True])
@pytest.mark.parametrize("seconds", [0.1, 1.0, 14.03])
def test_segments_equal_the_whole_file(tmp_path: Path, denoiser, serialised: bool, seconds: float) -> None:
    model = write_tiny_dns64(tmp_path / "d.th", serialised)
    network = ready(tmp_path, tmp_path / "d.th")
    length = int(seconds * 16_000)
    audio = np.random.default_rng(0).standard_normal((2, length)).astype(np.float32)
    audio *= np.linspace(0.01, 1.0, length, dtype=np.float32)  # a segment's own deviation differs from the file's
    with torch.inference_mode():
        expected = model(torch.from_numpy(audio)[:, None])[:, 0].numpy()
    parts = at_network_rate(network, lambda: iter([audio]), length, 2, How(segment_sec=3.0, batch_size=2))
    out = np.concatenate(list(parts), axis=1)
    assert out.shape == audio.shape
    assert np.abs(out - expected).max() < TOLERANCE * np.abs(expected).max()


def test_resampled_output_is_aligned_and_as_long(tmp_path: Path, denoiser) -> None:
    write_tiny_dns64(tmp_path / "d.th")
    network = ready(tmp_path, tmp_path / "d.th")
    network.network.forward = lambda x: x
    rate, length = 44_100, 60_001
    audio = np.random.default_rng(0).standard_normal((1, length)).astype(np.float32)
    recording = Recording(lambda: iter([audio]), rate, 1, length)
    out = np.concatenate([block["vocals"] for block in estimates(network, recording, How())], axis=1)
    assert out.shape == audio.shape
    spectrum = np.fft.rfft(out[0], 2 * length) * np.conj(np.fft.rfft(audio[0], 2 * length))
    assert int(np.argmax(np.fft.irfft(spectrum))) == 0


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, denoiser) -> None:
    torch.save({"weights": Path("x")}, tmp_path / "d.th")
    with pytest.raises(AudioRestorerError, match="could run code"):
        ready(tmp_path, tmp_path / "d.th")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "d.th")
    with pytest.raises(AudioRestorerError, match="not a checkpoint of the denoiser"):
        ready(tmp_path, tmp_path / "d.th")


def test_missing_package_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "denoiser.demucs", None)
    (tmp_path / "d.th").write_bytes(b"x")
    with pytest.raises(AudioRestorerError, match="CC-BY-NC.*pilot_denoiser"):
        ready(tmp_path, tmp_path / "d.th")
