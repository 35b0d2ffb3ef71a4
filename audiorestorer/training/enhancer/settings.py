"""Settings of the enhancer's three trainings. The defaults are the published recipe; a file holds only what differs.

`denoiser`: no key of its own. Stage 1 of the enhancer: `lcfm_training_mode: ae`; stage 2: `lcfm_training_mode: cfm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from audiorestorer.config import Settings, read_yaml, validate
from audiorestorer.datasets.enhancement.mixing import EnhancementSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.enhancer.settings import (
    FULL_RATE,
    DiscriminatorSettings,
    EnhancerSettings,
    Size,
    of_size,
)
from audiorestorer.training.run_settings import (
    BatchSize,
    ClipNorm,
    LearningRate,
    Precision,
    RunName,
    RunSettings,
    Steps,
    StepsPerEpoch,
    WarmupSteps,
    changed,
)

MODE = "lcfm_training_mode"


class CleanSpeechSettings(EnhancementSettings):
    """Speech alone, as it is."""

    segment_sec: float = Field(1.0, gt=0.05, le=30)
    background: float = Field(0.0, ge=0, le=0)
    distorted: float = Field(0.0, ge=0, le=0)


class FlowDataSettings(EnhancementSettings):
    """Mixtures, a fifth of them with another pitch and other formants."""

    pitch: float = Field(0.2, ge=0, le=1)


class SampleSettings(Settings):
    """Audio and spectrograms of fixed validation examples, written as files and for TensorBoard."""

    every_epochs: int = Field(
        1, ge=0, description="Epochs between two sets of samples, the last epoch always; 0: never"
    )
    items: int = Field(2, ge=1, le=64, description="Number of examples written each time")


class EnhancerTrainSettings(RunSettings):
    """The settings that the enhancer's three trainings have in common."""

    parts: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]]

    size: Size = Field(
        "reference", description="Size of the networks: pilot (two CPU cores), lite (one GPU) or reference"
    )
    sample_rate: int = Field(
        FULL_RATE, description="Sample rate of the networks, Hz: 44100, or 22050 with half the window and the hop"
    )
    network: EnhancerSettings | None = Field(
        None, description="Every dimension of the networks, in place of size and sample_rate; null: as those two say"
    )
    steps: Steps = 1_000_000
    steps_per_epoch: StepsPerEpoch = 1000
    batch_size: BatchSize = 32
    learning_rate: LearningRate = 1e-4
    start_rate: float = Field(1e-5, gt=0, description="Learning rate of the first step")
    warmup_steps: WarmupSteps = 1000
    clip_norm: ClipNorm = 1.0
    precision: Precision = "32-true"
    valid_items: int = Field(8, ge=1, le=1000, description="Fixed examples that each epoch is measured on")
    data: EnhancementSettings = EnhancementSettings()
    samples: SampleSettings = SampleSettings()

    @property
    def networks(self) -> EnhancerSettings:
        return self.network or of_size(self.size, self.sample_rate)

    @model_validator(mode="after")
    def _possible(self) -> EnhancerTrainSettings:
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

    name: RunName = "denoiser"


class Stage1Settings(EnhancerTrainSettings):
    """Autoencoder and vocoder, on clean speech."""

    parts: ClassVar[tuple[str, ...]] = ("irmae", "vocoder")
    needs: ClassVar[tuple[str, ...]] = ("denoiser",)

    lcfm_training_mode: Literal["ae"]
    name: RunName = "enhancer_stage1"
    batch_size: BatchSize = 16
    data: CleanSpeechSettings = CleanSpeechSettings()
    level_db: tuple[float, float] = Field(
        (-12.0, 0.0),
        description="Range of the speech's level in dB over the reference level: in a mixture at that level speech is softer",
    )
    vocoder_from: int = Field(0, ge=0, description="Step from which the vocoder learns; before, the autoencoder alone")
    vocoder_items: int | None = Field(None, ge=1, description="Examples of each batch that the vocoder gets; null: all")
    vocoder_sec: float | None = Field(
        None, gt=0, description="Seconds of each that the vocoder gets, cut at random; null: all"
    )
    gan_from: int | None = Field(5000, ge=0, description="Step from which the discriminators take part; null: never")
    resolutions: tuple[tuple[int, int, int], ...] = Field(
        ((512, 100, 400), (1024, 256, 1024), (2048, 512, 2048)),
        min_length=1,
        description="STFTs of the spectral loss: n_fft, hop and window in samples",
    )
    log_slope: float = Field(
        2.0,
        gt=0,
        description="Slope s of the spectral loss log1p(s m), where the magnitude m is 1 at the reference level",
    )
    discriminators: DiscriminatorSettings = DiscriminatorSettings()
    scale_items: int = Field(64, ge=1, le=10_000, description="Examples that z_scale is estimated from, at the end")

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
    name: RunName = "enhancer_stage2"
    data: FlowDataSettings = FlowDataSettings()
    beta: float = Field(
        0.2,
        gt=0,
        description="Shape b of the law Beta(b, b) from which lambda, the denoised share of the condition, is drawn",
    )
    nfe: int = Field(16, ge=2, description="Evaluations of the flow's field for each sample that is written")
    fixed_examples: int = Field(
        0,
        ge=0,
        description="Number of examples that are used again and again: what the frozen parts make of them is kept in memory, times,"
        " noise and lambda are drawn anew; whole batches, at most an epoch; 0: an example is used once",
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
