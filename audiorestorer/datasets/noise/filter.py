"""Decision which noises a denoiser should learn, by measured features, and by labels where a data set has them.

Thresholds were set on about eighty public recordings (ESC-10, LibriSpeech, LibriTTS, VCTK, LJSpeech, vinyl, hums, fans, crowds):
voiced share and envelope depth tell every one of the 49 speech recordings from every kept noise. Limits: music is known by its label
only (a drone is no beep), and speech under loud noise passes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from audiorestorer.config import Settings
from audiorestorer.datasets.noise.features import Features

CLASSES = ("crowd", "hvac", "room_tone", "hiss", "rumble", "hum", "clicks", "other")


class NoiseFilterSettings(Settings):
    """Thresholds for the figures of `features.Features`."""

    min_sec: float = Field(1.0, gt=0, description="Shorter recordings are rejected, s")
    max_clipped_share: float = Field(0.001, ge=0, le=1, description="Largest share of samples in runs at full scale")
    max_silence_share: float = Field(0.5, ge=0, le=1, description="Largest share of frames below -75 dBFS")
    max_tonal_share: float = Field(
        0.35,
        ge=0,
        le=1,
        description="Largest share of frames that are one narrow tone above 300 Hz; more is a beep or a siren",
    )
    siren_range_oct: float = Field(
        1 / 3, gt=0, description="A tone that moves by more octaves is called a siren, not a beep"
    )
    max_blow_db: float = Field(
        20.0,
        gt=0,
        description="Rejected as a sudden transient: an event longer than 0.1 s that stands this many dB above the median frame",
    )
    speech_voiced_share: float = Field(
        0.15,
        ge=0,
        le=1,
        description="Taken for speech: at least this share of frames has a pitch, and the level varies by speech_depth_db",
    )
    speech_depth_db: float = Field(
        22.0,
        gt=0,
        description="Taken for speech: the level from 300 to 3400 Hz spans this many dB from the 10th to the 90th percentile",
    )
    allow_speech: bool = Field(False, description="Keep recordings of speech (for babble)")
    shares: tuple[float, float, float] = Field(
        (0.8, 0.1, 0.1), description="Shares of the splits train, valid and test"
    )


@dataclass(frozen=True)
class Label:
    """Label of a data set: `noise_class` or the reason for rejection."""

    name: str
    noise_class: str | None = None
    rejected: str | None = None


# DEMAND (Thiemann et al. 2013): six environments of three rooms each, by folder
DEMAND = {
    "DKITCHEN": "room_tone", "DLIVING": "room_tone", "DWASHING": "hvac", "NFIELD": "room_tone", "NPARK": "room_tone",
    "NRIVER": "hiss", "OHALLWAY": "room_tone", "OMEETING": "crowd", "OOFFICE": "room_tone", "PCAFETER": "crowd",
    "PRESTO": "crowd", "PSTATION": "crowd", "SPSQUARE": "crowd", "SCAFE": "crowd", "STRAFFIC": "rumble",
    "TBUS": "rumble", "TCAR": "rumble", "TMETRO": "rumble",
}  # fmt: skip
# ESC-50 (Piczak 2015), by target number: a class, or the reason why such a sound is none that a denoiser should learn as noise
ESC50_NAMES = (
    "dog", "rooster", "pig", "cow", "frog", "cat", "hen",
    "insects", "sheep", "crow", "rain", "sea_waves", "crackling_fire", "crickets",
    "chirping_birds", "water_drops", "wind", "pouring_water", "toilet_flush", "thunderstorm", "crying_baby",
    "sneezing", "clapping", "breathing", "coughing", "footsteps", "laughing", "brushing_teeth",
    "snoring", "drinking_sipping", "door_wood_knock", "mouse_click", "keyboard_typing", "door_wood_creaks", "can_opening",
    "washing_machine", "vacuum_cleaner", "clock_alarm", "clock_tick", "glass_breaking", "helicopter", "chainsaw",
    "siren", "car_horn", "engine", "train", "church_bells", "airplane", "fireworks",
    "hand_saw",
)  # fmt: skip
ESC50_KEPT = {
    "rain": "hiss", "sea_waves": "hiss", "wind": "rumble", "crackling_fire": "clicks", "pouring_water": "hiss",
    "mouse_click": "clicks", "keyboard_typing": "clicks", "washing_machine": "hvac", "vacuum_cleaner": "hvac",
    "clock_tick": "clicks", "helicopter": "rumble", "engine": "rumble", "train": "rumble", "airplane": "rumble",
    "insects": "hiss", "crickets": "hiss",
}  # fmt: skip
ESC50_ALARMS = ("clock_alarm", "siren", "car_horn", "church_bells")
ESC50_FILE = re.compile(r"^\d-\d+-[A-Z]-(\d{1,2})$")
MUSAN_REJECTED = {"speech": "speech", "music": "music"}


def label_of(path: Path, root: Path) -> Label | None:
    """The label by file name and folders: ESC-50's naming, DEMAND's rooms, MUSAN's three parts; None where they have none."""
    relative = path.relative_to(root)
    match = ESC50_FILE.match(path.stem)
    if match and int(match[1]) < len(ESC50_NAMES):
        name = ESC50_NAMES[int(match[1])]
        if name in ESC50_KEPT:
            return Label(name, ESC50_KEPT[name])
        return Label(name, rejected="alarm or siren" if name in ESC50_ALARMS else f"no noise artefact ({name})")
    for part in (*relative.parts[:-1], root.name):
        room = part.upper().split("_")[0]
        if room in DEMAND:
            return Label(room, DEMAND[room])
    parts = [part.lower() for part in (root.name, *relative.parts[:-1])]
    if "musan" in parts:
        for name, reason in MUSAN_REJECTED.items():
            if name in parts:
                return Label(f"musan {name}", rejected=reason)
        return Label("musan noise")
    return None


