"""A small data set from formulas: tracks with stems (MUSDB18-HQ's layout) and a folder of noises, good and bad.

With it the training half can be tried and tested without any data. Numpy only; equal arguments give equal files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiorestorer import audio
from audiorestorer.datasets.levels import scale_to_snr
from audiorestorer.datasets.noise import procedural
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json, write_rows, write_text_atomic

Mono = NDArray[np.float32]

STEMS = ("vocals", "drums", "bass", "other")
TEST_SHARE = 0.25
NOISE_SEC = 6.0
PAIR_SNR_DB = 5.0
SCALE_HZ = 110.0 * 2 ** (np.array([0, 2, 4, 7, 9, 12, 14, 16]) / 12)  # a pentatonic scale over A2
GOOD_NOISES = ("hiss", "hum50", "hum60", "rumble", "hvac", "crowd", "crackle", "white", "pink", "brown")
BAD_NOISES = ("siren", "alarm_beep", "clipped", "silent", "voice", "door_slam")
INDEX = "index.json"


def make(
    out: Path,
    *,
    tracks: int = 12,
    seconds: float = 12.0,
    noises: int = 24,
    sample_rate: int = 22050,
    seed: int = 1,
    faults: bool = True,
) -> Path:
    """Write `stems/{train,test}/trackNN/*.wav`, `speakers.json`, `noise/*.wav` and `pairs/{noisy,clean}/*.wav`, and last `index.json`.

    The pairs are the test tracks with noises at 5 dB that are not in `noise/`.

    Args:
        tracks: two of them share a singer.
        noises: number of noise files; one in four is of a kind that a noise filter must reject.
        faults: the last training track's mixture lacks a stem, so that an audit has something to find.

    Returns:
        `index.json`. A complete set of the same arguments is kept.

    Raises:
        AudioRestorerError: the folder holds recordings that are not of this set.
    """
    arguments = {
        "tracks": tracks,
        "seconds": seconds,
        "noises": noises,
        "sample_rate": sample_rate,
        "seed": seed,
        "faults": faults,
    }
    index = out / INDEX
    if index.exists() and read_json(index) == arguments:
        return index
    held_out = max(1, round(TEST_SHARE * tracks))
    names = {f"track{k:02d}": "test" if k >= tracks - held_out else "train" for k in range(tracks)}
    _refuse_others(out, names, noises)
    index.unlink(missing_ok=True)  # the folder is incomplete from here on
    singers = {}
    for number, (name, subset) in enumerate(names.items()):
        stems = stems_of(np.random.default_rng((seed, 0, number)), seconds, sample_rate)
        folder = out / "stems" / subset / name
        mixture = mixed(stems)
        if faults and number == tracks - held_out - 1:
            mixture = mixture - stems["drums"]
        for stem, signal in {**stems, "mixture": mixture}.items():
            audio.write(folder / f"{stem}.wav", signal[None], sample_rate)
        singers[name] = "singer00" if number == 1 else f"singer{number:02d}"  # tracks 0 and 1 share one
        if subset == "test":
            _pair(out / "pairs", name, mixed(stems), seed * 1000 + 500 + number, sample_rate)
    write_text_atomic(out / "speakers.json", json.dumps(singers, indent=1) + "\n")
    for number in range(noises):
        kind, signal = noise_of(seed, number, sample_rate)
        audio.write(out / "noise" / f"{number:03d}-{kind}.wav", signal[None], sample_rate)
    write_text_atomic(index, json.dumps(arguments, indent=1) + "\n")
    return index


def _refuse_others(out: Path, names: dict[str, str], noises: int) -> None:
    """Recordings of a larger set, or a user's own, would be taken for this set's by every stage after this one."""
    tracks = {out / "stems" / subset / name for name, subset in names.items()}
    files = {out / "noise" / f"{number:03d}-{_kind(number)}.wav" for number in range(noises)}
    for part in ("stems", "noise", "pairs"):
        for path in sorted((out / part).rglob("*.wav")):
            fits = path.parent in tracks or path in files
            if part == "pairs":
                fits = names.get(path.stem.split("-")[0]) == "test"
            if not fits:
                raise AudioRestorerError(f"{path}: not of the set asked for; give --out a folder of its own")


def _pair(folder: Path, name: str, clean: Mono, seed: int, rate: int) -> None:
    kind = GOOD_NOISES[seed % len(GOOD_NOISES)]
    noise = scale_to_snr(clean, procedural.make(kind, seed, len(clean), rate), PAIR_SNR_DB, rate)
    for part, signal in (("clean", clean), ("noisy", clean + noise)):
        audio.write(folder / part / f"{name}-{kind}.wav", signal[None], rate)


def stems_of(rng: np.random.Generator, seconds: float, rate: int) -> dict[str, Mono]:
    """Four stems `[T]` of one track; their sum stays below full scale."""
    length = int(seconds * rate)
    beat = int(rate * rng.uniform(0.4, 0.6))
    stems = {
        "vocals": voice(rng, length, rate),
        "drums": _drums(rng, length, rate, beat),
        "bass": _notes(rng, length, rate, beat * 2, 0.5, 6),
        "other": sum(_notes(rng, length, rate, beat * 4, octave, 4) for octave in (2.0, 2.0, 4.0)),
    }
    gains = {"vocals": 0.22, "drums": 0.16, "bass": 0.16, "other": 0.14}
    # a short voice can be all pauses: silent, not 0 / 0
    return {n: np.asarray(gains[n] * stem / max(np.abs(stem).max(), 1e-9), np.float32) for n, stem in stems.items()}


def mixed(stems: dict[str, Mono]) -> Mono:
    """The sum of the stems, in their order."""
    return np.asarray(np.sum([stems[stem] for stem in STEMS], axis=0, dtype=np.float32), np.float32)


def voice(rng: np.random.Generator, length: int, rate: int) -> NDArray[np.float64]:
    """A source-filter voice: glottal pulses with vibrato over a melody, vowels as resonances that change, consonants, pauses."""
    time = np.arange(length) / rate
    syllable = int(rate * rng.uniform(0.18, 0.3))
    count = length // syllable + 1
    notes = SCALE_HZ[rng.integers(0, len(SCALE_HZ), count)] * rng.choice([1.0, 2.0])
    pitch = np.repeat(notes, syllable)[:length] * (1 + 0.015 * np.sin(2 * np.pi * 5.5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    highest = int(min(rate / 2, 5000) / (notes.max() * 1.02))
    out = np.zeros(length)
    formants = np.array([[700, 1200, 2600], [300, 2200, 2900], [450, 900, 2400], [500, 1700, 2500]])
    vowel = np.repeat(rng.integers(0, len(formants), count), syllable)[:length]
    for k in range(1, highest + 1):
        gain = sum(1 / (1 + ((k * pitch - formants[vowel, f]) / 110) ** 2) for f in range(3))
        out += gain * np.sin(k * phase) / k**0.5
    sung = np.repeat(rng.random(count) < 0.75, syllable)[:length]
    shape = np.clip(np.sin(np.pi * (np.arange(length) % syllable) / syllable), 0, 1) ** 0.5
    consonant = (np.arange(length) % syllable < 0.04 * rate) * procedural.make(
        "hiss", int(rng.integers(1 << 30)), length, rate
    )
    return np.asarray((out * shape + 0.25 * consonant) * sung, np.float64)


def _drums(rng: np.random.Generator, length: int, rate: int, beat: int) -> NDArray[np.float64]:
    out = np.zeros(length)
    for number, start in enumerate(range(0, length, max(1, beat // 2))):
        size = min(int(0.2 * rate), length - start)
        time = np.arange(size) / rate
        if number % 4 == 0:
            hit = np.sin(2 * np.pi * (55 + 90 * np.exp(-time * 40)) * time) * np.exp(-time * 18)
        else:
            hit = rng.standard_normal(size) * np.exp(-time * (28 if number % 4 == 2 else 90)) * 0.5
        out[start : start + size] += hit
    return out


def _notes(
    rng: np.random.Generator, length: int, rate: int, size: int, octave: float, harmonics: int
) -> NDArray[np.float64]:
    out = np.zeros(length)
    for start in range(0, length, size):
        time = np.arange(min(size, length - start)) / rate
        pitch = SCALE_HZ[int(rng.integers(len(SCALE_HZ)))] * octave
        tone = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, harmonics + 1) if pitch * k < rate / 2)
        out[start : start + len(time)] += tone * np.exp(-time * 1.5) * np.clip(time * 60, 0, 1)
    return out


def _kind(number: int) -> str:
    """The kind of noise `number`: three good ones, then a bad one."""
    if number % 4 != 3:
        return GOOD_NOISES[(number - number // 4) % len(GOOD_NOISES)]
    return BAD_NOISES[(number // 4) % len(BAD_NOISES)]


def noise_of(seed: int, number: int, rate: int) -> tuple[str, Mono]:
    """The kind and samples of noise `number`."""
    length = int(NOISE_SEC * rate)
    kind = _kind(number)
    if kind in GOOD_NOISES:
        return kind, np.float32(0.06) * procedural.make(kind, seed * 1000 + number, length, rate)
    rng = np.random.default_rng((seed, 1, number))
    signal: NDArray[Any]
    time = np.arange(length) / rate
    if kind == "siren":
        pitch = 900 + 500 * np.sin(2 * np.pi * 0.4 * time)
        signal = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / rate)
    elif kind == "alarm_beep":
        signal = 0.3 * np.sin(2 * np.pi * 2000 * time) * (time % 0.5 < 0.25)
    elif kind == "clipped":
        signal = np.clip(3 * procedural.make("pink", number, length, rate), -1, 1)
    elif kind == "silent":
        signal = np.zeros(length)
    elif kind == "voice":
        signal = voice(rng, length, rate)
        signal = 0.3 * signal / np.abs(signal).max()
    else:
        signal = 0.003 * procedural.make("pink", number, length, rate)
        size = int(0.25 * rate)
        signal[length // 2 : length // 2 + size] += (
            0.8 * rng.uniform(-1, 1, size) * np.exp(-np.arange(size) / (0.03 * rate))
        )
    return kind, np.asarray(signal, np.float32)


def training_set(out: Path, *, sample_rate: int = 22050, seed: int = 1) -> tuple[Path, Path]:
    """The smallest set that can be trained on, with its manifests (for the sanity suite).

    Returns:
        Training manifest and noise manifest.
    """
    rows: list[dict[str, Any]] = []
    noise_rows: list[dict[str, Any]] = []
    for number, split in enumerate(("train", "train", "train", "train", "valid", "valid")):
        path = out / "clean" / f"{split}{number}.wav"
        stems = stems_of(np.random.default_rng((seed, 0, number)), 6.0, sample_rate)
        audio.write(path, mixed(stems)[None], sample_rate)
        rows.append(
            {
                "id": path.stem,
                "split": split,
                "clean": f"clean/{path.name}",
                "noisy": None,
                "sr": sample_rate,
                "duration": 6.0,
            }
        )
    for number, (kind, split) in enumerate((kind, split) for split in ("train", "valid") for kind in GOOD_NOISES[:7]):
        path = out / "noise" / f"{number:02d}_{kind}.wav"
        signal = np.float32(0.06) * procedural.make(
            kind, seed * 100 + number, int(NOISE_SEC * sample_rate), sample_rate
        )
        audio.write(path, signal[None], sample_rate)
        noise_rows.append(
            {
                "id": path.stem,
                "split": split,
                "path": f"noise/{path.name}",
                "class": kind,
                "sr": sample_rate,
                "duration": NOISE_SEC,
            }
        )
    manifests = out / "train.jsonl", out / "noise.jsonl"
    for path, manifest_rows in zip(manifests, (rows, noise_rows), strict=True):
        write_rows(path, manifest_rows)
    return manifests
