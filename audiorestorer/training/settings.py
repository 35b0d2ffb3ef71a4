"""Settings of a mask network's training. An experiment file (config/experiments/*.yaml) holds only what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from audiorestorer.config import Settings, read_yaml, validate
from audiorestorer.datasets.degradation.settings import DegradationSettings
from audiorestorer.datasets.mixtures import MixtureSettings, Task
from audiorestorer.errors import AudioRestorerError
from audiorestorer.losses.waveform import LOSSES, LOSSES_FILE
from audiorestorer.models.mask_config import Kind, MaskUNetConfig
from audiorestorer.models.weights import Storage
from audiorestorer.training.run_settings import RunSettings, changed
from audiorestorer.training.strategy_settings import (
    MixedSettings,
    MonitoringSettings,
    RatioSettings,
    RealSettings,
    StrategySettings,
)


class NetworkSettings(Settings):
    """Shape of the mask network (`MaskUNetConfig`)."""

    sample_rate: int = Field(22050, ge=8000, le=96000, description="Sample rate of the network, Hz")
    n_fft: int = Field(512, ge=64, le=8192, description="STFT size in samples")
    hop_length: int = Field(128, ge=16, le=4096, description="Samples between frames; divides n_fft, at most n_fft / 2")
    frequency_fold: int = Field(4, ge=1, le=32, description="Neighbouring bins that become channels at the entry")
    channels: list[int] = Field(
        [24, 40, 64], max_length=7, description="Channels of each encoder level; every level halves the bins"
    )
    time_strides: list[int] = Field(
        [1, 2, 2], max_length=7, description="1 or 2 per encoder level: by how much it reduces the frames"
    )
    bottleneck: Kind = Field("gru", description="Layer along time at the bottom of the network")
    rnn_hidden: int = Field(128, ge=4, le=1024, description="Units of the recurrent layers, per direction")
    rnn_layers: int = Field(2, ge=1, le=8, description="Number of recurrent layers")
    mask_floor: float = Field(0.0, ge=0, lt=1, description="Least value of the mask")
    mask_limit: float = Field(1.0, gt=0, le=4, description="Largest value of the mask")
    bands: int = Field(
        0, ge=0, le=512, description="Bands of equal width in mel, in place of the U-Net; 0: the U-Net, no bands"
    )
    band_width: int = Field(64, ge=4, le=1024, description="Features per band")
    band_hidden: int = Field(48, ge=4, le=1024, description="Recurrent units per direction within each band")
    taps: int = Field(
        0,
        ge=0,
        le=15,
        description="With bands: odd number of neighbouring frames that a complex filter in each bin joins, beside the mask; 0: none",
    )


class AudioDebugSettings(Settings):
    """Triads (noisy, output, clean) of fixed items of the valid split, written as WAV."""

    every_epochs: int = Field(
        0, ge=0, le=1_000_000, description="Epochs between two sets of triads, the last epoch always; 0: never"
    )
    items: int = Field(4, ge=1, le=200, description="Number of triads each time")
    seconds: float = Field(4.0, gt=0.1, le=60, description="Length of each triad")


class DataAuditSettings(Settings):
    """The examples that the mixer makes, measured."""

    every_epochs: int = Field(0, ge=0, le=1_000_000, description="Epochs between two audits; 0: never")
    items: int = Field(64, ge=1, le=10000, description="Examples measured each time")
    clean_snr_db: float = Field(25.0, description="Above this SNR an example counts as too clean")
    silence_share: float = Field(
        0.95, gt=0, le=1, description="An example with more silence than this counts as silent"
    )
    warn_share: float = Field(
        0.2, gt=0, le=1, description="Share of too clean or silent examples from which on a warning is given"
    )


class PerceptualEvalSettings(Settings):
    """SI-SDR, LSD, residual, composite and STOI on fixed items of the valid split."""

    every_epochs: int = Field(
        0, ge=0, le=1_000_000, description="Epochs between two measurements, the last epoch always; 0: never"
    )
    items: int = Field(8, ge=1, le=1000, description="Items measured each time")
    seconds: float = Field(4.0, gt=0.1, le=60, description="Length of each item")


class TrainSettings(RunSettings):
    """One training of a mask network."""

    unrecorded: ClassVar[dict[str, Any]] = {**RunSettings.unrecorded, "initial": True, "real": {"folder"}}

    task: Task = Field("separate", description="Separate (speech out of music) or denoise")
    initial: str | None = Field(
        None,
        description="Checkpoint of the same network whose weights are the beginning (fine-tuning); null: random weights",
    )
    schedule_steps: int | None = Field(
        None,
        ge=1,
        description="Steps over which the learning rate falls, where the training ends before it has; null: steps",
    )
    weight_decay: float = Field(1e-4, ge=0, le=10, description="Weight decay of AdamW")
    ema_decay: float = Field(
        0.99, ge=0, lt=1, description="Decay of the weights' moving average, which is what is saved"
    )
    devices: int = Field(
        1, ge=1, le=64, description="GPUs (or processes) that share the work; each has batches of its own"
    )
    strategy: Literal["auto", "ddp"] = Field(
        "auto", description="How several devices train together, by Lightning's name; ddp: one process per device"
    )
    overfit_items: int = Field(
        0, ge=0, le=1_000_000, description="Train on this many fixed examples again and again; 0: never the same"
    )
    storage: Storage = Field(
        "float16", description="Number format of the weights in the model's file; int8 is half of float16 again"
    )
    losses: dict[str, float] = Field(
        {"mr_stft": 0.5, "l1": 2.0, "si_sdr": 0.1}, min_length=1, description="Weight of each loss, by name"
    )
    network: NetworkSettings = NetworkSettings()
    mixtures: MixtureSettings = MixtureSettings()
    audio_debug: AudioDebugSettings = AudioDebugSettings()
    data_audit: DataAuditSettings = DataAuditSettings()
    perceptual_eval: PerceptualEvalSettings = PerceptualEvalSettings()
    degradations: DegradationSettings | None = Field(
        None, description="What happens to clean recordings (restoration); null: mixtures with music or noise"
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
        strategies = StrategySettings(mixed=MixedSettings(enabled=True), curriculum=RatioSettings(enabled=True))
        return self.model_copy(update={"strategies": strategies})

    @property
    def restores(self) -> bool:
        """Whether this run is about degraded recordings: it is monitored as such."""
        return self.degradations is not None or self.strategies.uses_real or self.strategies.adaptive.enabled

    @field_validator("losses")
    @classmethod
    def _known(cls, losses: dict[str, float]) -> dict[str, float]:
        for name in losses:
            if name not in LOSSES:
                raise ValueError(f"loss {name!r}: not one of {', '.join(LOSSES)} (LOSSES in {LOSSES_FILE})")
        return losses

    @model_validator(mode="after")
    def _possible(self) -> TrainSettings:
        if self.schedule_steps is not None and self.schedule_steps < self.steps:
            raise ValueError(f"schedule_steps {self.schedule_steps} must not be less than steps {self.steps}")
        strategies = self.strategies
        if self.degradations is not None and self.task != "denoise":
            raise ValueError("degradations are what task denoise takes away")
        if strategies.adaptive.enabled and self.degradations is None:
            raise ValueError("strategies.adaptive follows real recordings with degradations: set them (`{}` will do)")
        if strategies.contrastive.enabled and (self.network.bottleneck == "none" or self.network.bands):
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