def rejection(features: Features, label: Label | None, settings: NoiseFilterSettings) -> str | None:
    """The reason why a noise is rejected, or None. Damage is checked first, then the label, then the sound."""
    if features.duration_sec < settings.min_sec:
        return f"too short: {features.duration_sec:.2f} s"
    if features.silence_share > settings.max_silence_share:
        return f"silent: {features.silence_share:.0%} of the frames"
    if features.clipped_share > settings.max_clipped_share:
        return f"clipped: {features.clipped_share:.2%} of the samples"
    if label and label.rejected and not (label.rejected == "speech" and settings.allow_speech):
        return f"{label.rejected} (label)"
    if label and label.noise_class:
        return None  # somebody has listened: a label is finer than the features
    speaks = features.voiced_share >= settings.speech_voiced_share and features.depth_db >= settings.speech_depth_db
    # a voice's strongest harmonic moves; a beep goes on and off as syllables do, but stands still
    if features.tonal_share > settings.max_tonal_share and not (speaks and features.tone_step_oct > 0):
        return "siren" if features.tone_range_oct > settings.siren_range_oct else "tonal beep"
    if speaks and not settings.allow_speech:
        return "speech, or another voice"
    if features.blow_db > settings.max_blow_db:
        return f"sudden transient: {features.blow_db:.0f} dB above the median"
    return None


def class_of(features: Features, label: Label | None) -> str:
    """The class: the label's, else from where the energy lies (the first that fits, in this order)."""
    if label and label.noise_class:
        return label.noise_class
    rules = (
        # rumble fills the mains' bins too: there only an almost pure line spectrum is hum
        ("hum", features.hum_share >= (0.6 if features.below_120 < 0.9 else 0.9) and features.below_400 >= 0.6),
        ("clicks", features.impulsive_share >= 0.2),
        ("rumble", features.below_120 >= 0.9),
        ("hiss", features.above_2000 >= 0.5),
        ("hvac", features.below_400 >= 0.57),
        ("crowd", features.below_400 < 0.45 and features.above_2000 < 0.15 and features.flatness < 0.05),
        ("room_tone", features.depth_db < 8),
    )
    return next((name for name, fits in rules if fits), "other")
