"""Twelve kinds of recordings that separators find hard, made of real voices, music and sounds: `make(data, out)`.

Each clip has a reference: the voice as it would be without what was added. Of the kinds in `CLEAN` nothing was added, so what a chain
changes is its error. Whisper, shout, child and telephone are made of normal voices by formulas (each function says how).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.signal
import soundfile as sf
import soxr

from audiorestorer.datasets.levels import scale_to_snr

Mono = np.ndarray  # `[T]` float32
RATE, TELEPHONE_HZ = 44_100, 8_000
SECONDS, CLIPS, PEAK = 6.0, 4, 0.7
SIZE = int(SECONDS * RATE)
CLEAN = ("two_speakers", "whisper", "shout", "child", "telephone")
# kind -> (recording below the data folder, dB of the speech over it); several are taken in turn
ADDED: dict[str, tuple[tuple[str, ...], float]] = {
    "singing_under_speech": (("more/music/lets_go_fishin_vocals", "more/music/outfoxing_the_fox"), 3.0),
    "loud_music": (("music/hungarian_dance", "more/music/limit_70", "more/music/vibe_ace"), -5.0),
    "hum": (("more/noise/electrical_hum",), 5.0),
    "wind": (("more/noise/city_snow_wind",), 5.0),
    "crowd": (("more/noise/crowd_medium_distance",), 5.0),
}
KINDS = (*CLEAN, *ADDED, "keyboard", "far_microphone")
VOICES = "more/speech"


def read(path: Path, seconds: float = SECONDS, offset_sec: float = 0.0) -> Mono:
    """Mono at `RATE`; a shorter recording is repeated."""
    found = next(path.parent.glob(f"{path.name}.*"))
    audio, rate = sf.read(found, dtype="float32", always_2d=True)
    mono = soxr.resample(audio.mean(axis=1), rate, RATE).astype(np.float32)
    places = (np.arange(int(seconds * RATE)) + int(offset_sec * RATE)) % len(mono)
    return np.asarray(mono[places])


def voices(data: Path) -> list[Path]:
    """Those of at least four seconds, without suffix, one of each reader."""
    found: dict[str, Path] = {}
    for path in sorted((data / VOICES).glob("*.flac")):
        reader = "_".join(path.stem.replace("-", "_").split("_")[:2])
        if sf.info(path).duration >= 4.0:
            found.setdefault(reader, path.with_suffix(""))
    return list(found.values())


def voice(path: Path) -> Mono:
    info = sf.info(path.with_suffix(".flac"))
    return read(path, min(SECONDS, info.duration))


def whisper(speech: Mono, rng: np.random.Generator) -> Mono:
    """The same vocal tract, driven by noise: in frames of 25 ms the prediction error of an AR(22) model gives way to noise of its
    energy, tilted up by 6 dB per octave above 1 kHz as whispers are."""
    size, hop, order = int(0.025 * RATE), int(0.0125 * RATE), 22
    window = np.hanning(size)
    out = np.zeros(len(speech))
    for start in range(0, len(speech) - size, hop):
        frame = speech[start : start + size] * window
        lags = np.correlate(frame, frame, "full")[size - 1 : size + order]
        if lags[0] < 1e-8:
            continue
        lags[0] *= 1.0001
        taps = np.concatenate([[1.0], -scipy.linalg.solve_toeplitz(lags[:-1], lags[1:])])
        error = scipy.signal.lfilter(taps, [1.0], frame)
        noise = rng.standard_normal(size) * np.sqrt(np.mean(np.square(error)))
        out[start : start + size] += scipy.signal.lfilter([1.0], taps, noise) * window
    shelf = scipy.signal.butter(1, 1000, "highpass", fs=RATE, output="sos")
    return np.asarray(scipy.signal.sosfilt(shelf, out), np.float32)


def shout(speech: Mono) -> Mono:
    """A third higher, its treble up by 9 dB and its peaks rounded."""
    faster = soxr.resample(speech, RATE * 1.25, RATE)
    treble = scipy.signal.sosfilt(scipy.signal.butter(1, 1500, "highpass", fs=RATE, output="sos"), faster)
    strong = faster + 1.8 * treble
    return np.asarray(np.tanh(3 * strong / np.abs(strong).max()), np.float32)


def child(speech: Mono) -> Mono:
    """A shorter vocal tract and a higher pitch: faster by 1.4."""
    return np.asarray(soxr.resample(speech, RATE * 1.4, RATE), np.float32)


def telephone(speech: Mono) -> Mono:
    """300 to 3400 Hz at 8 kHz in 8 bits of mu-law (G.711), at the same rate afterwards."""
    narrow = soxr.resample(speech, RATE, TELEPHONE_HZ)
    narrow = scipy.signal.sosfiltfilt(
        scipy.signal.butter(4, [300, 3400], "bandpass", fs=TELEPHONE_HZ, output="sos"), narrow
    )
    narrow = narrow / np.abs(narrow).max()
    coded = np.round(127 * np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)) / 127
    return np.asarray(np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255, np.float32)


def keys(count: int, rng: np.random.Generator) -> Mono:
    """Keystrokes: two bursts of noise each, 60 ms apart, through a resonance, six times a second."""
    out = np.zeros(count)
    place = 0
    while place < count:
        body = scipy.signal.butter(2, [900 * rng.uniform(0.7, 1.4), 6000], "bandpass", fs=RATE, output="sos")
        for delay, level in ((0.0, 1.0), (0.06, 0.5)):
            length = int(0.02 * RATE)
            burst = scipy.signal.sosfilt(body, rng.standard_normal(length)) * np.exp(
                -np.arange(length) / (0.004 * RATE)
            )
            at = place + int(delay * RATE)
            out[at : at + length] += level * burst[: max(0, count - at)]
        place += int(RATE * rng.uniform(0.08, 0.25))
    return np.asarray(out, np.float32)


def _case(kind: str, number: int, paths: list[Path], data: Path) -> tuple[Mono, Mono, int]:
    """Recording, reference and rate."""
    rng = np.random.default_rng((KINDS.index(kind), number))
    place = (KINDS.index(kind) * CLIPS + number) % len(paths)
    speech = voice(paths[place])
    other = voice(paths[(place + 7) % len(paths)])
    alone: Mapping[str, Callable[[], Mono]] = {
        "whisper": lambda: whisper(speech, rng), "shout": lambda: shout(speech), "child": lambda: child(speech),
        "telephone": lambda: telephone(speech),
        "two_speakers": lambda: np.resize(speech, SIZE) + scale_to_snr(np.resize(speech, SIZE), np.resize(other, SIZE), 3.0, RATE),
    }  # fmt: skip
    if kind in alone:
        signal = alone[kind]()
        return signal, signal, TELEPHONE_HZ if kind == "telephone" else RATE
    if kind == "far_microphone":
        response = read(data / "more/rir/kitchen_true_stereo", 1.4)
        room = scipy.signal.fftconvolve(speech, response)[: len(speech)].astype(np.float32)
        fan = read(data / "more/noise/computer_fan", SECONDS, number)
        return room + scale_to_snr(room, np.resize(fan, len(room)), 10.0, RATE), room, RATE
    if kind == "keyboard":
        added, level_db = keys(len(speech), rng), 5.0
    else:
        names, level_db = ADDED[kind]
        added = np.resize(read(data / names[number % len(names)], SECONDS, 5.0 * number), len(speech))
    return speech + scale_to_snr(speech, added, level_db, RATE), speech, RATE


def make(data: Path, out: Path) -> None:
    """Write `out/KIND/N_noisy.flac` and `N_clean.flac`, four of each kind."""
    paths = voices(data)
    for kind in KINDS:
        (out / kind).mkdir(parents=True, exist_ok=True)
        for number in range(CLIPS):
            noisy, clean, rate = _case(kind, number, paths, data)
            gain = PEAK / np.abs(noisy).max()
            for side, signal in (("noisy", noisy), ("clean", clean)):
                sf.write(out / kind / f"{number}_{side}.flac", gain * signal, rate, subtype="PCM_24")
