"""Settings of a training run. An experiment file (config/experiments/*.yaml) holds only what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from audiorestorer.config import NAME_PATTERN, Settings, read_yaml, validate
from audiorestorer.datasets.mixtures import MixtureSettings, Task


class NetworkSettings(Settings):
    """See `MaskUNetConfig`."""

    sample_rate: int = Field(22050, ge=8000, le=96000)
    n_fft: int = Field(512, ge=64, le=8192)
    hop_length: int = Field(128, ge=16)
    frequency_fold: int = Field(4, ge=1, le=32)
    channels: list[int] = Field([24, 40, 64], min_length=1, max_length=7)
    time_strides: list[int] = Field([1, 2, 2], min_length=1, max_length=7)
    rnn_hidden: int = Field(128, ge=4, le=1024)
    mask_floor: float = Field(0.0, ge=0, lt=1)
    mask_limit: float = Field(1.0, gt=0, le=4)


class TrainSettings(Settings):
    """One training run; its length is a number of steps, never a time, so that it can be repeated."""

    name: str = Field("pilot", pattern=NAME_PATTERN, description="of the model")
    task: Task = Field("separate", description="separate (speech out of music) or denoise")
    seed: int = Field(1, ge=0, description="of the weights and of every example")
    steps: int = Field(1000, ge=1, description="optimiser steps")
    steps_per_epoch: int = Field(50, ge=1, description="a checkpoint is written after each epoch")
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(3e-3, gt=0, description="peak of the cosine schedule")
    warmup_steps: int = Field(30, ge=0)
    weight_decay: float = Field(1e-4, ge=0)
    clip_norm: float = Field(5.0, gt=0, description="the gradient's norm is clipped to this")
    ema_decay: float = Field(0.99, ge=0, lt=1, description="the saved weights are this moving average")
    precision: Literal["32-true", "bf16-mixed"] = Field("bf16-mixed", description="Lightning's name")
    threads: int = Field(1, ge=1, le=256, description="two runs of one thread do more than one run of two")
    workers: int = Field(0, ge=0, le=64, description="processes that make examples")
    losses: dict[str, float] = Field({"mr_stft": 0.5, "l1": 2.0, "si_sdr": 0.1}, min_length=1)
    network: NetworkSettings = NetworkSettings()
    mixtures: MixtureSettings = MixtureSettings()

    @model_validator(mode="after")
    def _whole_epochs(self) -> TrainSettings:
        if self.steps % self.steps_per_epoch:
            raise ValueError(f"steps {self.steps} must be a multiple of steps_per_epoch {self.steps_per_epoch}")
        return self


def load_settings(source: Path | dict[str, Any]) -> TrainSettings:
    """Read an experiment file (or take its content).

    Raises:
        AudioRestorerError: unreadable, an unknown key, a value out of bounds; names the file and the key.
    """
    if isinstance(source, dict):
        return validate(TrainSettings, source, "experiment")
    return validate(TrainSettings, read_yaml(source), str(source))
