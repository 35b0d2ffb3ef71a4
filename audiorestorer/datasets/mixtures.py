"""Mixtures made on the fly: speech with music (task `separate`) or with noise and residues (task `denoise`).

An example depends on (seed, epoch, index) alone: not on workers, order or earlier examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import scipy.fft
import soxr
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch.utils.data import Dataset

from audiorestorer.config import Settings
from audiorestorer.datasets.levels import scale_to_snr
from audiorestorer.datasets.noise import noises
from audiorestorer.datasets.whispering import whispered
from audiorestorer.errors import AudioRestorerError

Mono = NDArray[np.float32]
Task = Literal["separate", "denoise"]
Clip = TypeVar("Clip")
# Noises of the places where people record (voices, impacts, motors, wind) and of the equipment, with their shares
NOISES = ("babble", "speech_shaped", "coloured", "impacts", "engine", "wind", "hum", "crackle")
NOISE_SHARES = (0.24, 0.12, 0.22, 0.12, 0.1, 0.06, 0.07, 0.07)


class CurriculumStage(Settings):
    """The range of the SNR in one part of the training."""

    until: float = Field(
        gt=0, le=1, description="Share of the epochs at which this stage ends; the last stage ends at 1"
    )
    snr_db: tuple[float, float] = Field(description="Range of the SNR in this stage, dB")

    @model_validator(mode="after")
    def _range(self) -> CurriculumStage:
        if self.snr_db[0] > self.snr_db[1]:
            raise ValueError("snr_db is [lowest, highest]")
        return self


class MixtureSettings(Settings):
    """Distribution of the examples that the mixer makes."""

    segment_sec: float = Field(1.5, gt=0.1, le=30, description="Length of an example, s")
    snr_db: tuple[float, float] = Field(
        (-2.0, 12.0), description="Range of the SNR, measured where the speech is active, dB, drawn evenly"
    )
    pure_speech: float = Field(
        0.08, ge=0, le=1, description="Share of examples without interference: the target is the input"
    )
    no_speech: float = Field(0.04, ge=0, le=1, description="Share of examples without speech: the target is silence")
    second_speaker: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of examples whose target is two people who speak at once, the second at -9 to 0 dB",
    )
    whisper: float = Field(
        0.0, ge=0, le=1, description="Share of examples whose speech is whispered: its noise-excited resynthesis"
    )
    second_source: float = Field(
        0.2, ge=0, le=1, description="Probability of one more piece of music, or of each further noise"
    )
    noise: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Task separate: share of examples with noise, in half of them instead of music, in half beside it",
    )
    most_noises: int = Field(2, ge=1, le=8, description="Task denoise: largest number of noises in an example")
    recorded_noise: float = Field(
        0.6, ge=0, le=1, description="Share of the noises that come from the noise manifest, where there is one"
    )
    resample: bool = Field(
        False,
        description="Allow recordings of a manifest at another sample rate than the network's; they are resampled",
    )
    curriculum: list[CurriculumStage] = Field(
        [], description="Ranges of the SNR for parts of the training; empty: snr_db throughout"
    )
    equaliser: float = Field(
        0.4, ge=0, le=1, description="Probability of a random smooth equaliser, for speech and interference each"
    )
    equaliser_db: float = Field(6.0, ge=0, le=30, description="Largest gain of that equaliser, up or down, dB")
    speed: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Probability of resampling by up to a factor of 1.2 (changes pitch, formants and rate)",
    )
    reverb: float = Field(
        0.12,
        ge=0,
        le=1,
        description="Probability of a room, for speech and interference each; the reverberant speech is the target",
    )
    band_limit: float = Field(
        0.15, ge=0, le=1, description="Share of examples with mixture and target low-passed at about 4, 5.5 or 8 kHz"
    )
    residue: float = Field(
        0.45,
        ge=0,
        le=1,
        description="Task denoise: share of the noises made on the fly that are residues of music, where there is music",
    )
    gain_db: tuple[float, float] = Field((-30.0, 0.0), description="Range of the mixture's peak, dBFS, drawn evenly")

    @model_validator(mode="after")
    def _ranges(self) -> MixtureSettings:
        if self.snr_db[0] > self.snr_db[1] or self.gain_db[0] > self.gain_db[1] or self.gain_db[1] > 0:
            raise ValueError("snr_db and gain_db are [lowest, highest], gain_db at most 0")
        if self.pure_speech + self.no_speech > 1:
            raise ValueError("pure_speech + no_speech must not exceed 1")
        ends = [stage.until for stage in self.curriculum]
        if ends != sorted(set(ends)) or (ends and ends[-1] != 1):
            raise ValueError("curriculum: until must rise and end with 1")
        return self

    def snr_range(self, progress: float) -> tuple[float, float]:
        """The SNRs at a point of the training, `progress` in [0, 1): those of the first stage that has not ended."""
        for stage in self.curriculum:
            if progress < stage.until:
                return stage.snr_db
        return self.curriculum[-1].snr_db if self.curriculum else self.snr_db


@dataclass(frozen=True)
class Example:
    """`mixture` and `target` `[T]` float32, aligned and at the same scale; `snr_db` NaN without speech or interference."""

    mixture: Mono
    target: Mono
    snr_db: float


class Bank(Generic[Clip]):
    """A source of recordings, mono at one rate: `AudioBank` (all in one array) or `ManifestBank` (files)."""

    source = "the training audio"

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._clips: dict[tuple[str, str], list[Clip]] = {}

    def has(self, kind: str, split: str) -> bool:
        """Whether a split holds recordings of a kind."""
        return (kind, split) in self._clips

    def clips(self, kind: str, split: str) -> list[Clip]:
        """The recordings of a kind in a split, in their list's order.

        Raises:
            AudioRestorerError: there are none.
        """
        clips = self._clips.get((kind, split))
        if not clips:
            raise AudioRestorerError(f"{self.source} has no {kind} in its split {split!r}")
        return clips

    def read(self, clip: Clip, start: int = 0, length: int | None = None) -> Mono:
        """Samples of a recording as float32 `[n]`."""
        raise NotImplementedError


class Mixer:
    """Makes example (epoch, index) of a seed.

    Args:
        bank: recordings of kind speech (the target), music (removed by task `separate`), and, if there are any, noise and rir.
        epochs: number of epochs of the whole training, for the curriculum; 0: its last stage throughout.
    """

    def __init__(
        self, bank: Bank[Any], settings: MixtureSettings, task: Task, seed: int, split: str = "train", epochs: int = 0
    ) -> None:
        self.bank, self.settings, self.task, self.seed, self.epochs = bank, settings, task, seed, epochs
        self.length = int(settings.segment_sec * bank.sample_rate)
        self._speech = bank.clips("speech", split)
        self._music = bank.clips("music", split) if task == "separate" or bank.has("music", split) else []
        self._noises = bank.clips("noise", split) if bank.has("noise", split) else []
        self._rooms = bank.clips("rir", split) if bank.has("rir", split) else []

    def example(self, epoch: int, index: int) -> Example:
        """One mixture with its target."""
        rng = np.random.default_rng((self.seed, epoch, index))
        settings = self.settings
        draw = rng.random()
        speech = self._coloured(rng, self._voices(rng))
        other = self._music_mix(rng) if self.task == "separate" else self._noise_mix(rng)
        if self.task == "separate" and settings.noise and rng.random() < settings.noise:
            noise = self._noise_mix(rng)
            other = noise if rng.random() < 0.5 else other + np.float32(10 ** (rng.uniform(-15, 3) / 20)) * noise
        wanted = float("nan")
        if draw < settings.pure_speech:
            other = np.zeros_like(speech)
        elif draw < settings.pure_speech + settings.no_speech:
            speech = np.zeros_like(speech)
        else:
            wanted = float(rng.uniform(*settings.snr_range(epoch / self.epochs if self.epochs else 1.0)))
            other = scale_to_snr(speech, other, wanted, self.bank.sample_rate)
        mixture = speech + other
        if rng.random() < settings.band_limit:
            cutoff = float(rng.choice([4000, 5500, 8000])) * float(rng.uniform(0.9, 1.1))
            gain = noises.low_pass(self.length // 2 + 1, self.bank.sample_rate, cutoff)
            mixture, speech = (
                scipy.fft.irfft(scipy.fft.rfft(x) * gain, self.length).astype(np.float32) for x in (mixture, speech)
            )
            wanted = float("nan")  # the filter takes different shares of the two
        peak = float(np.abs(mixture).max())
        scale = np.float32(10 ** (rng.uniform(*settings.gain_db) / 20) / peak) if peak > 1e-5 else np.float32(1)
        return Example(mixture * scale, speech * scale, wanted)

    def _voices(self, rng: np.random.Generator) -> Mono:
        """Who speaks in an example: one, now and then two or one who whispers."""
        speech = self._cut(rng, self._speech, gap=True)
        if self.settings.whisper and rng.random() < self.settings.whisper:
            speech = whispered(rng, speech, self.bank.sample_rate)
        if self.settings.second_speaker and rng.random() < self.settings.second_speaker:
            other = self._cut(rng, self._speech, gap=True)
            speech = speech + scale_to_snr(speech, other, float(rng.uniform(0, 9)), self.bank.sample_rate)
        return speech

    def _cut(self, rng: np.random.Generator, clips: list[Any], *, gap: bool = False) -> Mono:
        """A stretch of random recordings, `[T]`; with `gap` now and then a pause before it."""
        parts: list[Mono] = []
        held = 0
        if gap and rng.random() < 0.3:
            parts.append(np.zeros(int(rng.uniform(0.1, 0.6) * self.bank.sample_rate), np.float32))
            held = len(parts[0])
        while held < self.length:
            clip = clips[int(rng.integers(len(clips)))]
            speed = float(np.exp(rng.uniform(-0.18, 0.18))) if rng.random() < self.settings.speed else 1.0
            need = int((self.length - held) * speed) + 64
            start = int(rng.integers(0, max(1, clip.length - need // 2)))
            part = self.bank.read(clip, start, need)
            if speed != 1.0 and len(part) > 64:
                part = soxr.resample(part, speed, 1.0, quality="QQ").astype(np.float32)
            parts.append(part)
            held += len(part)
        return np.concatenate(parts)[: self.length]

    def _coloured(self, rng: np.random.Generator, signal: Mono) -> Mono:
        """Random EQ and room."""
        size = scipy.fft.next_fast_len(self.length + int(0.7 * self.bank.sample_rate), real=True)
        size += size % 2
        gain: NDArray[np.complex64] | None = None
        if rng.random() < self.settings.equaliser:
            curve = noises.equaliser(rng, size // 2 + 1, self.bank.sample_rate, self.settings.equaliser_db)
            gain = curve.astype(np.complex64)
        if rng.random() < self.settings.reverb:
            response = scipy.fft.rfft(self._room(rng).astype(np.float32), size)
            gain = response if gain is None else gain * response
        if gain is None:
            return signal
        filtered = scipy.fft.irfft(scipy.fft.rfft(signal, size) * gain, size)
        return np.asarray(filtered[: self.length], np.float32)

    def _room(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Response of a measured room where there are some, else of a synthetic one; the direct path is 1 at sample 0: no delay."""
        if not self._rooms:
            return noises.room(rng, self.bank.sample_rate)
        response = self.bank.read(self._rooms[int(rng.integers(len(self._rooms)))]).astype(np.float64)
        direct = int(np.abs(response).argmax()) if len(response) else 0
        if not len(response) or response[direct] == 0:
            return np.ones(1)
        return np.asarray(response[direct:][: int(0.7 * self.bank.sample_rate)] / response[direct])

    def _music_mix(self, rng: np.random.Generator) -> Mono:
        music = self._coloured(rng, _unit(self._cut(rng, self._music)))
        if rng.random() < self.settings.second_source:
            music = music + np.float32(rng.uniform(0.2, 1)) * _unit(self._cut(rng, self._music))
        if rng.random() < 0.15:
            level = np.float32(10 ** (rng.uniform(-40, -15) / 20))
            music = music + level * noises.coloured(rng, self.length, float(rng.uniform(-0.5, 2)))
        return music

    def _noise_mix(self, rng: np.random.Generator) -> Mono:
        noise = self._noise(rng)
        for _ in range(self.settings.most_noises - 1):
            if rng.random() >= self.settings.second_source:
                break
            noise = noise + np.float32(rng.uniform(0.1, 1)) * self._noise(rng)
        return noise

    def _noise(self, rng: np.random.Generator) -> Mono:
        length, rate = self.length, self.bank.sample_rate
        if self._noises and rng.random() < self.settings.recorded_noise:
            return self._coloured(rng, _unit(self._cut(rng, self._noises)))
        if self._music and rng.random() < self.settings.residue:
            music = _unit(self._cut(rng, self._music))
            return self._coloured(rng, _unit(noises.gated(rng, music)) if rng.random() < 0.7 else music)
        kind = NOISES[int(rng.choice(len(NOISES), p=NOISE_SHARES))]
        if kind == "babble":
            noise = np.sum([_unit(self._cut(rng, self._speech)) for _ in range(int(rng.integers(4, 12)))], axis=0)
        elif kind == "speech_shaped":
            noise = noises.speech_shaped(rng, self._cut(rng, self._speech))
        elif kind == "coloured":
            noise = noises.coloured(rng, length, float(rng.uniform(-1, 2)))
        else:
            noise = getattr(noises, kind)(rng, length, rate)
        if rng.random() < 0.4:
            noise = noises.modulated(rng, noise, rate)
        return self._coloured(rng, _unit(noise))


def _unit(signal: Mono) -> Mono:
    """RMS 1 (silence stays)."""
    rms = float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))
    return np.asarray(signal / np.float32(rms), np.float32) if rms > 1e-6 else np.asarray(signal, np.float32)


class MixtureDataset(Dataset[tuple[NDArray[np.float32], NDArray[np.float32]]]):
    """One epoch of the mixer: `(mixture [1, T], target [1, T])`; with `repeat` always the first `repeat` examples of epoch 0."""

    def __init__(self, mixer: Mixer, epoch: int, size: int, repeat: int = 0) -> None:
        self.mixer, self.epoch, self.size, self.repeat = mixer, epoch, size, repeat

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if not 0 <= index < self.size:
            raise IndexError(index)
        example = self.mixer.example(0, index % self.repeat) if self.repeat else self.mixer.example(self.epoch, index)
        return example.mixture[None], example.target[None]
