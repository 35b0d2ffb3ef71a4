"""The committed pilot models: small, readable, and better than nothing on the committed pilot batch (voices and genres unseen)."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
import torch

from audiorestorer.losses.waveform import si_sdr_db
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint

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
                audio, rate = sf.read(path, dtype="float32", always_2d=True)
                signals.append(torch.from_numpy(soxr.resample(audio.mean(axis=1), rate, 22050).astype(np.float32)))
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
