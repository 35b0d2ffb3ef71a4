"""A network over bands that begins with the weights of another one separates at once, though its frames are others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from audiorestorer.audio import read_mono
from audiorestorer.errors import AudioRestorerError
from audiorestorer.losses.waveform import si_sdr_db
from audiorestorer.models.mask_unet import load_checkpoint
from scripts.release.begin_with_bands import begun

ROOT = Path(__file__).parents[2]


def test_it_separates_before_it_is_trained() -> None:
    """Frames of 20 ms in place of 46: the pilot's first clip gains, and by more than half of what the other network gains."""
    other, _ = load_checkpoint(ROOT / "models/pilot/pilot_sep_b.safetensors")
    torch.manual_seed(0)
    config = replace(other.config, sample_rate=24_000, n_fft=480, hop_length=240, taps=5)
    network = begun(other, config)
    name = "seed_42_run1/text_batched_generated"
    files = [next((ROOT / "data/pilot" / side).glob(f"{name}.*")) for side in ("input", "clean")]
    gains = {}
    for which, model in (("other", other), ("begun", network)):
        rate = model.config.sample_rate
        mixture, clean = (_at(path, rate) for path in files)
        with torch.no_grad():
            speech = model(mixture)
        gains[which] = float(si_sdr_db(speech, clean) - si_sdr_db(mixture, clean))
    assert gains["begun"] > gains["other"] / 2 > 1


def _at(path: Path, rate: int) -> torch.Tensor:
    return torch.from_numpy(read_mono(path, rate))[None, None]


def test_other_bands_are_refused() -> None:
    other, _ = load_checkpoint(ROOT / "models/pilot/pilot_sep_b.safetensors")
    with pytest.raises(AudioRestorerError, match="differ in bands"):
        begun(other, replace(other.config, bands=20))
