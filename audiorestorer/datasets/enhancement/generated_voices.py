"""Speech-like voices by formulas: a glottal buzz and noise through resonances that move from sound to sound (Fant 1960; Klatt 1980).

No words, but the features that the enhancer's networks need: pitch, formants of one vocal tract per speaker, fricatives up to the
Nyquist frequency, bursts, pauses. Numpy only: it runs where no synthesiser is installed. Equal generators give equal voices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# First three formants in Hz, men's averages (Peterson & Barney 1952); sonorants after Klatt 1980
VOWELS = {
    "i": (270, 2290, 3010), "I": (390, 1990, 2550), "e": (530, 1840, 2480), "ae": (660, 1720, 2410), "a": (730, 1090, 2440),
    "o": (570, 840, 2410), "U": (440, 1020, 2240), "u": (300, 870, 2240), "A": (640, 1190, 2390), "er": (490, 1350, 1690),
}  # fmt: skip
SONORANTS = {
    "m": (280, 1100, 2200),
    "n": (280, 1700, 2600),
    "l": (360, 1300, 2700),
    "r": (310, 1060, 1380),
    "j": (260, 2070, 3020),
}
HISSES = {
    "s": (6500.0, 1800.0, 1.0),
    "sh": (3300.0, 1200.0, 1.0),
    "f": (7000.0, 6000.0, 0.25),
    "th": (5500.0, 5000.0, 0.2),
}
BURSTS = {"p": (900.0, 900.0), "t": (4200.0, 1800.0), "k": (1900.0, 700.0)}  # centre and half-width, Hz
UPPER_HZ = 1000.0  # distance of the formants above the third: those of a uniform tube of 17.5 cm
LEAST_WIDTH_HZ, WIDTH_SHARE = 50.0, 0.05  # a formant's bandwidth
FRAME_SEC = 0.005
WINDOW_FRAMES = 4  # frames per window of the source
SMOOTH_SEC = 0.03  # time that the tongue takes from sound to sound


@dataclass(frozen=True)
class Speaker:
    """Properties of a voice that stay the same from word to word."""

    pitch_hz: float
    tract: float  # formants over those of the tables: 17.5 cm over the tract's length
    corner_hz: (
        float  # corner of the glottal buzz, which falls by 6 dB per octave above it, the lips' radiation included
    )
    breath: float  # noise in vowels, over the buzz
    jitter: float  # standard deviation of a period, as a share of it
    hiss: float  # level of fricatives
    syllable_sec: float


def draw_speaker(rng: np.random.Generator) -> Speaker:
    """A random speaker: high voices have short tracts."""
    height = rng.uniform()
    return Speaker(
        pitch_hz=float(90 * 2.6**height * rng.uniform(0.85, 1.15)),
        tract=float((0.92 + 0.28 * height) * rng.uniform(0.95, 1.05)),
        corner_hz=float(rng.uniform(300, 1200)),
        breath=float(rng.uniform(0.02, 0.15)),
        jitter=float(rng.uniform(0.002, 0.012)),
        hiss=float(rng.uniform(0.5, 1.5)),
        syllable_sec=float(rng.uniform(0.16, 0.26)),
    )


@dataclass
class _Track:
    """Parameters by frame: three formants, levels of buzz and breath, a noise band's centre, half-width and level."""

    formants: Floats
    buzz: Floats
    breath: Floats
    centre: Floats
    width: Floats
    hiss: Floats


