"""Music by rules: genre templates -> MIDI (mido) -> audio (fluidsynth with the FluidR3 GM soundfont, MIT licence).

`TEST` genres play `TEST_PROGRAMS` only; they make the pilot input and the test split. Training hears them too, in other pieces.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import mido
import numpy as np
import soundfile as sf

SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
TICKS = 480
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
PROGRESSIONS = (
    (0, 4, 5, 3),
    (0, 5, 3, 4),
    (0, 3, 4, 0),
    (1, 4, 0, 5),
    (0, 2, 3, 4),
    (5, 3, 0, 4),
    (0, 6, 5, 4),
    (0, 0, 3, 4),
    (3, 4, 2, 5),
    (0, 4, 1, 3),
)
# General MIDI programs (0-based) that the test genres play and the others do not: harpsichord .. as listed in the GM standard.
TEST_PROGRAMS = frozenset({6, 13, 18, 21, 28, 32, 43, 46, 61, 65, 69, 78, 105, 110})

PIANO, ORGAN, GUITAR = (0, 1, 2, 3, 4, 5, 7), (16, 17, 19, 20, 22, 23), (24, 25, 26, 27, 29, 30, 31)
BASS = (33, 34, 35, 36, 37, 38, 39)
STRINGS, SOLO_STRINGS, ENSEMBLE = (48, 49, 50, 51, 44), (40, 41, 42), (48, 49, 50, 52, 53, 54)
BRASS, REEDS, PIPES = (56, 57, 58, 59, 60, 62, 63), (64, 66, 67, 68, 70, 71), (72, 73, 74, 75, 76, 77, 79)
SYNTH_LEAD, SYNTH_PAD = (80, 81, 82, 83, 84, 85, 86, 87), (88, 89, 90, 91, 92, 93, 94, 95)
MALLETS, PLUCKED, CHOIR = (8, 9, 10, 11, 12, 14, 15), (104, 106, 107, 108, 45), (52, 53, 54, 85, 91)


@dataclass(frozen=True)
class Part:
    """One instrument: what it plays (`role`) and which programs may play it."""

    role: str
    programs: tuple[int, ...]
    octave: int = 0
    level: int = 90


@dataclass(frozen=True)
class Genre:
    """A template: tempo range in beats a minute, beats a bar, parts, drum pattern (or "")."""

    name: str
    tempo: tuple[int, int]
    parts: tuple[Part, ...]
    drums: str = ""
    beats: int = 4
    scales: tuple[str, ...] = ("major", "minor")


TRAIN = (
    Genre(
        "pop",
        (90, 128),
        (
            Part("pulse", PIANO + GUITAR),
            Part("bass", BASS, -2),
            Part("melody", SYNTH_LEAD + REEDS + PIPES, 1),
            Part("pad", STRINGS + SYNTH_PAD, 0, 60),
        ),
        "rock",
    ),
    Genre(
        "rock",
        (100, 160),
        (Part("pulse", (29, 30, 27)), Part("bass", BASS, -2, 100), Part("melody", (29, 30, 81, 16), 1)),
        "rock",
    ),
    Genre(
        "ballad",
        (58, 84),
        (
            Part("arpeggio", PIANO + (24, 25)),
            Part("pad", STRINGS + CHOIR, 0, 70),
            Part("melody", SOLO_STRINGS + PIPES + REEDS, 1),
        ),
        "brush",
    ),
    Genre(
        "jazz",
        (100, 190),
        (Part("stabs", PIANO + (26,)), Part("walking", (33, 35), -2), Part("melody", REEDS + BRASS, 1)),
        "swing",
        4,
        ("dorian", "mixolydian", "major"),
    ),
    Genre(
        "bossa",
        (110, 145),
        (Part("stabs", (24, 25)), Part("bass", BASS, -2, 80), Part("melody", (73, 11, 66, 71), 1, 80)),
        "latin",
        4,
        ("major", "dorian"),
    ),
    Genre(
        "techno",
        (118, 140),
        (Part("arpeggio", SYNTH_LEAD), Part("bass", (38, 39), -2, 105), Part("pad", SYNTH_PAD, 0, 70)),
        "four",
        4,
        ("minor", "dorian"),
    ),
    Genre(
        "ambient",
        (50, 76),
        (Part("pad", SYNTH_PAD + CHOIR), Part("pad", STRINGS, -1, 70), Part("melody", MALLETS + PIPES, 1, 60)),
    ),
    Genre(
        "orchestral",
        (70, 130),
        (
            Part("pulse", STRINGS),
            Part("melody", BRASS + SOLO_STRINGS, 0),
            Part("bass", (42, 58, 70), -2),
            Part("melody", PIPES, 1, 70),
        ),
        "timpani",
    ),
    Genre(
        "baroque",
        (80, 120),
        (Part("arpeggio", (7, 19, 24)), Part("melody", PIPES + SOLO_STRINGS, 1), Part("walking", (42, 70), -2, 80)),
        "",
        3,
    ),
    Genre(
        "folk",
        (90, 130),
        (Part("arpeggio", (24, 25)), Part("melody", (74, 75, 40, 22), 1), Part("bass", (33, 35), -2, 70)),
    ),
    Genre("choral", (60, 90), (Part("pad", CHOIR), Part("melody", CHOIR, 1), Part("pad", (19, 20), -1, 60))),
    Genre(
        "funk",
        (95, 118),
        (Part("stabs", (27, 4, 7)), Part("bass", (36, 37, 33), -2, 105), Part("stabs", (62, 56, 66), 0, 80)),
        "funk",
        4,
        ("dorian", "mixolydian"),
    ),
    Genre(
        "lofi",
        (68, 90),
        (Part("stabs", (4, 5)), Part("bass", (33, 35, 39), -2, 80), Part("melody", (11, 26, 4), 1, 60)),
        "funk",
        4,
        ("dorian", "minor", "major"),
    ),
    Genre(
        "march",
        (100, 124),
        (Part("pulse", BRASS), Part("bass", (58, 57), -2), Part("melody", (56, 72, 60), 1)),
        "march",
    ),
    Genre(
        "world",
        (80, 130),
        (
            Part("arpeggio", PLUCKED + MALLETS),
            Part("melody", (75, 77, 79, 104, 107, 109, 111), 0),
            Part("pulse", (108, 114, 12), -1, 70),
        ),
        "latin",
    ),
    Genre(
        "chip",
        (110, 160),
        (Part("arpeggio", (80, 81), 1, 70), Part("melody", (80, 82), 1), Part("bass", (80, 38), -2)),
        "four",
    ),
    Genre("organ", (60, 100), (Part("pad", ORGAN), Part("melody", ORGAN, 1), Part("bass", ORGAN, -2, 70)), "", 4),
    Genre("solo_piano", (60, 140), (Part("arpeggio", PIANO, -1, 70), Part("melody", PIANO, 1))),
    Genre(
        "solo_lead",
        (60, 130),
        (Part("melody", SOLO_STRINGS + REEDS + BRASS + PIPES + SYNTH_LEAD + CHOIR + GUITAR + (109, 111)),),
    ),
    Genre(
        "duo",
        (60, 130),
        (Part("melody", SOLO_STRINGS + REEDS + PIPES + CHOIR, 1), Part("arpeggio", PIANO + PLUCKED + GUITAR, -1, 80)),
    ),
    Genre("beat", (80, 150), (Part("bass", BASS, -2),), "funk"),
    Genre(
        "strings", (60, 120), (Part("melody", SOLO_STRINGS, 1), Part("pulse", SOLO_STRINGS), Part("bass", (42,), -2))
    ),
)
TEST = (
    Genre("waltz", (120, 168), (Part("stabs", (21,)), Part("melody", (21, 110), 1), Part("bass", (32, 43), -2)), "", 3),
    Genre(
        "bigband",
        (110, 170),
        (Part("stabs", (61,)), Part("walking", (32,), -2), Part("melody", (65,), 0)),
        "swing",
        4,
        ("mixolydian", "dorian"),
    ),
    Genre(
        "celtic",
        (90, 126),
        (Part("arpeggio", (46, 105)), Part("melody", (78, 110), 1), Part("bass", (43,), -2, 70)),
        "brush",
        4,
        ("dorian", "major"),
    ),
    Genre(
        "reggae",
        (70, 92),
        (Part("stabs", (28, 18)), Part("bass", (32,), -2, 110), Part("melody", (13, 69), 1, 80)),
        "reggae",
    ),
    Genre(
        "continuo", (70, 110), (Part("arpeggio", (6,)), Part("melody", (69, 110), 1), Part("walking", (43,), -2, 80))
    ),
    Genre(
        "soul",
        (76, 108),
        (
            Part("pad", (18,), 0, 80),
            Part("stabs", (28, 61)),
            Part("bass", (32,), -2, 105),
            Part("melody", (65, 46), 1, 80),
        ),
        "funk",
        4,
        ("mixolydian", "minor"),
    ),
)
# Training hears every genre and instrument: real music will hold them all. What stays unseen is each piece (and, in speech, each
# voice); `TEST` genres are what the pilot input and the test split are made of.
GENRES = {"train": TRAIN + TEST, "valid": TRAIN, "test": TEST}

# Sixteenths of a bar -> (GM percussion key, velocity, probability)
DRUMS: dict[str, dict[int, list[int]]] = {
    "rock": {36: [0, 8, 10], 38: [4, 12], 42: [0, 2, 4, 6, 8, 10, 12, 14]},
    "four": {36: [0, 4, 8, 12], 39: [4, 12], 42: [2, 6, 10, 14], 46: [14]},
    "funk": {36: [0, 6, 10], 38: [4, 12], 37: [7, 15], 42: list(range(16))},
    "swing": {51: [0, 4, 7, 8, 12, 15], 44: [4, 12], 38: [10], 36: [0]},
    "latin": {36: [0, 6, 8, 14], 37: [3, 6, 10, 12], 70: list(range(0, 16, 2)), 63: [5, 13]},
    "brush": {38: [4, 12], 42: [0, 4, 8, 12], 36: [0, 9], 69: [2, 6, 10, 14]},
    "timpani": {49: [0], 47: [0, 12, 14], 43: [8]},
    "march": {38: [0, 2, 3, 4, 8, 10, 11, 12, 14], 36: [0, 8], 49: [0]},
    "reggae": {36: [8], 37: [8], 42: [0, 2, 4, 6, 8, 10, 12, 14], 76: [6, 14]},
}


@dataclass
class Note:
    start: float  # beats
    length: float  # beats
    key: int
    velocity: int


@dataclass
class Track:
    program: int
    channel: int
    level: int
    pan: int
    notes: list[Note] = field(default_factory=list)


def compose(rng: np.random.Generator, genre: Genre, seconds: float, keep_parts: int | None = None) -> mido.MidiFile:
    """A piece of a genre: random key, progression, instruments, levels and pan.

    Args:
        keep_parts: keep only so many of the parts (a duo or a solo of a full mix).
    """
    tempo = float(rng.uniform(*genre.tempo))
    bars = int(np.ceil(seconds * tempo / 60 / genre.beats))
    scale = SCALES[str(rng.choice(genre.scales))]
    tonic = int(rng.integers(48, 60))
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    parts = list(genre.parts)
    if keep_parts is not None and keep_parts < len(parts):
        parts = [parts[i] for i in sorted(rng.choice(len(parts), keep_parts, replace=False))]
    tracks = []
    for index, part in enumerate(parts):
        level = int(np.clip(part.level + rng.integers(-14, 15), 30, 127))
        track = Track(
            int(rng.choice(part.programs)), index if index < 9 else index + 1, level, int(rng.integers(24, 104))
        )
        _play(rng, part, track, scale, tonic, progression, bars, genre.beats)
        tracks.append(track)
    if genre.drums and (keep_parts is None or rng.random() < 0.4):
        tracks.append(_drum_track(rng, genre, bars))
    return _midi(rng, tracks, tempo)


def _chord(scale: tuple[int, ...], tonic: int, degree: int, size: int = 3) -> list[int]:
    steps = [degree + 2 * i for i in range(size)]
    return [tonic + 12 * (s // 7) + scale[s % 7] for s in steps]


def _play(
    rng: np.random.Generator,
    part: Part,
    track: Track,
    scale: tuple[int, ...],
    tonic: int,
    progression: tuple[int, ...],
    bars: int,
    beats: int,
) -> None:
    base = tonic + 12 * part.octave
    size = int(rng.choice([3, 3, 4]))
    step = float(rng.choice([0.25, 0.5, 0.5, 1.0])) if part.role == "arpeggio" else float(rng.choice([0.5, 1.0]))
    order = rng.permutation(size * 2)
    hits = sorted(rng.choice(np.arange(beats * 2), int(rng.integers(2, beats + 1)), replace=False) / 2)
    walk = int(rng.integers(0, 10))
    melody_rhythms = [
        [1, 1, 1, 1],
        [0.5] * 8,
        [1.5, 0.5, 2],
        [2, 1, 0.5, 0.5],
        [0.5, 0.5, 1, 2],
        [3, 1],
        [0.25] * 4 + [1, 2],
    ]
    motif = [melody_rhythms[rng.integers(len(melody_rhythms))] for _ in range(3)]
    for bar in range(bars):
        start = float(bar * beats)
        degree = progression[bar % len(progression)]
        chord = _chord(scale, base, degree, size)
        velocity = int(rng.integers(72, 112))
        if part.role == "pad":
            track.notes += [Note(start, beats * 0.98, key, velocity - 10) for key in chord]
        elif part.role == "pulse":
            track.notes += [
                Note(start + i * step, step * 0.85, key, velocity - 8 * (i % 2))
                for i in range(int(beats / step))
                for key in chord
            ]
        elif part.role == "stabs":
            track.notes += [Note(start + hit, 0.35, key, velocity) for hit in hits for key in chord]
        elif part.role == "arpeggio":
            keys = chord + [key + 12 for key in chord]
            track.notes += [
                Note(start + i * step, step * 1.1, keys[order[i % len(order)]], velocity - 6 * (i % 3))
                for i in range(int(beats / step))
            ]
        elif part.role == "bass":
            track.notes += [
                Note(
                    start + hit,
                    0.7,
                    chord[0] if rng.random() < 0.7 else chord[2] - 12 * int(rng.random() < 0.5),
                    velocity,
                )
                for hit in ([0.0] + [h for h in hits if h])
            ]
        elif part.role == "walking":
            line = [chord[0], chord[1], chord[2], chord[1] + int(rng.integers(1, 4))][:beats]
            track.notes += [Note(start + i, 0.9, key, velocity) for i, key in enumerate(line)]
        else:
            now = start
            rhythm = motif[bar % len(motif)]
            for length in rhythm:
                if now >= start + beats:
                    break
                walk = int(np.clip(walk + rng.integers(-3, 4), -2, 12))
                key = int(rng.choice(chord)) if rng.random() < 0.35 else base + 12 * (walk // 7) + scale[walk % 7]
                if rng.random() < 0.9:
                    track.notes.append(Note(now, float(length) * 0.95, key, velocity))
                now += float(length)


def _drum_track(rng: np.random.Generator, genre: Genre, bars: int) -> Track:
    track = Track(0, 9, int(rng.integers(70, 118)), 64)
    pattern = DRUMS[genre.drums]
    for bar in range(bars):
        for key, steps in pattern.items():
            for step in steps:
                if step / 4 < genre.beats and rng.random() < 0.95:
                    track.notes.append(Note(bar * genre.beats + step / 4, 0.2, key, int(rng.integers(70, 118))))
        if bar % 4 == 3 and rng.random() < 0.6:
            track.notes += [
                Note(bar * genre.beats + genre.beats - 1 + i / 4, 0.2, int(rng.choice([38, 45, 47, 50])), 105)
                for i in range(4)
            ]
    return track


def _midi(rng: np.random.Generator, tracks: list[Track], tempo: float) -> mido.MidiFile:
    midi = mido.MidiFile(ticks_per_beat=TICKS)
    head = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo), time=0)])
    midi.tracks.append(head)
    reverb = int(rng.integers(0, 90))
    for track in tracks:
        events: list[tuple[int, int, mido.Message]] = []
        for control, value in ((7, track.level), (10, track.pan), (91, reverb), (1, int(rng.integers(0, 40)))):
            events.append((0, 0, mido.Message("control_change", channel=track.channel, control=control, value=value)))
        events.append((0, 1, mido.Message("program_change", channel=track.channel, program=track.program)))
        for note in track.notes:
            key = int(np.clip(note.key, 12, 115))
            begin = max(0, int(note.start * TICKS + rng.normal(0, 5)))
            end = max(begin + 20, int((note.start + note.length) * TICKS))
            events.append(
                (
                    begin,
                    3,
                    mido.Message(
                        "note_on", channel=track.channel, note=key, velocity=int(np.clip(note.velocity, 1, 127))
                    ),
                )
            )
            events.append((end, 2, mido.Message("note_off", channel=track.channel, note=key, velocity=0)))
        events.sort(key=lambda event: event[:2])
        out, now = mido.MidiTrack(), 0
        for tick, _, message in events:
            out.append(message.copy(time=tick - now))
            now = tick
        midi.tracks.append(out)
    return midi


def render(midi: mido.MidiFile, sample_rate: int, seconds: float) -> np.ndarray:
    """Play a MIDI file: `[2, T]` float32, T = seconds * sample_rate.

    Raises:
        subprocess.CalledProcessError: fluidsynth failed (is it installed, with the soundfont?).
    """
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "piece.mid", Path(folder) / "piece.wav"
        midi.save(str(source))
        command = ["fluidsynth", "-ni", "-q", "-g", "0.4", "-r", str(sample_rate), "-O", "float", "-F", str(out)]
        subprocess.run([*command, SOUNDFONT, str(source)], check=True, capture_output=True)
        data, _ = sf.read(str(out), dtype="float32", always_2d=True)
    length = int(seconds * sample_rate)
    data = np.pad(data, ((0, max(0, length - len(data))), (0, 0)))[:length]
    return np.ascontiguousarray(data.T)
