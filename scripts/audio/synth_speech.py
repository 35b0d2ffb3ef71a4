# ruff: noqa: SIM905
"""Speech by installed synthesisers (espeak-ng, flite, festival, RHVoice, Pico): voices with their splits, sentences of our own.

Whole voices are kept apart: `train`, `valid` and `test` never share a voice. The pilot input uses `test` voices only.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

# Latin-script languages: their letter-to-sound rules read made-up words; English text sounds accented.
LANGUAGES = (
    "af an az bs ca cs cy da de en-029 en-gb en-gb-scotland en-gb-x-gbclan en-gb-x-gbcwmd en-us eo es es-419 et eu fi"
    " fr-be fr-fr ga hr ht hu ia id is it ku la lb lfn lt lv mi ms mt nb nl om pap pl pt-br qu ro sk sl sq sw tk tn tr"
    " uz vi"
).split()
TEST_LANGUAGES = ("en-gb-x-rp", "en-us-nyc", "sv", "pt", "fr-ch")
VARIANTS = (
    "adam Alex Andrea Andy Annie antonio aunty belinda benjamin boris caleb david Denis Diogo ed edward Gene gustave"
    " Henrique Hugo iven iven2 Jacky john Lee marcelo marco Mario max michel miguel Mike nguyen pablo paul pedro quincy"
    " rob robert steph steph2 travis norbert sandro shelby grandpa grandma anika f1 f2 f3 f4 m1 m2 m3 m4 m5 m6 m7"
    " klatt klatt2 klatt3 croak whisper"
).split()
VALID_VARIANTS = ("Gene2", "iven3", "klatt4", "edward2")
TEST_VARIANTS = ("Alicia", "linda", "victor", "Michael", "f5", "m8", "zac")


@dataclass(frozen=True)
class Voice:
    """One voice: `engine` espeak | flite | festival | rhvoice | pico, `name` as that engine calls it, `warp` a resampling.

    Resampling changes pitch and formants.
    """

    engine: str
    name: str
    split: str
    pitch: int = 50
    rate: int = 165
    warp: float = 1.0

    @property
    def label(self) -> str:
        return f"{self.engine}:{self.name}"


RHVOICE = (
    "alan bdl clb aleksandr aleksandr-hq anna elena irina Leticia-F123 spomenka natalia anatol azamat nazgul".split()
)
PICO = "en-US en-GB de-DE es-ES fr-FR it-IT".split()
# Voices built from a person's recordings. Those of other languages read English by their own letter-to-sound rules.
RECORDED = (
    ("flite", "slt", "train"),
    ("flite", "rms", "train"),
    ("flite", "kal16", "train"),
    ("festival", "kal_diphone", "train"),
    ("festival", "ked_diphone", "train"),
    ("festival", "lp_diphone", "train"),
    ("festival", "pc_diphone", "train"),
    ("festival", "czech_dita", "train"),
    ("festival", "czech_krb", "train"),
    ("festival", "czech_machac", "train"),
    ("festival", "czech_ph", "train"),
    ("festival", "hy_fi_mv_diphone", "train"),
    ("festival", "suo_fi_lj_diphone", "train"),
    ("festival", "msu_ru_nsh_clunits", "train"),
    ("festival", "upc_ca_ona_hts", "train"),
    # RHVoice's under LGPL, GPL or CC-BY-SA; slt is left out: the same person is a test voice
    *(("rhvoice", name, "train") for name in RHVOICE),
    *(("pico", name, "train") for name in PICO),
    ("flite", "awb", "test"),
    ("festival", "cmu_us_slt_arctic_hts", "test"),
)
ENGLISH = ("alan", "bdl", "clb", "slt", "rms", "kal16", "kal_diphone", "ked_diphone", "awb", "cmu_us_slt_arctic_hts")


RECORDED_SHARE = 0.7  # of the files are spoken by voices of people


def draw_voice(rng: np.random.Generator, split: str) -> Voice:
    """A random voice of a split, with random pitch, rate and warp."""
    warp = float(np.exp(rng.uniform(np.log(0.84), np.log(1.2)))) if rng.random() < 0.75 else 1.0
    recorded = [(engine, name) for engine, name, where in RECORDED if where == split]
    if recorded and rng.random() < RECORDED_SHARE:
        engine, name = recorded[rng.integers(len(recorded))]
        return Voice(engine, name, split, int(rng.integers(20, 80)), int(rng.integers(140, 190)), warp)
    if split == "train":
        variant = f"+{rng.choice(VARIANTS)}" if rng.random() < 0.85 else ""
        name = f"{rng.choice(LANGUAGES)}{variant}"
    else:
        languages = TEST_LANGUAGES if split == "test" else LANGUAGES
        name = f"{rng.choice(languages)}+{rng.choice(TEST_VARIANTS if split == 'test' else VALID_VARIANTS)}"
    return Voice("espeak", name, split, int(rng.integers(15, 85)), int(rng.integers(115, 205)), warp)


# ---------------------------------------------------------------------------------------------------------------- text
WHO = (
    "the baker|my neighbour|a tired engineer|the old captain|our teacher|the youngest sister|a quiet farmer|the guide"
    "|every passenger|nobody in town|the orchestra|his grandmother|the museum|a stray dog|the night watchman|each visitor"
).split("|")
DOES = (
    "repaired|carried|forgot|painted|measured|borrowed|described|questioned|photographed|followed|opened|polished"
    "|delivered|admired|hid|counted|washed|folded|sold|remembered"
).split("|")
WHAT = (
    "a broken lantern|three boxes of oranges|the blue umbrella|an unusual map|the heavy wooden door|yesterday's newspaper"
    "|a jar of honey|the longest bridge|seven paper boats|the garden fence|a pair of leather shoes|the shiny kettle"
    "|an empty violin case|fresh green vegetables|the judge's chair|a very thick dictionary"
).split("|")
WHERE = (
    "near the harbour|behind the church|under a cloudy sky|before breakfast|at the edge of the forest|on a Thursday morning"
    "|during the long winter|without asking anyone|in the middle of July|beside the quiet river|after the last train"
    "|between two tall buildings|for the third time this year|while the radio was playing"
).split("|")
EXTRA = (
    "Please check the temperature again.|How far is it from here?|We should arrive before eight o'clock."
    "|That is exactly what she wanted!|Thank you for choosing this path.|Could you whisper the answer?"
    "|Zero, one, two, three, four, five.|Fish swim, birds fly, and engineers argue.|Never mind, it was only thunder."
    "|Judge the vision by its usual measure.|Which of these switches controls the heater?|Both boys enjoy toys and noise."
).split("|")
ONSETS = "b d f g h k l m n p r s t v z j w br tr st pl kr gl fl sk".split()
VOWELS = "a e i o u a e i o ai ou ei".split()
CODAS = ["", "", "", "n", "s", "r", "l", "m", "t", "k"]


def sentence(rng: np.random.Generator) -> str:
    """One English sentence of a small grammar of ours."""
    if rng.random() < 0.25:
        return str(rng.choice(EXTRA))
    text = f"{rng.choice(WHO)} {rng.choice(DOES)} {rng.choice(WHAT)} {rng.choice(WHERE)}."
    return text[0].upper() + text[1:]


def babble_words(rng: np.random.Generator) -> str:
    """A sentence of made-up words: for voices of other languages."""
    words = [
        "".join(f"{rng.choice(ONSETS)}{rng.choice(VOWELS)}{rng.choice(CODAS)}" for _ in range(rng.integers(1, 4)))
        for _ in range(rng.integers(5, 12))
    ]
    return " ".join(words).capitalize() + "."


def text_for(rng: np.random.Generator, voice: Voice, sentences: int) -> str:
    """Text of so many sentences in what the voice can read."""
    english = voice.name in ENGLISH or voice.name.startswith("en") or rng.random() < 0.3
    return " ".join(sentence(rng) if english else babble_words(rng) for _ in range(sentences))


# ------------------------------------------------------------------------------------------------------------- rendering
def render(voice: Voice, text: str, sample_rate: int) -> np.ndarray:
    """Speak a text: `[T]` float32 at `sample_rate`, silence cut from the ends.

    Raises:
        RuntimeError: the synthesiser made no audio.
    """
    if voice.engine == "espeak":
        command = ["espeak-ng", "-v", voice.name, "-p", str(voice.pitch), "-s", str(voice.rate), "--stdout", text]
        data, rate = _decode(subprocess.run(command, capture_output=True, check=False).stdout)
    else:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out.wav"
            if voice.engine == "rhvoice":
                speak = ["RHVoice-test", "-p", voice.name, "-r", str(round(voice.rate / 1.65)), "-o", str(out)]
                subprocess.run(speak, input=text.encode(), check=True, capture_output=True)
            elif voice.engine == "pico":
                subprocess.run(["pico2wave", "-l", voice.name, "-w", str(out), text], check=True, capture_output=True)
            elif voice.engine == "flite":
                stretch = f"duration_stretch={165 / voice.rate:.3f}"
                subprocess.run(
                    ["flite", "-voice", voice.name, "--setf", stretch, "-t", text, "-o", str(out)], check=True
                )
            else:
                (Path(folder) / "in.txt").write_text(text, encoding="utf-8")
                stretch = f"(Parameter.set 'Duration_Stretch {165 / voice.rate:.3f})"
                select = ["-eval", f"(voice_{voice.name})", "-eval", stretch]
                subprocess.run(["text2wave", *select, f"{folder}/in.txt", "-o", str(out)], check=True)
            data, rate = _decode(out.read_bytes())
    if not np.any(data):
        raise RuntimeError(f"{voice.label} made no audio of {text!r}")
    data = soxr.resample(data, rate * voice.warp, sample_rate, quality="HQ").astype(np.float32)
    loud = np.flatnonzero(np.abs(data) > 1e-3 * np.abs(data).max())
    margin = sample_rate // 20
    return data[max(0, loud[0] - margin) : loud[-1] + margin]


def _decode(wav: bytes) -> tuple[np.ndarray, int]:
    """A WAV whose header may claim a wrong length (espeak-ng writes to a pipe)."""
    try:
        data, rate = sf.read(io.BytesIO(wav), dtype="float32", always_2d=True)
    except sf.LibsndfileError:
        return np.zeros(1, np.float32), 22050
    return data.mean(axis=1), rate
