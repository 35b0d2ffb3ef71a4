"""The enhancer of kind `extension`: processor time per second of audio, for each fault of a recording.

    python -m scripts.bench.bench_enhancer --recording FILE [--rates 16000 44100] [--denoiser RECORD]

Clean speech is brought to each rate and degraded as `evaluate-enhancer` does it; `band_8khz` is left out, and so is the loading of the
networks. What counts is the user's and the system's time of this process (all of its threads), the least of so many turns after one
to warm up: other programs on the machine disturb it little. `--denoiser` is what `fetch-model deepfilternet3 RECORD` wrote; without
one no noise is taken out. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.config import EnhanceSettings
from audiorestorer.datasets.enhancement.degraded_sets import CONDITIONS, degraded
from audiorestorer.separators import ModelFiles
from audiorestorer.separators.enhancers import enhancer_of
from audiorestorer.separators.enhancing import RecordingEnhancer
from scripts.machine import hardware

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT / "models/pilot/pilot_extension.safetensors"
LONGEST_SEC = 20.0
MEASURED = [name for name in CONDITIONS if name != "band_8khz"]


def speech_at(path: Path, rate: int) -> Audio:
    """The first 20 s of a recording, `[1, T]` at a rate."""
    info = audio.probe(path)
    signal, own = audio.read(path, frames=int(LONGEST_SEC * info.sample_rate))
    blocks = audio.resample_blocks(iter([signal.mean(axis=0, keepdims=True)]), own, rate, 1)
    return np.concatenate(list(blocks), axis=1)


def cost(enhancer: RecordingEnhancer, given: Audio, rate: int, turns: int) -> tuple[float, str]:
    """Least processor time of a turn per second of audio, and what the enhancer found."""
    found = enhancer(given, rate).found
    times = []
    for _ in range(turns):
        begin = time.process_time()
        enhancer(given, rate)
        times.append(time.process_time() - begin)
    return min(times) * rate / given.shape[1], "; ".join(found) or "nothing"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recording", type=Path, required=True, help="clean speech with the whole band")
    parser.add_argument(
        "--rates", type=int, nargs="+", default=[16_000, 44_100], help="rates that it is brought to, Hz"
    )
    parser.add_argument("--denoiser", type=Path, help="record of a denoiser, as fetch-model writes it")
    parser.add_argument("--turns", type=int, default=2, help="turns of each condition; the fastest counts")
    args = parser.parse_args()
    denoiser = ModelFiles.read(args.denoiser) if args.denoiser else None
    enhancer = enhancer_of(CHECKPOINT, EnhanceSettings(), "cpu", 1, denoiser)
    print(f"Measured on {hardware()}; {args.recording.name}.\n")
    print(
        "| condition | rate, kHz | core seconds per second of audio | found |\n| --- | ---: | ---: | --- |", flush=True
    )
    for rate in args.rates:
        speech = speech_at(args.recording, rate)
        for condition in MEASURED:
            seconds, found = cost(enhancer, degraded(speech, rate, condition, seed=0), rate, args.turns)
            print(f"| {condition} | {rate / 1000:g} | {seconds:.3f} | {found} |", flush=True)


if __name__ == "__main__":
    main()
