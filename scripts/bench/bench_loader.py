"""The training loader against the network it feeds: samples per second delivered and consumed, and memory by the data set's size.

    python -m scripts.bench.bench_loader [--seconds 20]

The consumer is the pilot separator's training step (config/experiments/pilot_sep_b.yaml, one thread); the loader is one process that
makes its mixtures from a manifest. Prints a Markdown table; docs/lab/performance.md has one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiorestorer import audio
from audiorestorer.datasets import generated
from audiorestorer.datasets.manifest_mixer import ManifestBank, ManifestMixer
from audiorestorer.datasets.training_manifest import NoiseRow, Row, check_manifest, check_noise_manifest
from audiorestorer.training.settings import TrainSettings, load_settings
from scripts.bench.bench_common import ROOT, training_step


def loader_rate(settings: TrainSettings, folder: Path, seconds: float, copies: int) -> tuple[float, float]:
    """Samples per second of one process, and its peak memory in MB; every recording is listed `copies` times."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        rate_and_peak: tuple[float, float] = pool.apply(_deliver, (settings.model_dump(), folder, seconds, copies))
    return rate_and_peak


def _deliver(values: dict[str, Any], folder: Path, seconds: float, copies: int) -> tuple[float, float]:
    torch.set_num_threads(1)
    settings = TrainSettings.model_validate(values)
    rows: list[Row] = check_manifest(folder / "train.jsonl") * copies
    noises: list[NoiseRow] = check_noise_manifest(folder / "noise.jsonl") * copies
    bank = ManifestBank(rows, folder, settings.network.sample_rate, noises, folder)
    mixer = ManifestMixer(bank, settings.mixtures, "denoise", 1)
    mixer.example(0, 0)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += len(mixer.example(1, count).mixture)
    elapsed = time.perf_counter() - start
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    return count / elapsed, peak


def consumer_rate(settings: TrainSettings, seconds: float) -> float:
    """Samples per second that forward, loss, backward and optimiser step of one thread consume."""
    step = training_step(settings)
    length = int(settings.mixtures.segment_sec * settings.network.sample_rate)
    batch = torch.randn(2, settings.batch_size, 1, length) * 0.1
    steps, start = -1, time.perf_counter()
    while steps < 1 or time.perf_counter() - start < seconds:
        if steps == 0:
            start = time.perf_counter()  # the first step is the warm-up
        step(batch[0], batch[1])
        steps += 1
    return steps * settings.batch_size * length / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each measurement")
    parser.add_argument(
        "--large", type=int, default=1000, help="size of the large data set as a multiple of the small one"
    )
    args = parser.parse_args()
    settings = load_settings(ROOT / "config/experiments/pilot_sep_b.yaml")
    rate = settings.network.sample_rate
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generated.training_set(folder, sample_rate=rate)
        # long recordings: a segment must not cost more in a longer file
        long = np.tile(audio.read(folder / "clean/train0.wav")[0], (1, 50))
        audio.write(folder / "clean/train0.wav", long, rate)
        text = (folder / "train.jsonl").read_text().splitlines()
        text[0] = text[0].replace('"duration": 6.0', f'"duration": {long.shape[1] / rate}')
        (folder / "train.jsonl").write_text("\n".join(text) + "\n")
        small, small_mb = loader_rate(settings, folder, args.seconds, 1)
        large, large_mb = loader_rate(settings, folder, args.seconds, args.large)
    used = consumer_rate(settings, args.seconds)
    print("| what | samples per second | against the network | peak memory, MB |\n| --- | --- | --- | --- |")
    print(f"| network, one thread (consumes) | {used:,.0f} | 1.0 | |")
    print(f"| loader, one process | {small:,.0f} | {small / used:.1f} | {small_mb:.0f} |")
    print(f"| loader, {args.large} times the recordings | {large:,.0f} | {large / used:.1f} | {large_mb:.0f} |")


if __name__ == "__main__":
    main()
