"""The training of the extension network (`models.extension`): its settings, its examples and its steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor
from torch.utils.data import Dataset

from audiorestorer.config import read_yaml, validate
from audiorestorer.datasets.bank import AudioBank, Clip
from audiorestorer.datasets.degradation.degradations import log_uniform
from audiorestorer.dsp import artefacts, keeping
from audiorestorer.dsp.noise_floor import NoiseMeter
from audiorestorer.losses.waveform import known_losses, weighted
from audiorestorer.models.extension import ExtensionConfig
from audiorestorer.models.extension_net import ExtensionNet, save_checkpoint
from audiorestorer.models.weights import Storage
from audiorestorer.store import sha256_file
from audiorestorer.training import running, runs
from audiorestorer.training.averaging import AveragedModule, EpochData
from audiorestorer.training.band_settings import BandNetworkSettings, Bands, RnnHidden, SampleRate
from audiorestorer.training.run_settings import RunSettings, changed
from audiorestorer.training.steps import adamw_with_cosine

LEAST_RMS = 1e-3  # of a recording's stretch: a quieter one is drawn again
TRIES = 20


class ExtensionNetworkSettings(BandNetworkSettings):
    """Shape of the extension network (`ExtensionConfig`)."""

    sample_rate: SampleRate = 44_100
    bands: Bands = 32
    rnn_hidden: RnnHidden = 96


class ExtensionSettings(RunSettings):
    """One training of the extension network."""

    segment_sec: float = Field(1.5, gt=0.1, le=30, description="Length of an example, s")
    limit_hz: tuple[float, float] = Field(
        (2500.0, 15_000.0), description="Range of the band limits, Hz, drawn evenly over the logarithm"
    )
    steep: float = Field(0.5, ge=0, le=1, description="Share of limits by resampling; the others are by filters")
    orders: list[int] = Field(
        [8, 12, 16, 24], min_length=1, description="Orders of those filters, even; 6 dB per octave and order"
    )
    noise: float = Field(0.4, ge=0, le=1, description="Share of examples with white noise in the input")
    noise_snr_db: tuple[float, float] = Field((25.0, 60.0), description="Range of its SNR, dB")
    weight_decay: float = Field(1e-4, ge=0, le=10, description="Weight decay of AdamW")
    ema_decay: float = Field(
        0.99, ge=0, lt=1, description="Decay of the weights' moving average, which is what is saved"
    )
    storage: Storage = Field("float16", description="Number format of the weights in the model's file")
    losses: dict[str, float] = Field(
        {"log_spectra": 1.0, "band_levels": 1.0}, min_length=1, description="Weight of each loss, by name"
    )
    network: ExtensionNetworkSettings = ExtensionNetworkSettings()

    _known = field_validator("losses")(known_losses)

    @property
    def config(self) -> ExtensionConfig:
        return ExtensionConfig(**self.network.model_dump())


def load_settings(path: Path, changes: Mapping[str, Any] | None = None) -> ExtensionSettings:
    """Read an experiment file.

    Raises:
        AudioRestorerError: unreadable, an unknown key, a value out of bounds; names the file and the key.
    """
    return validate(ExtensionSettings, changed(read_yaml(path), changes or {}), str(path))


class ExtensionExamples(Dataset[dict[str, NDArray[np.float32]]]):
    """Stretches of recordings and what a band limit leaves of them; example (epoch, index) depends on the seed alone.

    Speakers (the index's labels) are drawn evenly. An item holds `given` and `target`, `[T]` at RMS 1, `limit`, Hz, and `noise`, the
    seed of its carrier.

    Raises:
        AudioRestorerError: no speech in the split `train`.
    """

    def __init__(self, bank: AudioBank, settings: ExtensionSettings) -> None:
        self.bank, self.settings, self.epoch = bank, settings, 0
        self.length = int(settings.segment_sec * bank.sample_rate)
        self.speakers: dict[str, list[Clip]] = {}
        for clip in bank.clips("speech", "train"):
            self.speakers.setdefault(clip.label, []).append(clip)
        self.names = sorted(self.speakers)

    def __len__(self) -> int:
        return self.settings.steps_per_epoch * self.settings.batch_size

    def __getitem__(self, index: int) -> dict[str, Any]:
        settings, rate = self.settings, self.bank.sample_rate
        rng = np.random.default_rng((settings.seed, self.epoch, index))
        target = self._stretch(rng)
        target = target / np.float32(np.sqrt(np.mean(np.square(target))) + 1e-9)
        limit = log_uniform(rng, settings.limit_hz)
        given = self._limited(rng, target, limit)
        if rng.random() < settings.noise:
            level = 10 ** (-rng.uniform(*settings.noise_snr_db) / 20)
            given = given + np.float32(level) * self._limited(rng, rng.standard_normal(self.length), limit)
        meter = NoiseMeter(rate)
        meter.add(given[None] * np.float32(keeping.REFERENCE))
        limit = min(keeping.band_limit(*meter.loud_spectrum()), 1.3 * limit)
        return {
            "given": given.astype(np.float32), "target": target, "limit": np.float32(limit),
            "noise": int(rng.integers(2**31)),
        }  # fmt: skip

    def _stretch(self, rng: np.random.Generator) -> NDArray[np.float32]:
        out = np.zeros(self.length, np.float32)
        for _ in range(TRIES):
            clips = self.speakers[self.names[rng.integers(len(self.names))]]
            clip = clips[rng.integers(len(clips))]
            start = int(rng.integers(max(1, clip.length - self.length)))
            found = self.bank.read(clip, start, self.length)
            out = np.pad(found, (0, self.length - len(found)))
            if np.sqrt(np.mean(np.square(out))) > LEAST_RMS:
                break
        return out

    def _limited(self, rng: np.random.Generator, signal: NDArray[Any], limit: float) -> NDArray[np.float32]:
        """One stretch below a limit, aligned."""
        rate = self.bank.sample_rate
        if rng.random() < self.settings.steep:
            low = soxr.resample(signal, rate, 2 * limit, quality="HQ")
            back = soxr.resample(low, 2 * limit, rate, quality="HQ")[: len(signal)]
            return np.asarray(np.pad(back, (0, len(signal) - len(back))), np.float32)
        order = int(rng.choice(self.settings.orders))
        return artefacts.band_limit(signal[None], rate, low_hz=None, high_hz=limit, order=order)[0]


class ExtensionModule(AveragedModule):
    """Trains the extension network."""

    network: ExtensionNet
    average: ExtensionNet

    def __init__(self, settings: ExtensionSettings) -> None:
        super().__init__(settings, ExtensionNet(settings.config))

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        with torch.autocast(batch["given"].device.type, enabled=False):
            given = batch["given"]
            frames, bins = self.network.frames(given.shape[-1]), self.settings.config.bins
            noise = torch.stack([carrier(int(seed), bins, frames) for seed in batch["noise"]]).to(given.device)
            estimate = self.network(given, batch["limit"], noise)
            loss, parts = weighted(
                self.settings.losses, estimate[:, None], batch["target"][:, None], self.settings.network.sample_rate
            )
        return self.told(loss, parts)

    def configure_optimizers(self) -> Any:
        return adamw_with_cosine(self.settings, self.trained(), self.settings.weight_decay)


def carrier(seed: int, bins: int, frames: int) -> Tensor:
    """Noise of magnitude 1, `[F, N]`."""
    angle = torch.rand((bins, frames), generator=torch.Generator().manual_seed(seed)) * (2 * torch.pi)
    return torch.polar(torch.ones_like(angle), angle)


def fit(
    settings: ExtensionSettings,
    data: Path,
    out: Path,
    work: Path,
    threads: int | None = None,
    stop_after: int | None = None,
) -> Path | None:
    """Train on a folder of training audio and write one safetensors checkpoint, and beside it its record.

    Returns:
        `out`, or None when `stop_after` came first (see `running.run`).

    Raises:
        AudioRestorerError: no speech (before anything is trained), or another process trains the same.
    """
    bank = AudioBank(data, work / "cache", settings.network.sample_rate, "train")
    examples = ExtensionExamples(bank, settings)

    def build(_: runs.RunFolder) -> running.Parts:
        return running.Parts(ExtensionModule(settings), EpochData(examples, settings), [])

    def save(module: Any, card: dict[str, Any]) -> None:
        save_checkpoint(out, module.average, card, settings.storage)

    return running.run(
        settings, {"data": sha256_file(data / "index.jsonl")}, build, save, out, work, threads, stop_after
    )
