"""Measure a mask network on the training audio's `test` split: voices, genres and instruments that its training never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiorestorer.datasets.bank import AudioBank
from audiorestorer.datasets.mixtures import Example, Mixer, MixtureSettings, Task
from audiorestorer.files import write_json
from audiorestorer.losses.waveform import si_sdr_db
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint
from audiorestorer.store import sha256_file

SNRS_DB: dict[Task, tuple[float, ...]] = {"separate": (0.0, 5.0, 10.0), "denoise": (5.0, 10.0, 20.0)}
SEED = 2026
SEGMENT_SEC = 4.0


def run(model: Path, data: Path, out_json: Path, count: int = 40) -> dict[str, Any]:
    """Measure a checkpoint and write the figures.

    Args:
        model: safetensors checkpoint.
        data: folder with `index.jsonl`.
        out_json: where the figures go.
        count: mixtures a condition.

    Returns:
        Medians: SI-SDR in, out and improvement (dB) by SNR; `clean_in_si_sdr_db` (pure speech in);
        `no_speech_attenuation_db` (level of the output against an input without speech).

    Raises:
        AudioRestorerError: unreadable model or data.
    """
    network, metadata = load_checkpoint(model)
    task: Task = metadata["task"]
    bank = AudioBank(Path(data), None, network.config.sample_rate, split="test")
    by_snr, gains = {}, []
    for snr in SNRS_DB[task]:
        before, after = np.array([_quality(network, example) for example in _examples(bank, task, count, snr)]).T
        gains.extend(after - before)
        by_snr[f"{snr:g}"] = {
            "si_sdr_in_db": _median(before),
            "si_sdr_out_db": _median(after),
            "si_sdri_db": _median(after - before),
        }
    clean = [_quality(network, example)[1] for example in _examples(bank, task, count, None, pure_speech=1.0)]
    lonely = [_attenuation(network, example) for example in _examples(bank, task, count, None, no_speech=1.0)]
    figures = {
        "model": Path(model).name,
        "sha256": sha256_file(model),
        "task": task,
        "count": count,
        "seed": SEED,
        "by_snr_db": by_snr,
        "si_sdri_db": _median(gains),
        "clean_in_si_sdr_db": _median(clean),
        "no_speech_attenuation_db": _median(lonely),
    }
    write_json(out_json, figures)
    return figures


def _examples(
    bank: AudioBank, task: Task, count: int, snr: float | None, *, pure_speech: float = 0.0, no_speech: float = 0.0
) -> list[Example]:
    """Unchanged recordings (no EQ, room, speed or low-pass) at one SNR."""
    settings = MixtureSettings(
        segment_sec=SEGMENT_SEC,
        snr_db=(snr or 0.0, snr or 0.0),
        pure_speech=pure_speech,
        no_speech=no_speech,
        equaliser=0.0,
        speed=0.0,
        reverb=0.0,
        band_limit=0.0,
        gain_db=(-6.0, -6.0),
    )
    mixer = Mixer(bank, settings, task, SEED, split="test")
    return [mixer.example(0, index) for index in range(count)]


def _apply(network: MaskUNet, example: Example) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mixture, target = torch.from_numpy(example.mixture), torch.from_numpy(example.target)
    with torch.inference_mode():
        return mixture, network(mixture[None, None])[0, 0], target


def _quality(network: MaskUNet, example: Example) -> tuple[float, float]:
    """SI-SDR of the mixture and of the output, dB."""
    mixture, estimate, target = _apply(network, example)
    return float(si_sdr_db(mixture, target)), float(si_sdr_db(estimate, target))


def _attenuation(network: MaskUNet, example: Example) -> float:
    mixture, estimate, _ = _apply(network, example)
    return float(10 * torch.log10(mixture.square().mean() / estimate.square().mean().clamp_min(1e-12)))


def _median(values: Any) -> float:
    return round(float(np.median(values)), 2)
