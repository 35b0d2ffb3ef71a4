"""Training data of the enhancer: a folder with `fg/` (clean speech), `bg/` (noises, music) and `rir/**/*.npy` (rooms).

An example is (mixture, distorted, clean), aligned and at one scale: mixture - distorted is the background exactly. The denoiser goes
from the first to the second, the enhancer from the first to the third. An example depends on (seed, epoch, index) alone; in
validation on (seed, index), so that every epoch is measured on the same examples. Files are read segment by segment: memory does
not grow with the data set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soxr
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch.utils.data import Dataset

from audiorestorer.audio import SUFFIXES, below, probe
from audiorestorer.config import Settings
from audiorestorer.datasets.enhancement import distortions
from audiorestorer.datasets.enhancement.distortions import DistortionSettings, Mono, rms
from audiorestorer.datasets.manifest_mixer import FileClip, segment
from audiorestorer.datasets.splits import split_of
from audiorestorer.errors import AudioRestorerError
from audiorestorer.names import NOT_TEXT, as_text, is_text

Split = Literal["train", "valid"]
VALIDATION_EPOCH = 2**31  # takes the epoch's place in the seed of validation examples: no epoch of the training has it
LONGEST_ROOM_SEC = 4.0  # a longer response is cut: memory and time are bounded
SILENT_RMS = 1e-4  # -80 dBFS: a stretch of speech below it is drawn again
DRAWS = 6  # largest number of draws of a stretch
PITCH_OCTAVES = 0.25  # largest shift of pitch and formants, either way
SHOWN = 5  # largest number of problems in a message


class EnhancementSettings(Settings):
    """Distribution of the enhancer's examples."""

    segment_sec: float = Field(3.0, gt=0.05, le=30, description="Length of an example, s")
    background: float = Field(
        1.0, ge=0, le=1, description="Share of examples with a background; 0 for the autoencoder and the vocoder"
    )
    mix: tuple[float, float] = Field(
        (0.2, 0.8), description="Range of the background's weight in a sum of two signals of unit energy"
    )
    distorted: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Share of examples whose speech is distorted; in validation all are, unless this is 0",
    )
    pitch: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of examples resampled by up to a quarter octave (changes pitch, formants and rate)",
    )
    gain_db: tuple[float, float] = Field((-20.0, 0.0), description="Range of the mixture's peak, dBFS")
    rir_rate_hz: int = Field(
        44_100, ge=8000, le=192_000, description="Sample rate of the room responses rir/*.npy, which do not carry one"
    )
    valid_share: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="Share of the speakers (folders of fg/) and of the files of bg/ that are for validation",
    )
    distortions: DistortionSettings = DistortionSettings()

    @model_validator(mode="after")
    def _ranges(self) -> EnhancementSettings:
        if not 0 < self.mix[0] <= self.mix[1] < 1:
            raise ValueError("mix is [lowest, highest] within 0 and 1")
        if self.gain_db[0] > self.gain_db[1] or self.gain_db[1] > 0:
            raise ValueError("gain_db is [lowest, highest], at most 0")
        return self


@dataclass(frozen=True)
class EnhancementExample:
    """`mixture`, `distorted`, `clean`: `[T]` float32, aligned, at one scale; `record`: everything that was drawn, JSON-able."""

    mixture: Mono
    distorted: Mono
    clean: Mono
    record: dict[str, Any] = field(default_factory=dict)


