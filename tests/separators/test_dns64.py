"""kind: dns64: segments with context against the whole file, normalisation of the whole file, alignment, safe loading."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from audiorestorer import audio as audio_files
from audiorestorer.config import DenoiseSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.separators import ModelFiles, Options, load
from audiorestorer.separators.runtime.streaming import Recording, at_network_rate, estimates
from audiorestorer.stages import denoise
from audiorestorer.stages.job import Job
from audiorestorer.store import sha256_file
from tests.tiny_models import write_model_json, write_tiny_dns64

TOLERANCE = 1e-4  # segments against the whole file, relative to its peak; measured 1e-6 with random weights


def ready(folder: Path, path: Path, **options):
    model = ModelFiles.read(write_model_json(folder / "m.json", "m", "dns64", [path]))
    return load(model, Options(cache=folder.parent / "compiled", **options))  # converted once for all tests


@pytest.fixture
def denoiser():
    return pytest.importorskip("denoiser.demucs", reason="the denoiser package (CC-BY-NC) is not installed")


FAST = {"backend": "openvino"}
BF16 = {"precision": "bfloat16"}


@pytest.mark.parametrize(
    ("options", "tolerance", "serialised", "seconds"),
    [
        ({}, TOLERANCE, False, 0.1),
        ({}, TOLERANCE, True, 1.0),
        ({}, TOLERANCE, False, 9.03),
        (FAST, TOLERANCE, False, 0.1),  # filled up to one second: its end is its end
        pytest.param(FAST, TOLERANCE, True, 6.2, marks=pytest.mark.slow),
        ({**FAST, **BF16}, 0.03, False, 1.0),
        (BF16, 0.03, False, 6.2),
    ],
)
def test_segments_equal_the_whole_file(
    tmp_path: Path, denoiser, serialised: bool, seconds: float, options: dict[str, str], tolerance: float
) -> None:
    model = write_tiny_dns64(tmp_path / "d.th", serialised)
    network = ready(tmp_path, tmp_path / "d.th", **options)
    length = int(seconds * 16_000)
    audio = np.random.default_rng(0).standard_normal((2, length)).astype(np.float32)
    audio *= np.linspace(0.01, 1.0, length, dtype=np.float32)  # a segment's own deviation differs from the file's
    with torch.inference_mode():
        expected = model(torch.from_numpy(audio)[:, None])[:, 0].numpy()
    parts = at_network_rate(replace(network, segment_sec=3.0, rows=2), lambda: iter([audio]), length, 2)
    out = np.concatenate(list(parts), axis=1)
    assert out.shape == audio.shape
    assert np.abs(out - expected).max() < tolerance * np.abs(expected).max()


def test_the_windows_of_a_gpu_equal_the_whole_file(tmp_path: Path, denoiser) -> None:
    """What a GPU runs (torch, windows filled up to few lengths), on the CPU device."""
    model = write_tiny_dns64(tmp_path / "d.th")
    network = ready(tmp_path, tmp_path / "d.th")
    network.network.shared = True
    audio = np.random.default_rng(0).standard_normal((1, 21_345)).astype(np.float32)
    with torch.inference_mode():
        expected = model(torch.from_numpy(audio)[None])[0].numpy()
    out = np.concatenate(list(at_network_rate(network, lambda: iter([audio]), 21_345, 1)), axis=1)
    assert network.network.padded(21_345) == 32_000
    assert np.abs(out - expected).max() < TOLERANCE * np.abs(expected).max()


def test_recordings_share_passes_and_company_changes_no_byte(tmp_path: Path, denoiser) -> None:
    """As after a kill: some items are there already, the others go through in other company."""
    write_tiny_dns64(tmp_path / "d.th")
    model, rows = write_model_json(tmp_path / "m.json", "m", "dns64", [tmp_path / "d.th"]), []
    for number, seconds in enumerate((0.7, 1.5, 1.2, 1.4, 0.9)):
        wave = np.random.default_rng(number).standard_normal((1 + number % 2, int(seconds * 16_000))) * 0.1
        path = tmp_path / f"{number}.wav"
        audio_files.write(path, wave.astype(np.float32), 16_000)
        rows.append(Item(id=str(number), noisy=str(path), path=str(path), sha256=sha256_file(path), duration=seconds))
    config = DenoiseSettings(model="m", backend="openvino", precision="float32", batch_size=4)

    def run(store: str, chosen: list[Item]) -> dict[str, str | None]:
        write_manifest(tmp_path / "in.jsonl", chosen)
        denoise.run(
            tmp_path / "in.jsonl",
            tmp_path / "out.jsonl",
            config,
            Job(tmp_path.with_name(f"{tmp_path.name}_{store}")),
            model,
        )
        return {item.id: item.sha256 for item in read_manifest(tmp_path / "out.jsonl")}

    whole = run("a", rows)  # what is converted lies beside the stores, and is that of the other tests
    assert len(set(whole.values())) == len(rows)
    run("b", [rows[1], rows[4]])
    assert run("b", rows) == whole


def test_resampled_output_is_aligned_and_as_long(tmp_path: Path, denoiser) -> None:
    write_tiny_dns64(tmp_path / "d.th")
    network = ready(tmp_path, tmp_path / "d.th")
    network.network.network.forward = lambda x: x
    rate, length = 44_100, 60_001
    audio = np.random.default_rng(0).standard_normal((1, length)).astype(np.float32)
    recording = Recording(lambda: iter([audio]), rate, 1, length)
    out = np.concatenate([block["vocals"] for block in estimates(network, recording)], axis=1)
    assert out.shape == audio.shape
    spectrum = np.fft.rfft(out[0], 2 * length) * np.conj(np.fft.rfft(audio[0], 2 * length))
    assert int(np.argmax(np.fft.irfft(spectrum))) == 0


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, denoiser) -> None:
    torch.save({"weights": Path("x")}, tmp_path / "d.th")
    with pytest.raises(AudioRestorerError, match="could run any code"):
        ready(tmp_path, tmp_path / "d.th")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "d.th")
    with pytest.raises(AudioRestorerError, match="not a checkpoint of the denoiser"):
        ready(tmp_path, tmp_path / "d.th")


def test_missing_package_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "denoiser.demucs", None)
    (tmp_path / "d.th").write_bytes(b"x")
    with pytest.raises(AudioRestorerError, match="CC-BY-NC.*pilot_denoiser"):
        ready(tmp_path, tmp_path / "d.th")
