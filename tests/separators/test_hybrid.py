"""The hybrid networks' core by itself: OpenVINO and bfloat16 against demucs' own forward, on tiny networks in the real classes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from audiorestorer.errors import AudioRestorerError
from audiorestorer.separators import ModelFiles, Options, hybrid, load
from audiorestorer.separators.runtime import compiled
from tests import tiny_models as tiny
from tests.separators.test_demucs import noise, ours, theirs

BOTH = ("vocals", "accompaniment")
NETWORKS = [tiny.tiny_htdemucs, tiny.tiny_hdemucs]


def ready(folder: Path, model, cache: Path | None = None, **options):
    """Converted models are kept for all tests, or in `cache`."""
    files = tiny.write_bag(folder, "m", [model])
    found = ModelFiles.read(tiny.write_model_json(folder / "m.json", "m", "demucs", files))
    return load(found, Options(stems=BOTH, cache=cache or folder.parent / "compiled", **options))


def snr_db(made: np.ndarray, wanted: np.ndarray) -> float:
    return float(10 * np.log10((wanted**2).sum() / ((made - wanted) ** 2).sum()))


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(
    ("backend", "precision", "least_db"),
    [("openvino", "float32", 100), ("openvino", "bfloat16", 35), ("torch", "bfloat16", 35)],
)
def test_equals_demucs_within_the_precision(tmp_path, make, backend, precision, least_db):
    """Windows that fill whole segments (others are padded for HDemucs): 60 dB are asked for in float32, 35 dB in bfloat16."""
    model = make()
    audio = noise(int(float(model.segment) * model.samplerate))
    expected = theirs(model, audio, overlap=0)
    out = ours(ready(tmp_path, model, backend=backend, precision=precision), audio, overlap=0)
    assert snr_db(out[:2], expected[3]) > least_db
    assert snr_db(out[2:], expected[:3].sum(axis=0)) > least_db


@pytest.mark.parametrize("length", [1000, 14_001])
def test_any_length_is_exact_for_htdemucs(tmp_path, length):
    """demucs pads every window of it to the training length: so do we."""
    model = tiny.tiny_htdemucs()
    out = ours(ready(tmp_path, model, backend="openvino", batch_size=3), noise(length))
    assert snr_db(out[:2], theirs(model, noise(length))[3]) > 100


def test_a_second_load_converts_nothing(tmp_path, caplog):
    model, cache = tiny.tiny_htdemucs(), tmp_path / "compiled"
    first = ours(ready(tmp_path, model, backend="openvino"), noise(9000))
    shutil.copytree(tmp_path.parent / "compiled", cache)
    files = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert {path.suffix for path in files} == {".xml", ".bin"}
    again = ours(ready(tmp_path, model, cache, backend="openvino"), noise(9000))
    assert np.array_equal(first, again)
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == files
    for path in cache.glob("*.bin"):  # half of it lost: made again
        path.unlink()
    assert np.array_equal(first, ours(ready(tmp_path, model, cache, backend="openvino"), noise(9000)))
    assert len(list(cache.glob("*.bin"))) == 1


def test_the_network_is_left_as_it_was(tmp_path):
    model = tiny.tiny_hdemucs()
    audio = torch.from_numpy(noise(8000))[None]
    with torch.inference_mode():
        before = model(audio)
        core = hybrid.SpectralCore(model, [[0.0, 0, 0, 1]])
        core(model._magnitude(model._spec(audio)), audio)
        assert torch.equal(model(audio), before)
    assert not {"_spec", "_ispec", "_mask", "_magnitude"} & set(vars(model))


def test_window_lengths_are_few():
    model = tiny.tiny_hdemucs()  # segments of one second
    model.segment = 44
    rate = model.samplerate
    lengths = {hybrid.window_length(model, length) for length in range(1, 44 * rate, 997)}
    assert len(lengths) <= len(compiled.LENGTHS_SEC) and max(lengths) == 44 * rate
    assert all(hybrid.window_length(model, length) >= length for length in range(1, 44 * rate, 997))
    assert hybrid.window_length(model, 10 * rate) == 10 * rate


def test_auto_is_what_the_machine_has(tmp_path, monkeypatch):
    model, settings = tiny.tiny_htdemucs(), []
    original = compiled.Compiled.__init__

    def spy(self, *arguments):
        original(self, *arguments)
        settings.append(self.settings)

    monkeypatch.setattr(compiled.Compiled, "__init__", spy)
    for has, hint in ((True, "bf16"), (False, "f32")):
        monkeypatch.setattr("audiorestorer.separators.runtime.compiled.has_bfloat16", lambda has=has: has)
        network = ready(tmp_path, model, backend="auto", precision="auto")
        ours(network, noise(6000))
        assert settings[-1]["INFERENCE_PRECISION_HINT"] == hint


def test_what_cannot_be_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("audiorestorer.separators.demucs.is_supported", lambda network: False)
    for options in ({"backend": "openvino"}, {"precision": "bfloat16"}):
        with pytest.raises(AudioRestorerError, match="is for hybrid networks"):
            ready(tmp_path, tiny.tiny_htdemucs(), **options)
    assert not ready(tmp_path, tiny.tiny_htdemucs(), backend="auto", precision="auto").network.fast


def test_a_short_window_of_hdemucs_stays_close(tmp_path):
    """Zeros fill it up to the compiled length; demucs would run it short. Random weights; the same network, the same audio."""
    model = tiny.tiny_hdemucs()
    made = ours(ready(tmp_path, model, backend="openvino"), noise(14_001))
    assert snr_db(made[:2], theirs(model, noise(14_001))[3]) > 25
