"""Material of `synth_music`: scales, progressions, genre templates with their instruments, drum patterns.

`TEST` genres play instruments that the others do not; they make the pilot input and the test split. Training hears them too, in other
pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

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
# General MIDI programs, 0-based
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

# GM percussion key -> sixteenths of a bar
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
