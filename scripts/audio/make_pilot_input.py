"""Make `data/pilot`: a small batch of synthetic speech over synthetic music, with clean references and transcripts.

    python -m scripts.audio.make_pilot_input --out data/pilot --seed 42

Voices are those that the training audio never uses, and so is every piece (`test` of synth_speech and synth_music, own seeds).
Needs espeak-ng, flite, festival, fluidsynth with FluidR3_GM, and mido; the result is committed, so nobody else does.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from audiorestorer import audio
from audiorestorer.datasets.levels import scale_to_snr
from scripts.audio import music_genres, synth_music, synth_speech
from scripts.audio.synth_speech import Voice

AWB = Voice("flite", "awb", "test")
SLT_HTS = Voice("festival", "cmu_us_slt_arctic_hts", "test")
MUSIC_TAIL_SEC = 0.35
GENRES = {genre.name: genre for genre in music_genres.TEST}


@dataclass(frozen=True)
class Clip:
    path: str
    rate: int
    snr_db: float
    genre: str
    voice: Voice
    text: str
    peak: float = 0.7
    channels: int = 1


CLIPS = (
    Clip(
        "seed_42_run1/text_batched_generated.wav",
        24000,
        0,
        "bigband",
        AWB,
        "The parcel on the kitchen table belongs to the lady upstairs, so please do not open it.",
    ),
    Clip(
        "seed_42_run2/text_batched_generated.wav",
        24000,
        5,
        "celtic",
        SLT_HTS,
        "Our ferry leaves the island at half past nine, whatever the weather decides to do.",
    ),
    Clip(
        "seed_43_run1/text_batched_generated.wav",
        16000,
        10,
        "waltz",
        Voice("espeak", "en-gb-x-rp+Alicia", "test", 55, 150),
        "Every shelf in the cellar was covered with dust, except for the one that held the violins.",
    ),
    Clip(
        "seed_43_run1/retake/text_batched_generated.wav",
        22050,
        0,
        "reggae",
        SLT_HTS,
        "Turn left at the bakery, cross the small square, and ring the bell beside the green door.",
    ),
    Clip(
        "café menu/wärm up take 1.flac",
        44100,
        5,
        "soul",
        AWB,
        "Today we serve onion soup, grilled trout with lemon, and a slice of walnut cake.",
        0.5,
    ),
    Clip(
        "podcast/season 1/episode_01_intro.ogg",
        44100,
        10,
        "reggae",
        AWB,
        "Welcome back to the garden hour, where patience is a tool and rain is a friend.",
    ),
    Clip(
        "podcast/season 1/episode_02_intro.mp3",
        44100,
        0,
        "celtic",
        Voice("espeak", "en-us-nyc+victor", "test", 45, 150),
        "Last week a listener asked us why tomatoes split, and the answer may surprise you.",
    ),
    Clip(
        "stereo/station_announcement.flac",
        44100,
        5,
        "continuo",
        SLT_HTS,
        "The night train to the coast now departs from platform eleven, not from platform four.",
        0.6,
        2,
    ),
    Clip(
        "audiobook/chapter_03.opus",
        48000,
        10,
        "continuo",
        AWB,
        "He wrote the number on his sleeve, closed the heavy gate, and walked towards the mill.",
        0.25,
    ),
    Clip(
        "audiobook/chapter_04.flac",
        24000,
        0,
        "waltz",
        AWB,
        "Nobody had told the children that the river could be heard from the attic at night.",
    ),
    Clip(
        "help_line/menu.m4a",
        16000,
        5,
        "bigband",
        Voice("espeak", "en-gb-x-rp+linda", "test", 60, 155),
        "For questions about a delivery press two, or stay on the line and enjoy the music.",
        0.9,
    ),
    Clip(
        "help_line/closing.wav",
        16000,
        10,
        "soul",
        SLT_HTS,
        "We are closed on Sunday, but you may leave your name and a short message after the tone.",
    ),
)
SILENT = "broken/silent.wav"
TRUNCATED = "broken/truncated.flac"


def trim(mono: np.ndarray, rate: int) -> np.ndarray:
    """Pad a bit of silence around the speech, so that the music is heard alone at both ends."""
    edge = np.zeros(int(MUSIC_TAIL_SEC * rate), np.float32)
    return np.concatenate([edge, mono, edge])


def make(clip: Clip, number: int, seed: int, out: Path) -> None:
    """Write one mixture and its reference."""
    rng = np.random.default_rng((seed, number))
    speech = trim(synth_speech.render(clip.voice, clip.text, clip.rate), clip.rate)
    seconds = len(speech) / clip.rate
    piece = synth_music.render(synth_music.compose(rng, GENRES[clip.genre], seconds + 8), 44100, seconds + 8)
    piece = soxr.resample(piece.T, 44100, clip.rate, quality="HQ").T
    start = int(2.5 * clip.rate)
    music = np.ascontiguousarray(piece[:, start : start + len(speech)])
    if clip.channels == 1:
        music = music.mean(axis=0, keepdims=True)
    target = np.repeat(speech[None], clip.channels, axis=0)
    music = (
        scale_to_snr(target.T.reshape(-1), music.T.reshape(-1), clip.snr_db, clip.rate * clip.channels)
        .reshape(-1, clip.channels)
        .T
    )
    mixture = target + music
    gain = clip.peak / np.abs(mixture).max()
    mixture, target = gain * mixture, gain * target
    if Path(clip.path).suffix == ".m4a":
        mixture = in_surround(mixture, gain * music, clip.rate)
    path = out / "input" / clip.path
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {
        ".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS"), ".mp3": ("MP3", "MPEG_LAYER_III"),
        ".m4a": ("AAC", "keep"), ".opus": ("OPUS", "keep"),
    }  # fmt: skip
    kind, subtype = kinds[path.suffix]
    if subtype == "keep":
        given, bit_rate = mixture.astype(np.float32), 48_000 * (1 + len(mixture))
        audio.write_blocks(path, [given], clip.rate, len(given), format=kind, subtype=subtype, bit_rate=bit_rate)
    else:
        sf.write(path, mixture.T, clip.rate, format=kind, subtype=subtype)
    decoded, _ = audio.read(path)
    heard = slice(2, 3) if len(mixture) > 2 else slice(None)  # of 5.1 the centre
    target = aligned(target.astype(np.float32), mixture[heard].astype(np.float32), decoded[heard])
    reference = (out / "clean" / clip.path).with_suffix(".flac")
    reference.parent.mkdir(parents=True, exist_ok=True)
    sf.write(reference, target.T, clip.rate, format="FLAC", subtype="PCM_16")


def in_surround(mixture: np.ndarray, music: np.ndarray, rate: int) -> np.ndarray:
    """5.1 of a mono mixture: it is the centre, and its music comes from all sides. `[1, T]` twice to `[6, T]`."""
    low = np.cumsum(music, axis=1) / rate

    sides = [np.roll(0.5 * music, round(delay * rate), axis=1) for delay in (0.0, 0.004, 0.013, 0.017)]
    return np.concatenate(
        [sides[0], sides[1], mixture, 0.3 * low / max(np.abs(low).max(), 1e-9), 0.7 * sides[2], 0.7 * sides[3]]
    )


def aligned(target: np.ndarray, mixture: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """The reference, shifted by the codec's delay and cut to the decoded length."""
    size = 1 << int(mixture.shape[1] + decoded.shape[1]).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(decoded[0], size) * np.conj(np.fft.rfft(mixture[0], size)), size)
    delay = int(np.argmax(correlation))
    delay = delay - size if delay > size // 2 else delay
    length = decoded.shape[1]
    shifted = np.pad(target, ((0, 0), (max(0, delay), 0)))[:, max(0, -delay) :]
    return np.pad(shifted, ((0, 0), (0, max(0, length - shifted.shape[1]))))[:, :length]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/pilot"), help="folder for the pilot data")
    parser.add_argument("--seed", type=int, default=42, help="seed of everything that is drawn")
    args = parser.parse_args()
    for folder in ("input", "clean"):
        shutil.rmtree(args.out / folder, ignore_errors=True)
    rows = ["path\ttranscript\tvoice\tmusic\tsnr_db"]
    for number, clip in enumerate(CLIPS):
        make(clip, number, args.seed, args.out)
        rows.append(f"{clip.path}\t{clip.text}\t{clip.voice.label}\t{clip.genre}\t{clip.snr_db:g}")
        print(f"pilot input: {number + 1}/{len(CLIPS)} {clip.path}", file=sys.stderr)
    (args.out / "transcripts.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    broken = args.out / "input" / SILENT
    broken.parent.mkdir(parents=True, exist_ok=True)
    sf.write(broken, np.zeros(2 * 22050, np.float32), 22050, subtype="PCM_16")
    whole = (args.out / "input" / "audiobook/chapter_04.flac").read_bytes()
    (args.out / "input" / TRUNCATED).write_bytes(whole[: len(whole) // 3])


if __name__ == "__main__":
    main()
