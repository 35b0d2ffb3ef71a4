"""Recordings under free licences that Debian packages hold: announcements by five speakers, and music of games.

    python scripts/free_recordings.py --out artifacts/free_recordings

downloads the packages (apt-get; no root is needed) and unpacks them; `make_training_audio.py --recordings` takes the folder. Their
licences: docs/licences.md.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

# package, folder, speaker; raw G.722 at 16 kHz
PROMPTS = (
    ("asterisk-core-sounds-en-g722", "usr/share/asterisk/sounds/en_US_f_Allison", "allison"),
    ("asterisk-core-sounds-es-g722", "usr/share/asterisk/sounds/es_MX_f_Allison", "allison_es"),
    ("asterisk-core-sounds-fr-g722", "usr/share/asterisk/sounds/fr_CA_f_June", "june"),
    ("asterisk-core-sounds-it-g722", "usr/share/asterisk/sounds/it_IT_m_Carlo", "carlo"),
    ("asterisk-core-sounds-ru-g722", "usr/share/asterisk/sounds/ru_RU_f_IvrvoiceRU", "ivrvoice_ru"),
)
MUSIC = (
    ("asterisk-moh-opsound-g722", "usr/share/asterisk/moh"),
    ("hyperrogue-music", "usr/share/hyperrogue/music"),
    ("singularity-music", "usr/share/games/singularity/music"),
    ("warzone2100-music", "usr/share/games/warzone2100/music"),
    ("wesnoth-1.16-music", "usr/share/games/wesnoth/1.16/data/core/music"),
)
G722_RATE = 16_000
SUFFIXES = (".ogg", ".opus", ".mp3", ".g722")
NO_SPEECH = ("beep", "silence", "tone")  # parts of names of prompts that hold none
SHORTEST_SEC = 0.4


def files(folder: Path) -> list[Path]:
    """Its recordings, sorted.

    Raises:
        FileNotFoundError: there are none; names the folder.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"{folder}: no recordings; scripts/free_recordings.py fetches them")
    return found


def read(path: Path, sample_rate: int, begin_sec: float = 0.0, seconds: float | None = None) -> np.ndarray:
    """A stretch of a recording, mono `[T]` float32 at `sample_rate`."""
    if path.suffix == ".g722":
        command = ["ffmpeg", "-v", "error", "-f", "g722", "-i", str(path), "-f", "s16le", "-ac", "1", "-"]
        raw = subprocess.run(command, capture_output=True, check=True).stdout
        data, rate = np.frombuffer(raw, "<i2").astype(np.float32) / 32768, G722_RATE
        begin = int(begin_sec * rate)
        data = data[begin : None if seconds is None else begin + int(seconds * rate)]
    else:
        with sf.SoundFile(path) as file:
            rate = file.samplerate
            file.seek(min(int(begin_sec * rate), file.frames))
            data = file.read(-1 if seconds is None else int(seconds * rate), dtype="float32", always_2d=True).mean(
                axis=1
            )
    return soxr.resample(data, rate, sample_rate, quality="HQ").astype(np.float32)


def duration_sec(path: Path) -> float:
    return path.stat().st_size / (G722_RATE / 2) if path.suffix == ".g722" else float(sf.info(path).duration)


def announcement(rng: np.random.Generator, root: Path, sample_rate: int, seconds: float) -> tuple[str, np.ndarray]:
    """Prompts of one speaker one after another, at least so long, now and then resampled (pitch and formants); and the speaker."""
    _, folder, speaker = PROMPTS[rng.integers(len(PROMPTS))]
    spoken = [path for path in files(root / folder) if not any(word in path.name for word in NO_SPEECH)]
    warp = float(np.exp(rng.uniform(np.log(0.84), np.log(1.2)))) if rng.random() < 0.75 else 1.0
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * sample_rate:
        part = read(spoken[rng.integers(len(spoken))], round(sample_rate / warp))
        if len(part) > SHORTEST_SEC * sample_rate and np.abs(part).max() > 1e-3:
            parts += [part, np.zeros(int(rng.uniform(0.05, 0.4) * sample_rate), np.float32)]
    return f"asterisk:{speaker}", np.concatenate(parts)


def piece(rng: np.random.Generator, root: Path, sample_rate: int, seconds: float) -> tuple[str, np.ndarray]:
    """A stretch of a piece of music that is not silent, and its package."""
    package, folder = MUSIC[rng.integers(len(MUSIC))]
    tracks = files(root / folder)
    while True:
        path = tracks[rng.integers(len(tracks))]
        latest = max(0.0, duration_sec(path) - seconds)
        data = read(path, sample_rate, float(rng.uniform(0, latest)), seconds)
        if len(data) > sample_rate and np.sqrt(np.mean(np.square(data))) > 1e-3:
            return f"{package}:{path.stem}", data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        for package in dict.fromkeys(row[0] for row in (*PROMPTS, *MUSIC)):
            print(package, flush=True)
            subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
        for path in sorted(Path(folder).glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(path), str(out)], check=True)


if __name__ == "__main__":
    main()
