"""The settings that every training run has, whatever it trains."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from audiorestorer.config import NAME_PATTERN, SEED_MAX, Settings

# Types with their bounds and descriptions, for a subclass that has another default
RunName = Annotated[str, Field(pattern=NAME_PATTERN, description="Name of the run and of its model")]
Steps = Annotated[int, Field(ge=1, le=100_000_000, description="Number of optimiser steps")]
StepsPerEpoch = Annotated[
    int, Field(ge=1, le=100_000_000, description="Steps per epoch; a checkpoint is written after each epoch")
]
BatchSize = Annotated[int, Field(ge=1, le=65_536, description="Examples per batch, of each process")]
LearningRate = Annotated[float, Field(gt=0, le=10, description="Highest learning rate, reached after the warm-up")]
WarmupSteps = Annotated[int, Field(ge=0, le=100_000_000, description="Steps in which the learning rate rises")]
ClipNorm = Annotated[float, Field(gt=0, le=1e6, description="The gradient's norm is clipped to this")]
Precision = Annotated[
    Literal["32-true", "bf16-mixed"], Field(description="Number format of the computation, by Lightning's name")
]


class RunSettings(Settings):
    """One training run; its length is a number of steps, never a time, so that it can be repeated.

    The defaults are those of a small mask network.
    """

    # how fast a run is, and paths, say nothing of what it makes
    unrecorded: ClassVar[dict[str, Any]] = {"threads": True, "workers": True}

    name: RunName = "pilot"
    seed: int = Field(1, ge=0, le=SEED_MAX, description="Seed of the weights, of every example and of all noise")
    steps: Steps = 1000
    steps_per_epoch: StepsPerEpoch = 50
    batch_size: BatchSize = 8
    learning_rate: LearningRate = 3e-3
    warmup_steps: WarmupSteps = 30
    clip_norm: ClipNorm = 5.0
    precision: Precision = "bf16-mixed"
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="Where the training computes; auto: on a GPU where there is one"
    )
    threads: int = Field(
        1, ge=1, le=256, description="CPU threads of the training; two runs of one thread do more than one run of two"
    )
    workers: int = Field(1, ge=0, le=64, description="Processes that make examples; 0: the training process itself")

    @property
    def epochs(self) -> int:
        return self.steps // self.steps_per_epoch

    def record(self) -> dict[str, Any]:
        """The settings that make the run what it is, as JSON types: they are in the model's card."""
        return self.model_dump(mode="json", exclude=self.unrecorded)

    def digest(self, inputs: Mapping[str, Any]) -> str:
        """Names the run: another setting or another input never resumes it.

        Args:
            inputs: digests of what it trains on and begins with, by name.
        """
        return hashlib.sha256(json.dumps([self.record(), inputs], sort_keys=True).encode()).hexdigest()[:12]

    @model_validator(mode="after")
    def _whole_epochs(self) -> Self:
        if self.steps % self.steps_per_epoch:
            raise ValueError(f"steps {self.steps} must be a multiple of steps_per_epoch {self.steps_per_epoch}")
        return self


def changed(content: Any, changes: Mapping[str, Any]) -> Any:
    """The content of an experiment file with sections and keys that differ."""
    if not isinstance(content, dict):
        return content
    merged = dict(content)
    for name, value in changes.items():
        merged[name] = changed(merged.get(name) or {}, value) if isinstance(value, Mapping) else value
    return merged
