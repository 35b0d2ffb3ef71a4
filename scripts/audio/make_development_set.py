"""Make the pairs that settings are chosen on: voices, pieces and sounds that no training heard, and none of the final table's.

    python -m scripts.audio.free_recordings --set development --out DEBIAN
    python -m scripts.audio.make_training_audio --out AUDIO --set development --recordings DEBIAN --seed 22 \\
        --minutes-speech 0 --minutes-music 0 --minutes-prompts 20 --minutes-tracks 20 --minutes-sounds 10
    python -m scripts.audio.make_development_set --audio AUDIO --out DEVELOPMENT
    python -m scripts.bench.bench_quality --set music=DEVELOPMENT/music --set noise=DEVELOPMENT/noise --clean clean=DEVELOPMENT/clean

Writes `music/NN_noisy.flac` with `music/NN_clean.flac` (speech under music, -3 to 8 dB), the same for `noise` (2 to 16 dB; recorded
sounds and noises by formulas), and `clean/NN.flac` (speech alone). A pair depends on its number alone.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf

from audiorestorer.datasets.bank import AudioBank
from audiorestorer.datasets.mixtures import Mixer, MixtureSettings, Task

RATE = 22_050
SEED = 777
PEAK = 0.7
CALM = MixtureSettings(
    segment_sec=6.0,
    pure_speech=0,
    no_speech=0,
    noise=0,
    residue=0,
    second_source=0.1,
    reverb=0.1,
    equaliser=0.3,
    band_limit=0.1,
)
SETS: dict[str, tuple[Task, tuple[float, float]]] = {"music": ("separate", (-3, 8)), "noise": ("denoise", (2, 16))}
CLEAN = 12


def write(path: Path, signal: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, signal, RATE, subtype="PCM_24")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, required=True, help="folder of make_training_audio's recordings")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pairs")
    parser.add_argument("--count", type=int, default=36, help="pairs of each kind")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        bank = AudioBank(args.audio, Path(cache), RATE)
        for kind, (task, snr_db) in SETS.items():
            mixer = Mixer(bank, CALM.model_copy(update={"snr_db": snr_db}), task, SEED)
            for number in range(args.count):
                example = mixer.example(0, number)
                gain = PEAK / max(float(np.abs(example.mixture).max()), 1e-9)
                if np.array_equal(example.mixture, example.target):
                    continue  # the sound was silent there
                for side, signal in (("noisy", example.mixture), ("clean", example.target)):
                    write(args.out / kind / f"{number:02d}_{side}.flac", gain * signal)
                if kind == "music" and number < CLEAN:
                    write(args.out / "clean" / f"{number:02d}.flac", gain * example.target)


if __name__ == "__main__":
    main()
