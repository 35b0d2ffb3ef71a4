"""A data set and experiments that train in seconds: 8 kHz, small networks, generated voices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audiorestorer.datasets.enhancement import generated_folder as generated_enhancement
from tests.models.enhancer.test_enhancer import SMALL
from tests.training.trainings import train_enhancer

COMMON: dict[str, Any] = {
    "network": SMALL.model_dump(mode="json"), "seed": 5, "steps": 6, "steps_per_epoch": 2, "batch_size": 2, "warmup_steps": 2,
    "learning_rate": 1e-3, "start_rate": 1e-4, "valid_items": 3, "workers": 0, "accelerator": "cpu", "samples": {"items": 1},
}  # fmt: skip
SPEECH = {"segment_sec": 0.5, "rir_rate_hz": 44_100}
DENOISER = {**COMMON, "name": "tiny_denoiser", "data": SPEECH}
STAGE1 = {
    **COMMON, "lcfm_training_mode": "ae", "name": "tiny_stage1", "data": {"segment_sec": 0.4}, "vocoder_from": 2, "vocoder_items": 1,
    "vocoder_sec": 0.2, "gan_from": 3, "resolutions": [[128, 32, 128], [256, 64, 200]], "scale_items": 4,
    "discriminators": {
        "periods": [2, 3], "period_channels": [2, 4], "resolutions": [[128, 32, 128]], "resolution_channels": 2,
    },
}  # fmt: skip
STAGE2 = {**COMMON, "lcfm_training_mode": "cfm", "name": "tiny_stage2", "data": SPEECH, "nfe": 2, "fixed_examples": 2}


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("enhancement_data")
    generated_enhancement.make(folder, speakers=4, takes=1, seconds=2.0, sample_rate=8000)
    return folder


@pytest.fixture(scope="package")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three trainings, one after the other, each in one go: checkpoints by name, and `work`."""
    folder = tmp_path_factory.mktemp("trained")
    paths = {name: folder / f"{name}.safetensors" for name in ("denoiser", "stage1", "stage2")}
    work = folder / "work"
    train_enhancer(DENOISER, data, paths["denoiser"], work)
    train_enhancer(STAGE1, data, paths["stage1"], work, [paths["denoiser"]])
    train_enhancer(STAGE2, data, paths["stage2"], work, [paths["denoiser"], paths["stage1"]])
    return {**paths, "work": work}
