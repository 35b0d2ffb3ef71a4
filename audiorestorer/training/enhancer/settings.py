"""Settings of the enhancer's three trainings. The defaults are the published recipe; a file holds only what differs.

`denoiser`: no key of its own. Stage 1 of the enhancer: `lcfm_training_mode: ae`; stage 2: `lcfm_training_mode: cfm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from audiorestorer.config import NAME_PATTERN, Settings, read_yaml, validate
from audiorestorer.datasets.enhancement.mixing import EnhancementSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.enhancer.settings import (
    FULL_RATE,
    DiscriminatorSettings,
    EnhancerSettings,
    Size,
    of_size,
)
from audiorestorer.training.settings import changed

MODE = "lcfm_training_mode"
NOT_OF_THE_RUN = frozenset({"threads", "workers"})  # they change how fast it is


class CleanSpeechSettings(EnhancementSettings):
    """Speech alone, as it is."""

    segment_sec: float = Field(1.0, gt=0.05, le=30)
    background: float = Field(0.0, ge=0, le=0)
    distorted: float = Field(0.0, ge=0, le=0)


class FlowDataSettings(EnhancementSettings):
    """Mixtures, a fifth of them with another pitch and other formants."""

    pitch: float = Field(0.2, ge=0, le=1)


class SampleSettings(Settings):
    """What is written of fixed validation examples: audio and spectrograms, as files and for TensorBoard."""

    every_epochs: int = Field(1, ge=0, description="0: never; the last epoch counts too")
    items: int = Field(2, ge=1, le=64)


class EnhancerTrainSettings(Settings):
    """What the three have in common. A run's length is a number of steps, never a time, so that it can be repeated."""

    parts: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]]

    name: str = Field(pattern=NAME_PATTERN, description="of the run")
    size: Size = Field("reference", description="of the networks: pilot (two CPU cores), lite (one GPU) or reference")
    sample_rate: int = Field(FULL_RATE, description="44100, or 22050: half the window and the hop")
    network: EnhancerSettings | None = Field(None, description="instead of size and sample_rate: every dimension")
    seed: int = Field(1, ge=0, description="of the weights, of every example and of all noise")
    steps: int = Field(1_000_000, ge=1, description="optimiser steps")
    steps_per_epoch: int = Field(1000, ge=1, description="a checkpoint is written after each epoch")
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(1e-4, gt=0, description="after the warm-up; then it falls to 0 in a line")
    start_rate: float = Field(1e-5, gt=0, description="learning rate of the first step")
    warmup_steps: int = Field(1000, ge=0)
    clip_norm: float = Field(1.0, gt=0, description="the gradient's norm is clipped to this")
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="Lightning's name")
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    threads: int = Field(1, ge=1, le=256)
    workers: int = Field(1, ge=0, le=64, description="processes that make examples; 0: the training process itself")
    valid_items: int = Field(8, ge=1, le=1000, description="fixed examples that each epoch is measured on")
    data: EnhancementSettings = EnhancementSettings()
    samples: SampleSettings = SampleSettings()

    @property
    def epochs(self) -> int:
        return self.steps // self.steps_per_epoch

    @property
    def networks(self) -> EnhancerSettings:
        return self.network or of_size(self.size, self.sample_rate)

    def record(self) -> str:
        """JSON of what makes the run what it is."""
        return self.model_dump_json(exclude=set(NOT_OF_THE_RUN))

    @model_validator(mode="after")
    def _possible(self) -> EnhancerTrainSettings:
        if self.steps % self.steps_per_epoch:
            raise ValueError(f"steps {self.steps} must be a multiple of steps_per_epoch {self.steps_per_epoch}")
        if self.network is None:
            try:
                of_size(self.size, self.sample_rate)
            except AudioRestorerError as error:
                raise ValueError(str(error)) from error
        return self


class DenoiserTrainSettings(EnhancerTrainSettings):
    """The denoiser: L1 of the waveform, from the mixture to the speech as it was distorted."""

    parts: ClassVar[tuple[str, ...]] = ("denoiser",)
    needs: ClassVar[tuple[str, ...]] = ()

    name: str = Field("denoiser", pattern=NAME_PATTERN)


