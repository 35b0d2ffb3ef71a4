"""Training data of the enhancer from formulas: fg/ (voices), bg/ (noises, music), rir/ (rooms). Equal arguments, equal files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from audiorestorer import audio
from audiorestorer.datasets import generated
from audiorestorer.datasets.enhancement import distortions, generated_voices
from audiorestorer.datasets.noise import procedural
from audiorestorer.files import read_json, write_bytes_atomic, write_text_atomic

INDEX = "index.json"
ROOM_RATE = 44_100  # Hz: the default rate of room responses (`EnhancementSettings.rir_rate_hz`)
SILENCE_SEC = 0.004  # before a room's direct sound
NOISE_SEC, MUSIC_SEC = 12.0, 16.0
NOISE_RMS = 0.05


def make(
    out: Path, *, speakers: int = 32, takes: int = 2, seconds: float = 14.0, sample_rate: int = 22_050, seed: int = 1
) -> Path:
    """Write `fg/speakerNN/T.wav`, `bg/*.wav`, `rir/*.npy`, and last `index.json`, which this returns. A complete set is kept.

    Args:
        takes: files per speaker, `seconds` long each.
    """
    arguments = {"speakers": speakers, "takes": takes, "seconds": seconds, "sample_rate": sample_rate, "seed": seed}
    index = out / INDEX
    if index.exists() and read_json(index) == arguments:
        return index
    index.unlink(missing_ok=True)  # the folder is incomplete from here on
    for number in range(speakers):
        rng = np.random.default_rng((seed, 0, number))
        speaker = generated_voices.draw_speaker(rng)
        for take in range(takes):
            signal = generated_voices.speak(rng, speaker, seconds, sample_rate)
            path = out / "fg" / f"speaker{number:02d}" / f"{take}.wav"
            audio.write(path, signal[None], sample_rate, subtype="PCM_16")
    write_backgrounds(out / "bg", sample_rate, seed)
    write_rooms(out / "rir", seed)
    write_text_atomic(index, json.dumps(arguments, indent=1) + "\n")
    return index


def write_backgrounds(folder: Path, sample_rate: int, seed: int, noises: int = 2, pieces: int = 8) -> None:
    """Write `noises` files of each kind of noise and `pieces` files of music."""
    for number, kind in enumerate(kind for kind in procedural.KINDS for _ in range(noises)):
        signal = NOISE_RMS * procedural.make(kind, seed * 100 + number, int(NOISE_SEC * sample_rate), sample_rate)
        path = folder / f"{kind}_{number % noises}.wav"
        audio.write(path, signal.clip(-1, 1)[None], sample_rate, subtype="PCM_16")
    for number in range(pieces):
        stems = generated.stems_of(np.random.default_rng((seed, 1, number)), MUSIC_SEC, sample_rate)
        signal = np.sum([stem for name, stem in stems.items() if name != "vocals"], axis=0, dtype=np.float32)
        audio.write(folder / f"music_{number}.wav", signal[None], sample_rate, subtype="PCM_16")


def write_rooms(folder: Path, seed: int, count: int = 24) -> None:
    """Write `count` room responses `[n]` at 44.1 kHz: some silence, the direct sound, early echoes and a tail that decays."""
    for number in range(count):
        rng = np.random.default_rng((seed, 2, number))
        reverberance, damping, scale = rng.uniform(0, (90, 100, 60))
        response = distortions.reverb_response(rng, ROOM_RATE, reverberance, damping, scale)
        for _ in range(int(rng.integers(2, 8))):
            response[int(rng.uniform(0.002, 0.03) * ROOM_RATE)] += rng.choice([-1.0, 1.0]) * rng.uniform(0.05, 0.4)
        content = io.BytesIO()
        np.save(content, np.concatenate([np.zeros(int(SILENCE_SEC * ROOM_RATE)), response]).astype(np.float32))
        write_bytes_atomic(folder / f"room_{number:02d}.npy", content.getvalue())
