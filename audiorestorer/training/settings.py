"""Settings of a training run. An experiment file (config/experiments/*.yaml) holds only what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from audiorestorer.config import NAME_PATTERN, SEED_MAX, Settings, read_yaml, validate
from audiorestorer.datasets.degradation.settings import DegradationSettings
from audiorestorer.datasets.mixtures import MixtureSettings, Task
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.bottleneck import Kind
from audiorestorer.models.mask_unet import MaskUNetConfig
from audiorestorer.models.weights import Storage
from audiorestorer.training.strategy_settings import (
    MixedSettings,
    MonitoringSettings,
    RatioSettings,
    RealSettings,
    StrategySettings,
)

ADDED_LATER = (
    "degradations",
    "real",
    "strategies",
    "monitoring",
    "initial",
    "storage",
    "schedule_steps",
)  # left out of records where they are not used


class NetworkSettings(Settings):
    """See `MaskUNetConfig`."""

    sample_rate: int = Field(22050, ge=8000, le=96000)
    n_fft: int = Field(512, ge=64, le=8192)
    hop_length: int = Field(128, ge=16, le=4096)
    frequency_fold: int = Field(4, ge=1, le=32)
    channels: list[int] = Field([24, 40, 64], max_length=7)
    time_strides: list[int] = Field([1, 2, 2], max_length=7)
    bottleneck: Kind = "gru"
    rnn_hidden: int = Field(128, ge=4, le=1024)
    rnn_layers: int = Field(2, ge=1, le=8)
    mask_floor: float = Field(0.0, ge=0, lt=1)
    mask_limit: float = Field(1.0, gt=0, le=4)
    bands: int = Field(0, ge=0, le=512, description="0: no bands")
    band_width: int = Field(64, ge=4, le=1024)
    band_hidden: int = Field(48, ge=4, le=1024)


class AudioDebugSettings(Settings):
    """Triads (noisy, output, clean) of fixed items of the valid split, written as WAV."""

    every_epochs: int = Field(0, ge=0, le=1_000_000, description="0: never; the last epoch counts too")
    items: int = Field(4, ge=1, le=200)
    seconds: float = Field(4.0, gt=0.1, le=60)


class DataAuditSettings(Settings):
    """What the mixer makes, measured."""

    every_epochs: int = Field(0, ge=0, le=1_000_000, description="0: never")
    items: int = Field(64, ge=1, le=10000, description="examples measured each time")
    clean_snr_db: float = Field(25.0, description="above this SNR an example counts as too clean")
    silence_share: float = Field(
        0.95, gt=0, le=1, description="an example with more silence than this counts as silent"
    )
    warn_share: float = Field(0.2, gt=0, le=1, description="more such examples than this: a warning")


class PerceptualEvalSettings(Settings):
    """SI-SDR, LSD, residual, composite and STOI on fixed items of the valid split."""

    every_epochs: int = Field(0, ge=0, le=1_000_000, description="0: never; the last epoch counts too")
    items: int = Field(8, ge=1, le=1000)
    seconds: float = Field(4.0, gt=0.1, le=60)


class TrainSettings(Settings):
    """One training run; its length is a number of steps, never a time, so that it can be repeated."""

    name: str = Field("pilot", pattern=NAME_PATTERN, description="of the model")
    task: Task = Field("separate", description="separate (speech out of music) or denoise")
    seed: int = Field(1, ge=0, le=SEED_MAX, description="of the weights and of every example")
    initial: str | None = Field(
        None,
        description="checkpoint of the same network whose weights are the beginning (fine-tuning); null: random weights",
    )
    steps: int = Field(1000, ge=1, le=100_000_000, description="optimiser steps")
    steps_per_epoch: int = Field(50, ge=1, le=100_000_000, description="a checkpoint is written after each epoch")
    batch_size: int = Field(8, ge=1, le=65_536)
    learning_rate: float = Field(3e-3, gt=0, le=10, description="peak of the cosine schedule")
    schedule_steps: int | None = Field(
        None, ge=1, description="length of that schedule where the training ends before it does; null: steps"
    )
    warmup_steps: int = Field(30, ge=0, le=100_000_000)
    weight_decay: float = Field(1e-4, ge=0, le=10)
    clip_norm: float = Field(5.0, gt=0, le=1e6, description="the gradient's norm is clipped to this")
    ema_decay: float = Field(0.99, ge=0, lt=1, description="the saved weights are this moving average")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field("bf16-mixed", description="Lightning's name")
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = Field(1, ge=1, le=64, description="GPUs (or processes) that share each batch's examples")
    strategy: str = Field("auto", pattern="^(auto|ddp|ddp_spawn|fsdp)$", description="Lightning's name")
    overfit_items: int = Field(
        0, ge=0, le=1_000_000, description="train on this many fixed examples again and again; 0: never the same"
    )
    storage: Storage = Field("float16", description="of the weights in the model's file: int8 is half of it again")
    threads: int = Field(1, ge=1, le=256, description="two runs of one thread do more than one run of two")
    workers: int = Field(1, ge=0, le=64, description="processes that make examples; 0: the training process itself")
    losses: dict[str, float] = Field({"mr_stft": 0.5, "l1": 2.0, "si_sdr": 0.1}, min_length=1)
    network: NetworkSettings = NetworkSettings()
    mixtures: MixtureSettings = MixtureSettings()
    audio_debug: AudioDebugSettings = AudioDebugSettings()
    data_audit: DataAuditSettings = DataAuditSettings()
    perceptual_eval: PerceptualEvalSettings = PerceptualEvalSettings()
    degradations: DegradationSettings | None = Field(
        None, description="what happens to clean recordings (restoration); null: mixtures with music or noise"
    )
    real: RealSettings = RealSettings()
    strategies: StrategySettings = StrategySettings()
    monitoring: MonitoringSettings = MonitoringSettings()

    def for_real(self) -> TrainSettings:
        """These settings where there are real recordings: with `degradations` and no `strategies`, `mixed` and `curriculum`.

        Of the ablation's rows the one with most figures surely better and none surely worse (docs/real_recordings.md).
        """
        if "strategies" in self.model_fields_set or self.degradations is None:
            return self
        chosen = StrategySettings(mixed=MixedSettings(enabled=True), curriculum=RatioSettings(enabled=True))
        return self.model_copy(update={"strategies": chosen})

    @property
    def epochs(self) -> int:
        return self.steps // self.steps_per_epoch

    @property
    def restores(self) -> bool:
        """Whether this run is about degraded recordings: it is monitored as such."""
        return self.degradations is not None or self.strategies.uses_real or self.strategies.adaptive.enabled

    def record(self, exclude: frozenset[str] = frozenset()) -> str:
        """JSON of the settings, for names and records. Left out: sections that are not used, so that what was named before there were
        strategies keeps its name; the folder of the real recordings and the path of `initial`, which say nothing of what they hold."""
        shown = self.model_copy(update={"real": self.real.model_copy(update={"folder": None}), "initial": None})
        unused = {name for name in ADDED_LATER if getattr(shown, name) == type(self).model_fields[name].get_default()}
        left_out: dict[str, Any] = dict.fromkeys((*exclude, *unused), True)
        if not self.network.bands and "network" not in left_out:
            left_out["network"] = {"bands", "band_width", "band_hidden"}
        return shown.model_dump_json(exclude=left_out)

    @model_validator(mode="after")
    def _possible(self) -> TrainSettings:
        if self.steps % self.steps_per_epoch:
            raise ValueError(f"steps {self.steps} must be a multiple of steps_per_epoch {self.steps_per_epoch}")
        if self.schedule_steps is not None and self.schedule_steps < self.steps:
            raise ValueError(f"schedule_steps {self.schedule_steps} must not be less than steps {self.steps}")
        chosen = self.strategies
        if self.degradations is not None and self.task != "denoise":
            raise ValueError("degradations are what task denoise takes away")
        if chosen.adaptive.enabled and self.degradations is None:
            raise ValueError("strategies.adaptive follows real recordings with degradations: set them (`{}` will do)")
        if chosen.contrastive.enabled and (self.network.bottleneck == "none" or self.network.bands):
            raise ValueError("strategies.contrastive looks at the network's bottleneck: it needs one, and no bands")
        return self


def load_settings(source: Path | dict[str, Any], changes: Mapping[str, Any] | None = None) -> TrainSettings:
    """Read an experiment file (or take its content).

    Args:
        changes: sections and keys that differ: `{"strategies": {"mixed": {"enabled": True}}}` leaves all else as it is.

    Raises:
        AudioRestorerError: unreadable, an unknown key, a value out of bounds; names the file and the key.
    """
    content, where = (source, "experiment") if isinstance(source, dict) else (read_yaml(source), str(source))
    return validate(TrainSettings, changed(content, changes or {}), where)


def changed(content: Any, changes: Mapping[str, Any]) -> Any:
    """The content of an experiment file with sections and keys that differ."""
    if not isinstance(content, dict):
        return content
    merged = dict(content)
    for name, value in changes.items():
        merged[name] = changed(merged.get(name) or {}, value) if isinstance(value, Mapping) else value
    return merged


def check_network(own: MaskUNetConfig, config: Path) -> None:
    """Whether an experiment file describes a checkpoint's network.

    Raises:
        AudioRestorerError: names the keys that differ.
    """
    check_same(own, load_settings(config), str(config))


def check_same(own: MaskUNetConfig, settings: TrainSettings, where: str) -> None:
    """Whether settings describe a checkpoint's network.

    Raises:
        AudioRestorerError: names the keys that differ, after `where`.
    """
    wanted = MaskUNetConfig(**settings.network.model_dump())
    wrong = [
        f"{field.name} {getattr(wanted, field.name)!r}, the checkpoint has {getattr(own, field.name)!r}"
        for field in fields(MaskUNetConfig)
        if getattr(wanted, field.name) != getattr(own, field.name)
    ]
    if wrong:
        raise AudioRestorerError(f"{where}: network: {'; '.join(wrong)}")
