"""The committed pilot models: small, readable, and better than nothing on the committed pilot batch (voices and genres unseen)."""

import csv
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from audiorestorer import audio
from audiorestorer.losses.waveform import si_sdr_db
from audiorestorer.models import fetching, fusion, registry
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint
from audiorestorer.separators import Loaded, ModelFiles, Options, load
from audiorestorer.separators.mask_network import Checkpoint
from audiorestorer.separators.runtime.streaming import Recording, estimates, full_band
from audiorestorer.training.fusion_examples import estimated

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "models" / "pilot"
NAMES = {"pilot_sep_a": "separate", "pilot_sep_b": "separate", "pilot_denoiser": "denoise"}
LEAST_GAIN_DB = {"pilot_sep_a": 7.0, "pilot_sep_b": 6.0}  # median on data/pilot; measured figures: models/pilot/*.md
LEAST_CLEAN_DB = 20.0  # SI-SDR of pure speech after the network


@pytest.fixture(scope="module")
def pairs() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Mixture and clean speech `[T]` at 22.05 kHz."""
    pilot = ROOT / "data" / "pilot"
    found = []
    with (pilot / "transcripts.tsv").open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table, delimiter="\t"):
            both = (pilot / "input" / row["path"], (pilot / "clean" / row["path"]).with_suffix(".flac"))
            signals = []
            for path in both:
                signals.append(torch.from_numpy(audio.read_mono(path, 22050)))
            found.append((signals[0], signals[1]))
    return found


def through(network: MaskUNet, signal: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(signal[None, None])[0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_small_readable_and_described(name: str) -> None:
    path = MODELS / f"{name}.safetensors"
    assert path.stat().st_size <= 4_200_000
    network, metadata = load_checkpoint(path)
    assert metadata["task"] == NAMES[name] and network.config.sample_rate == 22050
    assert hashlib.sha256(path.read_bytes()).hexdigest() in (MODELS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", LEAST_GAIN_DB)
def test_separators_improve_the_pilot_batch(name: str, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    network, _ = load_checkpoint(MODELS / f"{name}.safetensors")
    gains = [float(si_sdr_db(through(network, x), y) - si_sdr_db(x, y)) for x, y in pairs]
    assert np.median(gains) >= LEAST_GAIN_DB[name]


@pytest.mark.parametrize("name", NAMES)
def test_pure_speech_is_nearly_untouched(name: str, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    network, _ = load_checkpoint(MODELS / f"{name}.safetensors")
    assert np.median([float(si_sdr_db(through(network, y), y)) for _, y in pairs[:6]]) >= LEAST_CLEAN_DB


def test_denoiser_removes_steady_noise(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    network, _ = load_checkpoint(MODELS / "pilot_denoiser.safetensors")
    noise = torch.randn(400_000, generator=torch.Generator().manual_seed(0))
    gains = []
    for _, clean in pairs[:6]:
        noisy = clean + noise[: len(clean)] * clean.square().mean().sqrt() * 10 ** (-10 / 20)
        gains.append(float(si_sdr_db(through(network, noisy), clean) - si_sdr_db(noisy, clean)))
    assert np.median(gains) >= 4.0


def lone_words(pairs: list[tuple[torch.Tensor, torch.Tensor]], length: int) -> Iterator[torch.Tensor]:
    """The loudest stretch of each clip, `length` samples, at -20 dBFS in six seconds of silence `[T]`."""
    for _, clean in pairs[::2]:
        power = torch.nn.functional.avg_pool1d(clean.square()[None, None], length, 441)[0, 0]
        begin = int(power.argmax()) * 441
        word = clean[begin : begin + length]
        scene = torch.zeros(6 * 22050)
        scene[66_150 : 66_150 + length] = word * 0.1 / word.square().mean().sqrt()
        yield scene


def loudest_db(signal: np.ndarray) -> float:
    """Level of the loudest 400 ms."""
    total = np.concatenate([[0.0], np.cumsum(np.square(signal, dtype=np.float64))])
    return float(10 * np.log10((total[8820:] - total[:-8820]).max() / 8820 + 1e-20))


def as_the_stages_do(name: str, signal: np.ndarray) -> np.ndarray:
    network = Checkpoint(MODELS / f"{name}.safetensors").load("cpu", 1)
    recording = Recording(lambda: iter([signal[None]]), 22050, 1, len(signal))
    blocks = estimates(Loaded(network), recording)
    return np.concatenate([full_band(block)[0] for block in blocks])


@pytest.mark.parametrize("hiss_db", [-90.0, -61.0])
@pytest.mark.parametrize("seconds", [0.2, 0.4])
def test_a_lone_word_is_kept(pairs: list[tuple[torch.Tensor, torch.Tensor]], seconds: float, hiss_db: float) -> None:
    hiss = np.random.default_rng(0).standard_normal(6 * 22050) * 10 ** (hiss_db / 20)
    for word in lone_words(pairs, int(seconds * 22050)):
        given = (word.numpy() + hiss).astype(np.float32)
        for name in ("pilot_sep_a", "pilot_denoiser"):
            assert loudest_db(as_the_stages_do(name, given)) > loudest_db(given) - 6, name


def test_one_huge_sample_leaves_the_speech_as_it_is(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    mixture = pairs[0][0].numpy()[: 5 * 22050].copy()
    control = as_the_stages_do("pilot_sep_a", mixture)
    mixture[2205] = 17_579.0
    found = as_the_stages_do("pilot_sep_a", mixture)
    rest = slice(22050 // 2, None)
    error = np.square(found[rest] - control[rest]).sum() / np.square(control[rest]).sum()
    assert 10 * np.log10(error) < -15


FUSED = {
    "pilot_fusion": ("pilot_sep_a", "pilot_sep_b", "deepfilternet3"),
    "pilot_fusion_own": ("pilot_sep_a", "pilot_sep_b"),
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[np.ndarray], np.ndarray]:
    """A recording `[T]` at 22.05 kHz to itself and the default separators' estimates, `[1 + n, T]`."""
    folder = tmp_path_factory.mktemp("models")
    names = FUSED["pilot_fusion"]
    for name in names:
        fetching.fetch(name, ROOT / "config/models.yaml", folder / f"{name}.json", folder)
    networks = [load(ModelFiles.read(folder / f"{name}.json"), Options()) for name in names]
    return lambda signal: estimated(networks, signal[None].astype(np.float32), 22050)


