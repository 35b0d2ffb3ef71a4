"""Recordings under free licences that Debian packages hold: people who speak, music of games, and sounds of things and animals.

    python -m scripts.audio.free_recordings --out artifacts/free_recordings

downloads the packages (apt-get; no root is needed) and unpacks them; `make_training_audio.py --recordings` takes the folder. Their
licences: docs/licences.md.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf
import soxr

# package, pattern of its recordings, speaker; raw G.722 is at 16 kHz
ASTERISK = (
    ("asterisk-core-sounds-en-g722", "en_US_f_Allison", "allison"),
    ("asterisk-core-sounds-es-g722", "es_MX_f_Allison", "allison_es"),
    ("asterisk-core-sounds-fr-g722", "fr_CA_f_June", "june"),
    ("asterisk-core-sounds-it-g722", "it_IT_m_Carlo", "carlo"),
    ("asterisk-core-sounds-ru-g722", "ru_RU_f_IvrvoiceRU", "ivrvoice_ru"),
)
HEARD_PROMPTS = (
    *(
        (package, f"usr/share/asterisk/sounds/{folder}/**/*.g722", f"asterisk:{name}")
        for package, folder, name in ASTERISK
    ),
    # two actors, the smaller and the bigger fish
    *(
        ("fillets-ng-data-nl", f"usr/share/games/fillets-ng/sound/**/nl/*-{role}-*.ogg", f"fillets:nl_{role}")
        for role in ("m", "v")
    ),
)
HEARD_MUSIC = (
    ("asterisk-moh-opsound-g722", "usr/share/asterisk/moh/**/*"),
    ("fillets-ng-data", "usr/share/games/fillets-ng/music/*"),
    ("hyperrogue-music", "usr/share/hyperrogue/music/**/*"),
    ("singularity-music", "usr/share/games/singularity/music/**/*"),
    ("unknown-horizons", "usr/share/unknown-horizons/content/audio/music/**/*"),
    ("warzone2100-music", "usr/share/games/warzone2100/music/**/*"),
    ("wesnoth-1.16-music", "usr/share/games/wesnoth/1.16/data/core/music/**/*"),
    ("widelands-data", "usr/share/games/widelands/data/music/*"),
)
HEARD_SOUNDS = (
    ("tuxpaint-stamps-default", "usr/share/tuxpaint/stamps/**/*"),
    ("unknown-horizons", "usr/share/unknown-horizons/content/audio/sounds/**/*"),
    ("widelands-data", "usr/share/games/widelands/data/sound/**/*"),
)
G722_RATE = 16_000
SUFFIXES = (".ogg", ".opus", ".mp3", ".wav", ".g722")
NO_SPEECH = ("beep", "silence", "tone")  # in the names of prompts without speech
SPEECH = "_desc"  # in the names of sounds that are speech
QUIET_DB = -28.0  # quietest twentieth of a prompt's frames, to its loudest tenth: above it there is noise in the speech
FRAME_SEC = 0.02
SHORTEST_SEC = 0.4
MOST_TRIES = 300  # of prompts, before a speaker counts as noisy


class Recordings(NamedTuple):
    """What a set of recordings holds: rows of prompts (package, pattern, speaker), of music and of sounds (package, pattern).

    `quiet_db`: how far the pauses of a prompt must lie below its speech.
    """

    prompts: Sequence[tuple[str, str, str]]
    music: Sequence[tuple[str, str]]
    sounds: Sequence[tuple[str, str]]
    quiet_db: float = QUIET_DB

    @property
    def packages(self) -> list[str]:
        """The Debian packages that hold them, each once."""
        return list(dict.fromkeys(row[0] for row in (*self.prompts, *self.music, *self.sounds)))


def _painted(*languages: str) -> list[tuple[str, str, str]]:
    return [("ktuberling-data", f"usr/share/ktuberling/sounds/{name}/*", f"ktuberling:{name}") for name in languages]


def _spelled(*languages: str) -> list[tuple[str, str, str]]:
    return [("klettres-data", f"usr/share/klettres/{name}/**/*.ogg", f"klettres:{name}") for name in languages]


def _shouted(*names: str) -> list[tuple[str, str, str]]:
    pattern = "usr/share/games/hedgewars/Data/Sounds/voices/{}/*.ogg"
    return [("hedgewars-data", pattern.format(name), f"hedgewars:{name}") for name in names]


def _named(*languages: str) -> list[tuple[str, str, str]]:
    pattern = "usr/share/tuxpaint/stamps/**/*_desc_{}.ogg"
    return [("tuxpaint-stamps-default", pattern.format(name), f"tuxpaint:{name}") for name in languages]


SETS = {
    "separators": Recordings(HEARD_PROMPTS, HEARD_MUSIC, HEARD_SOUNDS),
    # pieces, sounds and (but for three) voices that the separators' training never heard: there they err as on a user's recordings
    "fusion": Recordings(
        (
            *_painted("ca", "lt", "nn", "ca", "lt", "nn"),
            *_named("bg", "ca"),
            (
                "asterisk-prompt-it-menardi-wav",
                "usr/share/asterisk/sounds/it_IT_f_Menardi/**/*.wav",
                "asterisk:menardi",
            ),
            *(row for row in HEARD_PROMPTS if row[2] in ("asterisk:allison", "asterisk:june", "asterisk:carlo")),
        ),
        (
            ("hedgewars-data", "usr/share/games/hedgewars/Data/Music/*"),
            ("neverball-common", "usr/share/games/neverball/bgm/*"),
            ("naev-data", "usr/share/naev/dat/snd/music/*"),
        ),
        (
            ("hedgewars-data", "usr/share/games/hedgewars/Data/Sounds/*"),
            ("freeciv-data", "usr/share/games/freeciv/stdsounds/*"),
            ("neverball-common", "usr/share/games/neverball/snd/*"),
        ),
        quiet_db=-38.0,
    ),
    # voices at 44.1 kHz and their whole band, for what makes a band that a recording lacks
    "voices": Recordings(
        (
            *_painted("da", "de", "en", "fr", "lt", "nn", "ru", "uk", "wa"),
            *_named("be", "ca", "es", "ro", "ru", "da"),
            *_spelled("ar", "cs", "da", "de", "en", "fr", "he", "it", "ml", "nb", "nds", "nl", "pt_BR", "ru", "uk"),
            *_shouted("Classic", "Default", "Default_es", "Default_pl", "Default_ru", "Default_uk", "HillBilly"),
            *_shouted("Mobster", "Russian", "Singer", "Surfer"),
        ),
        (),
        (),
    ),
    # others, to choose its settings on
    "voices_development": Recordings(
        (*_painted("el", "sl"), *_spelled("en_GB"), *_shouted("British", "Pirate")), (), ()
    ),
    # and again others, to choose settings on
    "development": Recordings(
        (*_painted("el", "sl"), *_named("el")),
        (("supertuxkart-data", "usr/share/games/supertuxkart/data/music/*"),),
        (("supertuxkart-data", "usr/share/games/supertuxkart/data/sfx/*"),),
        quiet_db=-35.0,
    ),
}


@cache
def files(root: Path, pattern: str) -> list[Path]:
    """The recordings below `root` that a pattern names, sorted.

    Raises:
        FileNotFoundError: there are none; names the folder and the pattern.
    """
    recordings = sorted(path for path in root.glob(pattern) if path.suffix in SUFFIXES)
    if not recordings:
        raise FileNotFoundError(f"{root}: no recordings like {pattern}; scripts/audio/free_recordings.py fetches them")
    return recordings


def quiet(data: np.ndarray, sample_rate: int, least_db: float = QUIET_DB) -> bool:
    """Whether the pauses of speech `[T]` are silent: noise in a target would teach that noise is speech."""
    size = int(FRAME_SEC * sample_rate)
    power = np.square(data[: len(data) // size * size].reshape(-1, size)).mean(axis=1) + 1e-12
    low, high = np.percentile(10 * np.log10(power), (5, 90))
    return bool(low - high < least_db)


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


def announcement(
    rng: np.random.Generator, root: Path, sample_rate: int, seconds: float, name: str = "separators"
) -> tuple[str, np.ndarray]:
    """Speaker, and at least `seconds` of prompts one after another, now and then resampled (pitch and formants)."""
    prompts = SETS[name].prompts
    _, pattern, speaker = prompts[rng.integers(len(prompts))]
    spoken = [path for path in files(root, pattern) if not any(word in path.name for word in NO_SPEECH)]
    warp = float(np.exp(rng.uniform(np.log(0.84), np.log(1.2)))) if rng.random() < 0.75 else 1.0
    parts: list[np.ndarray] = []
    tries = 0
    while sum(map(len, parts)) < seconds * sample_rate:
        tries += 1
        if not parts and tries > MOST_TRIES:
            raise ValueError(f"{speaker}: none of {MOST_TRIES} recordings has quiet pauses")
        part = read(spoken[rng.integers(len(spoken))], round(sample_rate / warp))
        if (
            len(part) > SHORTEST_SEC * sample_rate
            and np.abs(part).max() > 1e-3
            and quiet(part, sample_rate, SETS[name].quiet_db)
        ):
            parts += [part, np.zeros(int(rng.uniform(0.05, 0.4) * sample_rate), np.float32)]
    return speaker, np.concatenate(parts)


def piece(
    rng: np.random.Generator, root: Path, sample_rate: int, seconds: float, name: str = "separators"
) -> tuple[str, np.ndarray]:
    """Package and title of a piece of music, and a stretch of it that is not silent."""
    pieces = SETS[name].music
    package, pattern = pieces[rng.integers(len(pieces))]
    tracks = files(root, pattern)
    while True:
        path = tracks[rng.integers(len(tracks))]
        latest = max(0.0, duration_sec(path) - seconds)
        data = read(path, sample_rate, float(rng.uniform(0, latest)), seconds)
        if len(data) > sample_rate and np.sqrt(np.mean(np.square(data))) > 1e-3:
            return f"{package}:{path.stem}", data


def sounds(
    rng: np.random.Generator, root: Path, sample_rate: int, seconds: float, name: str = "separators"
) -> tuple[str, np.ndarray]:
    """Package, and at least `seconds` of its sounds one after another, each at its own level."""
    rows = SETS[name].sounds
    package, pattern = rows[rng.integers(len(rows))]
    heard = [path for path in files(root, pattern) if SPEECH not in path.name]
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * sample_rate:
        part = read(heard[rng.integers(len(heard))], sample_rate)
        peak = float(np.abs(part).max(initial=0.0))
        if peak > 1e-3:
            parts += [part * np.float32(10 ** (rng.uniform(-12, 0) / 20) / peak)]
    return f"{package}:sounds", np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that the packages are unpacked into")
    parser.add_argument("--set", choices=sorted(SETS), default="separators", help="which recordings")
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        for package in SETS[args.set].packages:
            print(package, flush=True)
            subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
        for path in sorted(Path(folder).glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(path), str(out)], check=True)


if __name__ == "__main__":
    main()