class EnhancementFolder:
    """The files of a folder, sorted by name, in two splits that depend on names and `seed` alone.

    Speech is split by speaker: the first folder below `fg/`, or the file where it lies in `fg/` itself. Rooms are used in both splits.

    Raises:
        AudioRestorerError: no fg/, no audio in it, one speaker only, or files that cannot be used; names them.
    """

    def __init__(self, root: Path, sample_rate: int, settings: EnhancementSettings, seed: int = 0) -> None:
        self.root, self.sample_rate, self.settings = Path(root), sample_rate, settings
        self._problems: list[str] = []
        speech = self._audio("fg")
        if not speech and not self._problems:
            raise AudioRestorerError(f"{self.root / 'fg'}: no speech ({', '.join(SUFFIXES)})")
        noises = self._audio("bg")
        self.rooms = [path for path in sorted((self.root / "rir").rglob("*.npy")) if self._usable_room(path)]
        if self._problems:
            more = len(self._problems) - SHOWN
            raise AudioRestorerError("\n".join(self._problems[:SHOWN] + ([f"and {more} more"] if more > 0 else [])))
        if settings.background > 0 and not noises:
            raise AudioRestorerError(f"{self.root / 'bg'}: no backgrounds, and `background` is {settings.background}")
        self._speech = self._split(speech, "fg", seed)
        self._noises = self._split(noises, "bg", seed) if noises else {"train": [], "valid": []}

    def speech(self, split: Split) -> list[FileClip]:
        return self._speech[split]

    def noises(self, split: Split) -> list[FileClip]:
        return self._noises[split]

    def room(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], int, str]:
        """A room's response at the data's rate, the sample of its direct sound, and its name.

        Raises:
            AudioRestorerError: it holds no finite sound; names the file.
        """
        path = self.rooms[int(rng.integers(len(self.rooms)))]
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        # channels come first or last: a room is longer than it has microphones
        channels = stored[None] if stored.ndim == 1 else stored if stored.shape[0] <= stored.shape[1] else stored.T
        row = channels[int(rng.integers(len(channels)))]
        limit = int(LONGEST_ROOM_SEC * self.settings.rir_rate_hz)
        response = np.asarray(row[:limit], np.float64)
        if not np.isfinite(response).all() or not np.abs(response).max(initial=0) > 0:
            raise AudioRestorerError(f"{path}: no usable response: silent, or holds NaN or infinite samples")
        return (*distortions.align(response, self.settings.rir_rate_hz, self.sample_rate), self._name(path))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _audio(self, folder: str) -> list[FileClip]:
        clips = []
        for path in below(self.root / folder).values():
            try:
                info = probe(path)
            except AudioRestorerError as error:
                self._problems.append(str(error))
                continue
            length = int(info.duration_sec * self.sample_rate)
            if length:
                clips.append(FileClip(path, length, info.sample_rate))
            else:
                self._problems.append(f"{path}: holds no samples")
        return clips

    def _usable_room(self, path: Path) -> bool:
        """Whether a room can be used, by its name and its header alone."""
        if not is_text(str(path)):
            self._problems.append(f"{as_text(str(path))}: {NOT_TEXT}")
            return False
        try:
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            self._problems.append(f"{path}: not readable as a NumPy array: {error}")
            return False
        if stored.ndim not in (1, 2) or not stored.size or not np.issubdtype(stored.dtype, np.number):
            self._problems.append(f"{path}: shape {stored.shape} of {stored.dtype}: a response is [n] or [channels, n]")
            return False
        return True

    def _split(self, clips: list[FileClip], folder: str, seed: int) -> dict[str, list[FileClip]]:
        """Clips by split; a split that the hash leaves empty gets one group of the other."""

        def group(clip: FileClip) -> str:
            inside = clip.path.relative_to(self.root / folder)
            return inside.parts[0] if folder == "fg" else inside.as_posix()

        share = self.settings.valid_share
        names = sorted({group(clip) for clip in clips})
        if len(names) < 2:
            unit = "speaker (folder or file)" if folder == "fg" else "file"
            raise AudioRestorerError(f"{self.root / folder}: one {unit} only: training and validation need one each")
        splits = {name: split_of(f"{folder}/{name}", (1 - share, share, 0), seed) for name in names}
        for wanted in ("train", "valid"):
            if wanted not in splits.values():
                splits[names[seed % len(names)]] = wanted
        return {split: [clip for clip in clips if splits[group(clip)] == split] for split in ("train", "valid")}