@pytest.fixture(scope="module")
def chain(alone: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    """A recording to the fused speech and the estimates of which it was made."""

    def run(signal: np.ndarray, model: str = "pilot_fusion") -> np.ndarray:
        config, network = fusion.load(MODELS / f"{model}.safetensors")
        assert config.sources == FUSED[model]
        rows = alone(signal)[: 1 + len(config.sources)]
        return np.concatenate([fusion.fused(config, network, rows[None], 22050), rows[1:]])

    return run


@pytest.mark.parametrize("name", FUSED)
def test_a_fusion_network_is_small_described_and_registered(name: str) -> None:
    path = MODELS / f"{name}.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = registry.load(ROOT / "config/models.yaml").get(name)
    assert path.stat().st_size <= 1_000_000 and tuple(entry.fuses) == FUSED[name] and entry.files[0].sha256 == digest
    assert digest in (MODELS / f"{name}.md").read_text(encoding="utf-8")


def test_fused_is_no_worse_than_the_better_of_the_two(
    chain: Callable[[np.ndarray], np.ndarray], pairs: list[tuple[torch.Tensor, torch.Tensor]]
) -> None:
    quality = [[float(si_sdr_db(torch.from_numpy(row), y)) for row in chain(x.numpy())] for x, y in pairs]
    fused, *alone = np.median(np.array(quality), axis=0)
    assert fused >= max(alone) - 0.1


def test_clean_speech_passes_the_default_chain(
    chain: Callable[[np.ndarray], np.ndarray], pairs: list[tuple[torch.Tensor, torch.Tensor]]
) -> None:
    quality = [float(si_sdr_db(torch.from_numpy(chain(y.numpy())[0]), y)) for _, y in pairs[:6]]
    assert np.median(quality) >= 25


def test_a_lone_word_is_kept_by_the_default_chain(
    chain: Callable[[np.ndarray], np.ndarray], pairs: list[tuple[torch.Tensor, torch.Tensor]]
) -> None:
    hiss = np.random.default_rng(0).standard_normal(6 * 22050) * 10 ** (-61 / 20)
    for word in lone_words(pairs, int(0.4 * 22050)):
        given = (word.numpy() + hiss).astype(np.float32)
        assert loudest_db(chain(given)[0]) > loudest_db(given) - 6