class Stage1Settings(EnhancerTrainSettings):
    """Autoencoder and vocoder, on clean speech."""

    parts: ClassVar[tuple[str, ...]] = ("irmae", "vocoder")
    needs: ClassVar[tuple[str, ...]] = ("denoiser",)

    lcfm_training_mode: Literal["ae"]
    name: str = Field("enhancer_stage1", pattern=NAME_PATTERN)
    batch_size: int = Field(16, ge=1)
    data: CleanSpeechSettings = CleanSpeechSettings()
    level_db: tuple[float, float] = Field(
        (-12.0, 0.0), description="of the speech, over the reference level: in a mixture at that level speech is softer"
    )
    vocoder_from: int = Field(0, ge=0, description="step from which the vocoder learns; before, the autoencoder alone")
    vocoder_items: int | None = Field(None, ge=1, description="examples of each batch that the vocoder gets; null: all")
    vocoder_sec: float | None = Field(None, gt=0, description="seconds of each, cut at random; null: all of it")
    gan_from: int | None = Field(5000, ge=0, description="step from which the discriminators take part; null: never")
    resolutions: tuple[tuple[int, int, int], ...] = Field(
        ((512, 100, 400), (1024, 256, 1024), (2048, 512, 2048)),
        min_length=1,
        description="of the spectral loss: n_fft, hop and window in samples",
    )
    log_slope: float = Field(
        2.0, gt=0, description="of the spectral loss: log1p(this m), m is 1 at the reference level"
    )
    discriminators: DiscriminatorSettings = DiscriminatorSettings()
    scale_items: int = Field(64, ge=1, le=10_000, description="examples that z_scale is estimated from, at the end")

    @model_validator(mode="after")
    def _range(self) -> Stage1Settings:
        if self.level_db[0] > self.level_db[1]:
            raise ValueError("level_db is [lowest, highest]")
        return self


class Stage2Settings(EnhancerTrainSettings):
    """The flow, with all else frozen: from the code of what was heard to that of clean speech."""

    parts: ClassVar[tuple[str, ...]] = ("flow",)
    needs: ClassVar[tuple[str, ...]] = ("denoiser", "irmae", "vocoder")

    lcfm_training_mode: Literal["cfm"]
    name: str = Field("enhancer_stage2", pattern=NAME_PATTERN)
    data: FlowDataSettings = FlowDataSettings()
    beta: float = Field(0.2, gt=0, description="lambda, the denoised share of the condition, is drawn from Beta(b, b)")
    nfe: int = Field(16, ge=2, description="evaluations of the field in the samples")
    fixed_examples: int = Field(
        0,
        ge=0,
        description="so many examples again and again: what the frozen parts make of them is kept in memory, times, noise and"
        " lambda are drawn anew; whole batches, at most an epoch; 0: an example is used once",
    )

    @model_validator(mode="after")
    def _whole_batches(self) -> Stage2Settings:
        epoch = self.steps_per_epoch * self.batch_size
        if self.fixed_examples % self.batch_size or self.fixed_examples > epoch:
            raise ValueError(
                f"fixed_examples is a multiple of batch_size {self.batch_size}, at most an epoch ({epoch})"
            )
        return self


STAGES: dict[str | None, type[EnhancerTrainSettings]] = {
    None: DenoiserTrainSettings,
    "ae": Stage1Settings,
    "cfm": Stage2Settings,
}


def load_settings(source: Path | Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> EnhancerTrainSettings:
    """Read an experiment file (or take its content); `lcfm_training_mode` says what is trained.

    Args:
        changes: sections and keys that differ; all else stays.

    Raises:
        AudioRestorerError: unreadable, an unknown key, a value out of bounds; names the file and the key.
    """
    content, where = (read_yaml(source), str(source)) if isinstance(source, Path) else (dict(source), "experiment")
    content = changed(content, changes or {})
    mode = content.get(MODE) if isinstance(content, dict) else None
    if mode not in STAGES:
        raise AudioRestorerError(
            f"{where}: {MODE}: {mode!r} is neither ae (stage 1) nor cfm (stage 2); none: the denoiser"
        )
    return validate(STAGES[mode], content, where)
