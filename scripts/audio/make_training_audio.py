"""Make the pilot models' training audio: speech of many voices and music of many genres, mono FLAC and an index.

    python -m scripts.audio.make_training_audio --out artifacts/training_audio --minutes-speech 75 --minutes-music 75 --seed 1

`--recordings ROOT --minutes-prompts 60 --minutes-tracks 120 --minutes-sounds 20` adds recordings from Debian packages
(`free_recordings.py`; needs ffmpeg), all of the training's split.

Writes `speech/*.flac`, `music/*.flac`, `noise/*.flac` (22.05 kHz or `--rate`, 16 bit) and last `index.jsonl` (path,
kind, voice or genre, split, seconds).
Every file depends on (seed, kind, number) alone; files that are there already are kept, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile as sf

from scripts.audio import free_recordings, music_genres, synth_music, synth_speech

RATE = 22_050
PIECE_SEC = 24.0
CLIP_SEC = 8.0
SPLITS = ("train", "valid", "test")
SHARES = (0.9, 0.04, 0.06)
KIND_SEED = {"speech": 0, "music": 1, "prompts": 2, "tracks": 3, "sounds": 4}
FOLDERS = {"speech": "speech", "music": "music", "prompts": "speech", "tracks": "music", "sounds": "noise"}
RECORDED = {  # kind: function that makes one file of it, and its least length in seconds
    "prompts": (free_recordings.announcement, CLIP_SEC),
    "tracks": (free_recordings.piece, PIECE_SEC),
    "sounds": (free_recordings.sounds, CLIP_SEC),
}


def split_of(number: int) -> str:
    """Splits in fixed shares, spread over the numbers."""
    place = (number * 0.6180339887498949 + 0.31) % 1
    return SPLITS[int(np.searchsorted(np.cumsum(SHARES)[:2], place, side="right"))]


def make(job: tuple[str, int, int, str, str, str, int]) -> dict[str, object]:
    """Make one file; returns its index row."""
    kind, number, seed, out, recordings, which, rate = job
    recorded = kind in RECORDED
    split = "train" if recorded else split_of(number)
    path = Path(out) / FOLDERS[kind] / f"{split}_{'r' if recorded else ''}{number:05d}.flac"
    if not path.exists():
        rng = np.random.default_rng((seed, KIND_SEED[kind], number))
        if recorded:
            source, seconds = RECORDED[kind]
            label, audio = source(rng, Path(recordings), rate, seconds, which)
        else:
            label, audio = speech(rng, split, rate) if kind == "speech" else music(rng, split, rate)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with sf.SoundFile(temporary, "w", rate, 1, "PCM_16", format="FLAC") as file:
            file.title = label  # for the index of a run that goes on
            file.write(0.7 / float(np.abs(audio).max()) * audio)
        os.replace(temporary, path)
    with sf.SoundFile(path) as file:
        label, frames, rate = file.title, file.frames, file.samplerate
    return {
        "path": f"{FOLDERS[kind]}/{path.name}",
        "kind": FOLDERS[kind],
        "label": label,
        "split": split,
        "seconds": round(frames / rate, 3),
    }


def speech(rng: np.random.Generator, split: str, rate: int) -> tuple[str, np.ndarray]:
    """About eight seconds of one voice; a voice that says nothing is replaced by the next drawn."""
    for _ in range(20):
        voice = synth_speech.draw_voice(rng, split)
        try:
            return voice.label, synth_speech.render(
                voice, synth_speech.text_for(rng, voice, int(rng.integers(2, 4))), rate
            )
        except (RuntimeError, OSError, subprocess.CalledProcessError):
            continue
    raise RuntimeError("no voice speaks: are espeak-ng, flite, festival, RHVoice and Pico installed?")


def music(rng: np.random.Generator, split: str, rate: int) -> tuple[str, np.ndarray]:
    """One piece: a full mix, or (four in ten) only one or two of its parts."""
    genres = music_genres.GENRES[split]
    for _ in range(20):
        genre = genres[rng.integers(len(genres))]
        keep = int(rng.integers(1, 3)) if rng.random() < 0.4 else None
        audio = synth_music.render(synth_music.compose(rng, genre, PIECE_SEC, keep), rate, PIECE_SEC).mean(axis=0)
        if np.abs(audio).max() > 1e-3:
            return genre.name, audio
    raise RuntimeError("fluidsynth plays silence: is the soundfont installed?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the training audio")
    parser.add_argument("--minutes-speech", type=float, default=75, help="minutes of synthetic speech")
    parser.add_argument("--minutes-music", type=float, default=75, help="minutes of synthetic music")
    parser.add_argument("--seed", type=int, default=1, help="seed of everything that is drawn")
    parser.add_argument("--rate", type=int, default=RATE, help="sample rate of the files, Hz")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    parser.add_argument(
        "--recordings", type=Path, help="folder that the packages of free_recordings.py were unpacked into"
    )
    parser.add_argument(
        "--set", choices=sorted(free_recordings.SETS), default="separators", help="which of those recordings"
    )
    parser.add_argument(
        "--minutes-prompts", type=float, default=60, help="minutes of recorded speech; only with --recordings"
    )
    parser.add_argument(
        "--minutes-tracks", type=float, default=120, help="minutes of recorded music; only with --recordings"
    )
    parser.add_argument(
        "--minutes-sounds", type=float, default=20, help="minutes of recorded sounds; only with --recordings"
    )
    args = parser.parse_args()
    for folder in set(FOLDERS.values()):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    counts = {"music": round(args.minutes_music * 60 / PIECE_SEC), "speech": round(args.minutes_speech * 60 / CLIP_SEC)}
    if args.recordings:
        minutes = {"prompts": args.minutes_prompts, "tracks": args.minutes_tracks, "sounds": args.minutes_sounds}
        counts |= {kind: round(minutes[kind] * 60 / RECORDED[kind][1]) for kind in RECORDED}
    jobs = [
        (kind, number, args.seed, str(args.out), str(args.recordings or ""), args.set, args.rate)
        for kind, count in counts.items()
        for number in range(count)
    ]
    rows = []
    with ProcessPoolExecutor(args.jobs) as pool:
        for done, row in enumerate(pool.map(make, jobs, chunksize=4), 1):
            rows.append(row)
            if done % 50 == 0 or done == len(jobs):
                print(f"training audio: {done}/{len(jobs)}", file=sys.stderr, flush=True)
    index = args.out / ".index.jsonl.tmp"
    index.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    os.replace(index, args.out / "index.jsonl")


if __name__ == "__main__":
    main()
