"""Training steps per second of a mask network: our loaders against a plain DataLoader that decodes its files for each example.

    python -m scripts.bench.bench_training [--seconds 20] [--json FILE]

The network is the pilot denoiser's (config/experiments/pilot_denoiser.yaml), one thread; the loader has one process. The files
are 30 s of FLAC at 44.1 kHz. `bank`: our decoded, memory-mapped training audio; `manifest`: segments read from the files; `plain`:
whole files read, resampled and cut. Prints Markdown; docs/lab/performance.md has it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
import torch
from torch.utils.data import DataLoader, Dataset

from audiorestorer.datasets.bank import AudioBank
from audiorestorer.datasets.manifest_mixer import ManifestBank, ManifestMixer
from audiorestorer.datasets.mixtures import Mixer, MixtureDataset
from audiorestorer.datasets.training_manifest import NoiseRow, Row, check_manifest, check_noise_manifest
from audiorestorer.training.settings import TrainSettings, load_settings
from scripts.bench.bench_common import ROOT, machine, training_step, write_clips

FILE_RATE, FILE_SEC, FILES = 44_100, 30.0, 12


class PlainDataset(Dataset[Any]):
    """The obvious loader: open both files, resample, cut, mix."""

    def __init__(self, speech: list[Path], noise: list[Path], rate: int, length: int, size: int) -> None:
        self.speech, self.noise, self.rate, self.length, self.size = speech, noise, rate, length, size

    def __len__(self) -> int:
        return self.size

    def _cut(self, path: Path, rng: np.random.Generator) -> np.ndarray:
        wave, rate = sf.read(path, dtype="float32", always_2d=True)
        mono = soxr.resample(wave.mean(axis=1), rate, self.rate)
        start = int(rng.integers(0, len(mono) - self.length))
        return mono[start : start + self.length]

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(index)
        clean = self._cut(self.speech[rng.integers(len(self.speech))], rng)
        noise = self._cut(self.noise[rng.integers(len(self.noise))], rng)
        gain = np.sqrt((clean**2).mean() / max((noise**2).mean(), 1e-12)) * 10 ** (-rng.uniform(0, 15) / 20)
        mixture = clean + gain * noise
        return torch.from_numpy(mixture[None].astype(np.float32)), torch.from_numpy(clean[None])


def data_set(folder: Path) -> tuple[list[Path], list[Path]]:
    """FLAC files of speech-like tones and of noise, with the index and the manifests that our loaders take."""
    kinds: dict[str, list[Path]] = {"speech": [], "music": []}
    for number, path in enumerate(write_clips(folder / "wav", 2 * FILES, FILE_SEC, FILE_RATE)):
        kind = "speech" if number % 2 else "music"
        wave, rate = sf.read(path)
        out = folder / f"{kind}{number}.flac"
        sf.write(
            out, wave if kind == "speech" else 0.1 * np.random.default_rng(number).standard_normal(len(wave)), rate
        )
        kinds[kind].append(out)
        path.unlink()
    index = [
        {"path": path.name, "kind": kind, "label": path.stem, "split": "train"}
        for kind, paths in kinds.items()
        for path in paths
    ]
    (folder / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in index))
    same = {"split": "train", "sr": FILE_RATE, "duration": FILE_SEC}
    clean = [{"id": path.stem, "clean": path.name, "noisy": None, **same} for path in kinds["speech"]]
    noise = [{"id": path.stem, "path": path.name, "class": "hiss", **same} for path in kinds["music"]]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in clean))
    (folder / "noise.jsonl").write_text("".join(json.dumps(row) + "\n" for row in noise))
    return kinds["speech"], kinds["music"]


def measure(settings: TrainSettings, dataset: Dataset[Any], seconds: float) -> dict[str, float]:
    """Steps per second and the share of a step that waits for its batch; the loader's start is not counted."""
    step = training_step(settings)
    batches = iter(DataLoader(dataset, settings.batch_size, num_workers=1, drop_last=True))
    waited, steps, start = 0.0, -2, time.perf_counter()
    while steps < 2 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        batch = next(batches)
        wait = time.perf_counter() - before
        step(batch[0], batch[1])
        steps += 1
        waited += wait
        if steps == 0:
            start, waited = time.perf_counter(), 0.0
    total = time.perf_counter() - start
    return {"steps_a_second": steps / total, "wait_share": waited / total}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each measurement")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    settings = load_settings(ROOT / "config/experiments/pilot_denoiser.yaml")
    rate, size = settings.network.sample_rate, 1_000_000
    length = int(settings.mixtures.segment_sec * rate)
    with tempfile.TemporaryDirectory(prefix="bench-training-") as name:
        folder = Path(name)
        speech, noise = data_set(folder)
        rows: list[Row] = check_manifest(folder / "train.jsonl", splits=("train",))
        noises: list[NoiseRow] = check_noise_manifest(folder / "noise.jsonl", splits=("train",))
        bank = AudioBank(folder, folder / "cache", rate)
        files = ManifestBank(rows, folder, rate, noises, folder)
        feeds: dict[str, Dataset[Any]] = {
            "plain": PlainDataset(speech, noise, rate, length, size),
            "manifest": MixtureDataset(ManifestMixer(files, settings.mixtures, "denoise", 1), 0, size),
            "bank": MixtureDataset(Mixer(bank, settings.mixtures, "separate", 1), 0, size),
        }
        results = {key: measure(settings, feed, args.seconds) for key, feed in feeds.items()}
    print(
        f"{machine()}; one thread, one loader process, batch {settings.batch_size}, {settings.mixtures.segment_sec} s\n"
    )
    print("| data from | steps per second | ratio | waits for data |\n| --- | ---: | ---: | ---: |")
    for key, row in results.items():
        ratio = row["steps_a_second"] / results["plain"]["steps_a_second"]
        print(f"| {key} | {row['steps_a_second']:.2f} | {ratio:.2f} | {row['wait_share']:.1%} |")
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "training": results}, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.exit(main())