def speak(rng: np.random.Generator, speaker: Speaker, seconds: float, sample_rate: int) -> NDArray[np.float32]:
    """Sounds of a speaker, in phrases with pauses: `[T]`, largest sample 0.5."""
    hop = round(FRAME_SEC * sample_rate)
    length = int(seconds * sample_rate)
    track, melody = _plan(rng, speaker, length // hop + 1)
    buzz = _buzz(rng, speaker, melody, hop, sample_rate)
    noise = rng.standard_normal(len(buzz))
    frequency: Floats = np.asarray(np.fft.rfftfreq(2 * WINDOW_FRAMES * hop, 1 / sample_rate), np.float64)
    mouth = _mouth(track.formants, speaker.tract, frequency)
    tilt = 1 / (1 + 1j * frequency / speaker.corner_hz)
    band = 1 / (1 + ((frequency - track.centre[:, None]) / track.width[:, None]) ** 2)
    voiced = _filtered(buzz, hop, mouth * tilt * track.buzz[:, None])
    breathed = _filtered(noise, hop, mouth * track.breath[:, None] * 0.02)
    hissed = _filtered(noise, hop, band * track.hiss[:, None] * 0.25)
    out = (voiced + breathed + hissed)[:length]
    return np.asarray(0.5 * out / max(float(np.abs(out).max()), 1e-9), np.float32)


def _plan(rng: np.random.Generator, speaker: Speaker, frames: int) -> tuple[_Track, Floats]:
    """Sounds one after the other, smoothed, and the pitch in Hz of each frame."""
    rows: list[tuple[float, ...]] = []
    melody: list[Floats] = []
    while len(rows) < frames:
        phrase: list[tuple[float, ...]] = []
        for _ in range(int(rng.integers(4, 12))):
            phrase += _syllable(rng, speaker)
        fall = np.linspace(1.12, 0.86, len(phrase)) * 2 ** (
            0.1 * np.sin(np.linspace(0, rng.uniform(4, 12), len(phrase)))
        )
        pause = int(rng.uniform(0.1, 0.5) / FRAME_SEC)
        melody += [speaker.pitch_hz * fall, np.full(pause, speaker.pitch_hz)]
        rows += phrase + [(*phrase[-1][:3], 0.0, 0.0, 3000.0, 1000.0, 0.0)] * pause
    table = np.asarray(rows[:frames])
    table[:, :3] = _smooth(table[:, :3], SMOOTH_SEC)
    table[:, 3:5] = _smooth(table[:, 3:5], SMOOTH_SEC / 2)
    table[:, 7:] = _smooth(table[:, 7:], SMOOTH_SEC / 3)
    columns = table.T
    track = _Track(table[:, :3], columns[3], columns[4], columns[5], columns[6], columns[7])
    return track, np.concatenate(melody)[:frames]


def _syllable(rng: np.random.Generator, speaker: Speaker) -> list[tuple[float, ...]]:
    """Frames of a consonant, a vowel and sometimes another consonant: formants, buzz, breath, centre, width, hiss."""
    vowel = VOWELS[str(rng.choice(list(VOWELS)))]
    stress = rng.uniform(0.5, 1.0)
    count = max(6, round(speaker.syllable_sec * rng.uniform(0.6, 1.3) / FRAME_SEC))
    middle = [(*vowel, stress, stress * speaker.breath * 10, 3000.0, 1000.0, 0.0)] * count
    after = _consonant(rng, speaker, vowel) if rng.random() < 0.4 else []
    return _consonant(rng, speaker, vowel) + middle + after


def _consonant(
    rng: np.random.Generator, speaker: Speaker, vowel: tuple[float, float, float]
) -> list[tuple[float, ...]]:
    kind = rng.choice(["hiss", "burst", "sonorant", "h", "none"], p=[0.3, 0.3, 0.25, 0.05, 0.1])
    if kind == "hiss":
        centre, width, level = HISSES[str(rng.choice(list(HISSES)))]
        voiced = 0.25 if rng.random() < 0.3 else 0.0
        row = (*vowel, voiced, 0.0, centre * speaker.tract, width, level * speaker.hiss)
        return [row] * int(rng.integers(12, 28))
    if kind == "burst":
        centre, width = BURSTS[str(rng.choice(list(BURSTS)))]
        closed = (*vowel, 0.0, 0.0, centre, width, 0.0)
        burst = (*vowel, 0.0, 0.5, centre * speaker.tract, width, 1.5 * speaker.hiss)
        puff = (*vowel, 0.0, 1.0, centre, width, 0.0)
        counts = (int(rng.integers(8, 16)), 3, int(rng.integers(0, 9)))
        return [row for row, count in zip((closed, burst, puff), counts, strict=True) for _ in range(count)]
    if kind == "sonorant":
        row = (*SONORANTS[str(rng.choice(list(SONORANTS)))], 0.45, 0.1, 3000.0, 1000.0, 0.0)
        return [row] * int(rng.integers(8, 18))
    if kind == "h":
        return [(*vowel, 0.0, 1.5, 3000.0, 1000.0, 0.0)] * int(rng.integers(8, 18))
    return []


def _smooth(table: Floats, seconds: float) -> Floats:
    size = max(1, round(seconds / FRAME_SEC))
    shape = np.hanning(size + 2)[1:-1]
    padded = np.pad(table, ((size // 2, size - 1 - size // 2), (0, 0)), mode="edge")
    columns = [np.convolve(column, shape / shape.sum(), "valid") for column in padded.T]
    return np.stack(columns, axis=1)


def _buzz(rng: np.random.Generator, speaker: Speaker, melody: Floats, hop: int, rate: int) -> Floats:
    """A pulse at the start of each period; a pulse between two samples is shared by them."""
    pitch = np.interp(np.arange(len(melody) * hop), np.arange(len(melody)) * hop, melody)
    phase = np.cumsum(pitch / rate)
    count = int(phase[-1])
    places = np.interp(np.arange(count) + speaker.jitter * rng.standard_normal(count), phase, np.arange(len(phase)))
    whole = np.floor(places).astype(np.int64).clip(0, len(phase) - 2)
    part = places - whole
    out = np.zeros(len(phase))
    size = np.sqrt(rate / pitch[whole]) * (1 + 0.05 * rng.standard_normal(count))  # equal power at every pitch
    np.add.at(out, whole, (1 - part) * size)
    np.add.at(out, whole + 1, part * size)
    return out


def _mouth(formants: Floats, tract: float, frequency: Floats) -> NDArray[np.complex128]:
    """Resonators in a row, one per formant up to the Nyquist frequency: `[frames, bins]`."""
    upper = np.arange(3.5, frequency[-1] / UPPER_HZ / tract, 1.0) * UPPER_HZ
    out = np.ones((len(formants), len(frequency)), np.complex128)
    for centre in (*formants.T, *upper[:, None]):
        peak = (centre * tract)[:, None]
        width = LEAST_WIDTH_HZ + WIDTH_SHARE * peak
        out *= peak**2 / (peak**2 - frequency**2 + 1j * frequency * width)
    return out


def _filtered(source: Floats, hop: int, response: NDArray[np.complexfloating] | Floats) -> Floats:
    """Source `[frames * hop]` through one response per frame, `[frames, bins]`: overlap-add, a response rings for a window at most."""
    size = WINDOW_FRAMES * hop
    # a Hann window of four frames sums to 2
    window = 0.5 * np.hanning(size + 1)[:-1]
    padded = np.pad(source, (size // 2, size))
    out = np.zeros(len(padded) + size)
    for frame, each in enumerate(response):
        begin = frame * hop
        part = np.fft.irfft(np.fft.rfft(window * padded[begin : begin + size], 2 * size) * each)
        out[begin : begin + 2 * size] += part
    return np.asarray(out[size // 2 : size // 2 + len(source)])
