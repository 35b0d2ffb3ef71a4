"""A tiny training set: buzzes that start and stop for speech, steady chords for music."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

RATE = 8000


def write_training_audio(folder: Path, rate: int = RATE) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    time = np.arange(3 * rate) / rate
    for split in ("train", "valid", "test"):
        for number in range(3):
            pitch = rng.uniform(90, 220)
            buzz = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 12))
            speech = 0.2 * buzz * (np.sin(2 * np.pi * rng.uniform(1.5, 3) * time) > -0.3)
            music = sum(0.1 * np.sin(2 * np.pi * f * time) for f in rng.uniform(300, 2500, 4))
            for kind, audio in (("speech", speech), ("music", music)):
                path = folder / kind / f"{split}_{number}.flac"
                path.parent.mkdir(parents=True, exist_ok=True)
                sf.write(path, audio, rate)
                rows.append({"path": f"{kind}/{path.name}", "kind": kind, "label": str(number), "split": split})
    (folder / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def training_audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_training_audio(tmp_path_factory.mktemp("training_audio"))


def write_real_recordings(folder: Path, rate: int = RATE) -> Path:
    """Five hissing, clicking recordings of tones, in several formats, and two files that are no audio."""
    rng = np.random.default_rng(7)
    (folder / "deep").mkdir(parents=True, exist_ok=True)
    for number, (name, own_rate, channels) in enumerate(
        [
            ("a.wav", rate, 1),
            ("b.flac", 2 * rate, 2),
            ("deep/c.wav", rate, 2),
            ("deep/d.flac", rate, 1),
            ("e.ogg", rate, 1),
        ]
    ):
        size = 2 * own_rate
        tone = 0.2 * np.sin(2 * np.pi * (150 + 90 * number) * np.arange(size) / own_rate)
        tone *= np.sin(2 * np.pi * 1.7 * np.arange(size) / own_rate) > -0.4
        signal = tone + 0.01 * rng.standard_normal(size)
        signal[rng.integers(0, size, 20)] += rng.choice([-0.5, 0.5], 20)
        sf.write(folder / name, np.repeat(signal[:, None], channels, axis=1), own_rate)
    (folder / "bad.wav").write_bytes(b"RIFF")
    sf.write(folder / "blip.wav", np.zeros(100), rate)
    (folder / "notes.txt").write_text("no audio")
    return folder


@pytest.fixture(scope="session")
def real_audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_real_recordings(tmp_path_factory.mktemp("real_audio"))
