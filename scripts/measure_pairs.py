"""Median SI-SDR improvement of checkpoints on folders of (noisy, clean) pairs of the same file names; never used in training.

    python scripts/measure_pairs.py --model models/pilot/pilot_sep_a.safetensors --noisy DIR --clean DIR

Clean files are given to the networks too: what they do to speech alone. Files are mixed to mono at the network's rate.
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


def measure(network: MaskUNet, noisy: Path, clean: Path) -> list[tuple[str, float, float, float]]:
    """(name, SI-SDR in, SI-SDR out, SI-SDR of the clean file through the network) in dB, a pair each.

    A reference has its recording's relative path, with the same suffix or `.flac`; recordings without one are left out.
    """
    rows = []
    rate = network.config.sample_rate
    for path in sorted(p for p in noisy.rglob("*") if p.suffix in audio.SUFFIXES):
        reference = (clean / path.relative_to(noisy)).with_suffix(".flac")
        if not reference.exists():
            continue
        mixture, target = mono(path, rate), mono(reference, rate)
        length = min(len(mixture), len(target))
        mixture, target = mixture[:length], target[:length]
        pairs = ((mixture, target), (apply(network, mixture), target), (apply(network, target), target))
        before, after, alone = (float(si_sdr_db(estimate, wanted)) for estimate, wanted in pairs)
        rows.append((path.relative_to(noisy).as_posix(), before, after, alone))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, action="append", required=True)
    parser.add_argument("--noisy", type=Path, required=True)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    for path in args.model:
        rows = measure(load_checkpoint(path)[0], args.noisy, args.clean)
        if args.verbose:
            for name, before, after, alone in rows:
                print(f"  {name}: {before:.2f} -> {after:.2f} dB; clean in {alone:.2f} dB")
        gain = np.median([after - before for _, before, after, _ in rows])
        print(
            f"{path.name}: {len(rows)} pairs, median SI-SDRi {gain:.2f} dB, clean in {np.median([r[3] for r in rows]):.2f} dB"
        )


if __name__ == "__main__":
    main()
