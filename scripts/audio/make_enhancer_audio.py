"""Training data of the committed enhancer: speech of many synthetic voices as fg/, with the generated bg/ and rir/.

    python -m scripts.audio.make_enhancer_audio --out artifacts/enhancer_audio --minutes 60 --seed 3

Needs espeak-ng (and flite's voices where they are installed). 22.05 kHz, 16 bit. Voices of the `test` split are never drawn. A file
depends on (seed, number) alone; files that are there are kept. Then: `snakemake enhancer --config enhancer_training='{data: DIR}'`.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from audiorestorer import audio
from audiorestorer.datasets.enhancement import generated_folder as generated_enhancement
from scripts.audio import synth_speech

RATE = 22_050
CLIP_SEC = 8.0
PEAK = 0.5


def make(job: tuple[int, int, str]) -> str:
    """Make one file below the folder of its voice; returns the voice."""
    number, seed, out = job
    rng = np.random.default_rng((seed, number))
    for _ in range(50):
        voice = synth_speech.draw_voice(rng, "train")
        if voice.engine == "festival":
            continue
        text = synth_speech.text_for(rng, voice, int(rng.integers(2, 4)))
        path = Path(out) / "fg" / voice.label.replace(":", "_") / f"{number:05d}.wav"
        if path.exists():
            return voice.label
        try:
            signal = synth_speech.render(voice, text, RATE)
        except (RuntimeError, OSError):
            continue
        audio.write(path, (PEAK / np.abs(signal).max() * signal)[None], RATE, subtype="PCM_16")
        return voice.label
    raise RuntimeError("no voice speaks: is espeak-ng installed?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the data set")
    parser.add_argument("--minutes", type=float, default=60, help="minutes of speech")
    parser.add_argument("--seed", type=int, default=3, help="seed of everything that is drawn")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    args = parser.parse_args()
    count = round(args.minutes * 60 / CLIP_SEC)
    with ProcessPoolExecutor(args.jobs) as pool:
        voices = set(pool.map(make, [(number, args.seed, str(args.out)) for number in range(count)], chunksize=4))
    generated_enhancement.write_backgrounds(args.out / "bg", RATE, args.seed, noises=3, pieces=12)
    generated_enhancement.write_rooms(args.out / "rir", args.seed)
    print(f"{count} files of {len(voices)} voices", file=sys.stderr)


if __name__ == "__main__":
    main()
