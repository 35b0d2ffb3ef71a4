"""Median SI-SDR improvement of checkpoints on folders of (noisy, clean) pairs of the same file names; never used in training.

    python scripts/measure_pairs.py --model models/pilot/pilot_sep_a.safetensors --noisy DIR --clean DIR

Clean files are given to the networks too: what they do to speech alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import soxr
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from audiorestorer import audio
from audiorestorer.losses.waveform import si_sdr_db
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint


def mono(path: Path, rate: int) -> torch.Tensor:
    data, own = audio.read(path)
    return torch.from_numpy(soxr.resample(data.mean(axis=0), own, rate).astype(np.float32))


def apply(network: MaskUNet, signal: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(signal[None, None])[0, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, action="append", required=True)
    parser.add_argument("--noisy", type=Path, required=True)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for path in args.model:
        network, _ = load_checkpoint(path)
        rate = network.config.sample_rate
        gains, spared = [], []
        for noisy in sorted(p for p in args.noisy.rglob("*") if p.suffix in audio.SUFFIXES):
            clean = (args.clean / noisy.relative_to(args.noisy)).with_suffix(".flac")
            if not clean.exists():
                continue
            mixture, target = mono(noisy, rate), mono(clean, rate)
            length = min(len(mixture), len(target))
            mixture, target = mixture[:length], target[:length]
            before, after = float(si_sdr_db(mixture, target)), float(si_sdr_db(apply(network, mixture), target))
            alone = float(si_sdr_db(apply(network, target), target))
            gains.append(after - before)
            spared.append(alone)
            if args.verbose:
                print(f"  {noisy.name}: {before:.2f} -> {after:.2f} dB; clean in {alone:.2f} dB")
        print(
            f"{path.name}: {len(gains)} pairs, median SI-SDRi {np.median(gains):.2f} dB, clean in {np.median(spared):.2f} dB"
        )


if __name__ == "__main__":
    main()