class EnhancementDataset(Dataset[tuple[Mono, Mono, Mono]]):
    """One epoch of examples: `(mixture, distorted, clean)`, each `[T]`.

    Args:
        size: examples per epoch.
        repeat: above 0, always the first `repeat` examples of epoch 0.
    """

    def __init__(
        self, folder: EnhancementFolder, split: Split, size: int, seed: int, epoch: int = 0, repeat: int = 0
    ) -> None:
        self.folder, self.split, self.size, self.seed, self.epoch, self.repeat = (
            folder,
            split,
            size,
            seed,
            epoch,
            repeat,
        )
        self.length = int(folder.settings.segment_sec * folder.sample_rate)
        self._speech, self._noises = folder.speech(split), folder.noises(split)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Mono, Mono, Mono]:
        if not 0 <= index < self.size:
            raise IndexError(index)
        example = self.example(index)
        return example.mixture, example.distorted, example.clean

    def example(self, index: int) -> EnhancementExample:
        """An example with everything that was drawn.

        Raises:
            AudioRestorerError: a file cannot be read; names it.
        """
        if self.repeat:
            index %= self.repeat
        epoch = VALIDATION_EPOCH if self.split == "valid" else 0 if self.repeat else self.epoch
        rng = np.random.default_rng((self.seed, epoch, index))
        settings = self.folder.settings
        clean, record = self._foreground(rng)
        clean = _unit(clean)
        distorted, record["distortions"] = clean, []
        # both are drawn in any case, so that later draws do not depend on the first
        draw, own = rng.random(), np.random.default_rng(rng.integers(2**63))
        validating = self.split == "valid" and settings.distorted > 0
        if validating or draw < settings.distorted:
            rooms = self.folder.room if self.folder.rooms else None
            distorted, record["distortions"] = distortions.distort(
                own, clean, self.folder.sample_rate, settings.distortions, rooms, least=int(validating)
            )
        weight = float(rng.uniform(*settings.mix)) if self._noises and rng.random() < settings.background else 0.0
        other = self._background(rng, record) if weight else np.zeros_like(clean)
        mixture = np.float32(1 - weight) * distorted + np.float32(weight) * other
        peak = float(np.abs(mixture).max(initial=0))
        scale = np.float32(10 ** (rng.uniform(*settings.gain_db) / 20) / peak) if peak > 1e-5 else np.float32(1)
        record.update(mix=weight, scale=float(scale))
        speech = scale * np.float32(1 - weight)
        return EnhancementExample(mixture * scale, distorted * speech, clean * speech, record)

    def _foreground(self, rng: np.random.Generator) -> tuple[Mono, dict[str, Any]]:
        """A stretch of speech `[T]` that is not silent, where `DRAWS` draws find one; a short recording lies in silence."""
        speed = 1.0
        if rng.random() < self.folder.settings.pitch:
            speed = float(2 ** rng.uniform(-PITCH_OCTAVES, PITCH_OCTAVES))
        for _ in range(DRAWS):
            clip = self._speech[int(rng.integers(len(self._speech)))]
            need = int(np.ceil(self.length * speed))
            start = int(rng.integers(0, max(1, clip.length - need + 1)))
            part = segment(clip.path, clip.rate, self.folder.sample_rate, start, need)
            if rms(part) > SILENT_RMS:
                break
        if speed != 1.0 and len(part) > 64:
            part = soxr.resample(part, speed, 1.0, quality="HQ")
        part = part[: self.length]
        before = int(rng.integers(0, self.length - len(part) + 1))
        placed = np.pad(part, (before, self.length - len(part) - before))
        record = {"speech": self.folder._name(clip.path), "start": start, "before": before, "speed": speed}
        return np.asarray(placed, np.float32), record

    def _background(self, rng: np.random.Generator, record: dict[str, Any]) -> Mono:
        """A stretch of background `[T]` of unit energy; a short recording is repeated."""
        clip = self._noises[int(rng.integers(len(self._noises)))]
        start = int(rng.integers(0, max(1, clip.length - self.length + 1)))
        part = segment(clip.path, clip.rate, self.folder.sample_rate, start, self.length)
        if not len(part):
            raise AudioRestorerError(f"{clip.path}: no samples could be read")
        record["background"] = self.folder._name(clip.path)
        return _unit(np.resize(part, self.length))


def _unit(audio: Mono) -> Mono:
    """RMS 1; silence stays."""
    level = rms(audio)
    return np.asarray(audio / np.float32(level), np.float32) if level > distortions.RMS_FLOOR else audio
