"""Music by rules: genre templates (`music_genres`) -> MIDI (mido) -> audio (fluidsynth with the FluidR3 GM soundfont, MIT licence)."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import mido
import numpy as np
import soundfile as sf

from scripts.audio.music_genres import DRUMS, PROGRESSIONS, SCALES, Genre, Part

SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
TICKS = 480


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


@dataclass(frozen=True)
class Song:
    """Properties that all parts of a piece share."""

    scale: tuple[int, ...]
    tonic: int
    progression: tuple[int, ...]
    bars: int
    beats: int

    def chord(self, bar: int, octave: int, size: int) -> list[int]:
        """Stacked thirds on the bar's degree."""
        steps = [self.progression[bar % len(self.progression)] + 2 * i for i in range(size)]
        return [self.tonic + 12 * octave + 12 * (s // 7) + self.scale[s % 7] for s in steps]


@dataclass(frozen=True)
class Figure:
    """Pattern that a part repeats in each bar."""

    step: float  # beats
    order: np.ndarray  # of an arpeggio's keys
    hits: list[float]  # beats


MELODY_RHYTHMS = (
    [1, 1, 1, 1],
    [0.5] * 8,
    [1.5, 0.5, 2],
    [2, 1, 0.5, 0.5],
    [0.5, 0.5, 1, 2],
    [3, 1],
    [0.25] * 4 + [1, 2],
)


def compose(rng: np.random.Generator, genre: Genre, seconds: float, keep_parts: int | None = None) -> mido.MidiFile:
    """A piece of a genre: random key, progression, instruments, levels and pan.

    Args:
        keep_parts: keep only so many of the parts (a duo or a solo of a full mix).
    """
    tempo = float(rng.uniform(*genre.tempo))
    song = Song(
        scale=SCALES[str(rng.choice(genre.scales))],
        tonic=int(rng.integers(48, 60)),
        progression=PROGRESSIONS[rng.integers(len(PROGRESSIONS))],
        bars=int(np.ceil(seconds * tempo / 60 / genre.beats)),
        beats=genre.beats,
    )
    parts = list(genre.parts)
    if keep_parts is not None and keep_parts < len(parts):
        parts = [parts[i] for i in sorted(rng.choice(len(parts), keep_parts, replace=False))]
    tracks = []
    for index, part in enumerate(parts):
        level = int(np.clip(part.level + rng.integers(-14, 15), 30, 127))
        program, pan = int(rng.choice(part.programs)), int(rng.integers(24, 104))
        tracks.append(Track(program, index if index < 9 else index + 1, level, pan, _play(rng, part, song)))
    if genre.drums and (keep_parts is None or rng.random() < 0.4):
        tracks.append(_drum_track(rng, genre, song.bars))
    return _midi(rng, tracks, tempo)


def _play(rng: np.random.Generator, part: Part, song: Song) -> list[Note]:
    """A part's notes. Every role draws the same numbers first, so that a piece follows from its seed whatever its parts are."""
    size = int(rng.choice([3, 3, 4]))
    step = float(rng.choice([0.25, 0.5, 0.5, 1.0])) if part.role == "arpeggio" else float(rng.choice([0.5, 1.0]))
    order = rng.permutation(size * 2)
    hits = sorted(rng.choice(np.arange(song.beats * 2), int(rng.integers(2, song.beats + 1)), replace=False) / 2)
    figure = Figure(step, order, hits)
    walk = int(rng.integers(0, 10))
    motif = [MELODY_RHYTHMS[rng.integers(len(MELODY_RHYTHMS))] for _ in range(3)]
    notes = []
    for bar in range(song.bars):
        start, chord, velocity = float(bar * song.beats), song.chord(bar, part.octave, size), int(rng.integers(72, 112))
        if part.role == "melody":
            line, walk = _melody(rng, part, song, start, chord, motif[bar % len(motif)], walk, velocity)
            notes += line
        else:
            notes += _accompaniment(rng, part.role, figure, song.beats, start, chord, velocity)
    return notes


def _accompaniment(
    rng: np.random.Generator, role: str, figure: Figure, beats: int, start: float, chord: list[int], velocity: int
) -> list[Note]:
    """One bar of any role but the melody."""
    step, pulses = figure.step, range(int(beats / figure.step))
    if role == "pad":
        return [Note(start, beats * 0.98, key, velocity - 10) for key in chord]
    if role == "pulse":
        return [Note(start + i * step, step * 0.85, key, velocity - 8 * (i % 2)) for i in pulses for key in chord]
    if role == "stabs":
        return [Note(start + hit, 0.35, key, velocity) for hit in figure.hits for key in chord]
    if role == "arpeggio":
        keys, order = chord + [key + 12 for key in chord], figure.order
        return [Note(start + i * step, step * 1.1, keys[order[i % len(order)]], velocity - 6 * (i % 3)) for i in pulses]
    if role == "bass":
        return [
            Note(
                start + hit, 0.7, chord[0] if rng.random() < 0.7 else chord[2] - 12 * int(rng.random() < 0.5), velocity
            )
            for hit in [0.0, *(h for h in figure.hits if h)]
        ]
    if role == "walking":
        line = [chord[0], chord[1], chord[2], chord[1] + int(rng.integers(1, 4))][:beats]
        return [Note(start + i, 0.9, key, velocity) for i, key in enumerate(line)]
    raise ValueError(f"no role {role!r}")


def _melody(
    rng: np.random.Generator, part: Part, song: Song, start: float, chord: list[int], rhythm: list[float], walk: int,
    velocity: int,
) -> tuple[list[Note], int]:  # fmt: skip
    """One bar of a melody that walks over the scale from degree `walk`, and where it has come to."""
    notes, now = [], start
    for length in rhythm:
        if now >= start + song.beats:
            break
        walk = int(np.clip(walk + rng.integers(-3, 4), -2, 12))
        degree = song.tonic + 12 * part.octave + 12 * (walk // 7) + song.scale[walk % 7]
        key = int(rng.choice(chord)) if rng.random() < 0.35 else degree
        if rng.random() < 0.9:
            notes.append(Note(now, float(length) * 0.95, key, velocity))
        now += float(length)
    return notes, walk


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
