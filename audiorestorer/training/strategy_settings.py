"""Settings of what a training makes of real degraded recordings: sections `real`, `strategies` and `monitoring` of an experiment file.

All strategies are off by default, and any of them go together.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from audiorestorer.config import Settings
from audiorestorer.training.curriculum import Shape


class RealSettings(Settings):
    """Recordings whose clean side nobody knows."""

    folder: str | None = Field(None, description="folder, or manifest with rows without clean; --real goes before")
    hold_out: float = Field(0.15, ge=0, lt=1, description="share of the recordings that only monitoring sees")
    min_sec: float = Field(1.0, gt=0, description="shorter recordings are left out")


class AdaptiveSettings(Settings):
    """The synthetic degradations follow an analysis of the real recordings."""

    enabled: bool = False
    every_epochs: int = Field(10, ge=1, description="epochs between two analyses")
    recordings: int = Field(
        16, ge=1, le=10_000, description="recordings that each analysis takes, never the same for long"
    )
    share: float = Field(1.0, ge=0, le=1, description="of the synthetic examples; the others keep `degradations`")


class MixedSettings(Settings):
    """Supervised and cycle losses on synthetic examples, consistency on real ones. The weights of the losses."""

    enabled: bool = False
    supervised: float = Field(1.0, ge=0, description="synthetic: output against target, by the section `losses`")
    cycle: float = Field(0.2, ge=0, description="synthetic: the output, degraded as the input was, restored again")
    consistency: float = Field(0.3, ge=0, description="real: fewer impulses, the envelope and the energy kept")


class ContrastiveSettings(Settings):
    """Embeddings of the bottleneck tell synthetic artefacts from real ones."""

    enabled: bool = False
    weight: float = Field(0.05, ge=0, description="of the loss")
    temperature: float = Field(0.1, gt=0, le=10)
    size: int = Field(32, ge=2, le=1024, description="of the embedding")


class RatioSettings(Settings):
    """The share of synthetic examples changes over the training, instead of `synthetic_ratio`."""

    enabled: bool = False
    start: float = Field(1.0, ge=0, le=1, description="share at the first step")
    end: float = Field(0.3, ge=0, le=1, description="share at the last step")
    shape: Shape = "linear"


class PseudoLabelSettings(Settings):
    """A teacher splits real recordings; the student learns from them remixed (RemixIT, Tzinis et al. 2022)."""

    enabled: bool = False
    weight: float = Field(0.3, ge=0, description="of the loss")
    start: float = Field(
        0.3, ge=0, lt=1, description="share of the epochs before the teacher, a copy of the average, begins"
    )
    decay: float = Field(0.99, ge=0, le=1, description="of the teacher's moving average, once an epoch")


class StrategySettings(Settings):
    """Any number of strategies; without one, a training is what it always was."""

    synthetic_ratio: float = Field(0.7, ge=0, le=1, description="share of synthetic examples where real ones are used")
    adaptive: AdaptiveSettings = AdaptiveSettings()
    mixed: MixedSettings = MixedSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()
    curriculum: RatioSettings = RatioSettings()
    pseudo_label: PseudoLabelSettings = PseudoLabelSettings()

    @property
    def uses_real(self) -> bool:
        """Whether real recordings are among the examples."""
        return self.mixed.enabled or self.contrastive.enabled or self.pseudo_label.enabled

    @model_validator(mode="after")
    def _something_to_learn(self) -> StrategySettings:
        if self.curriculum.enabled and not self.uses_real:
            raise ValueError(
                "curriculum: what is to be learnt from real recordings? enable mixed, contrastive or pseudo_label"
            )
        return self


class MonitoringSettings(Settings):
    """What is measured after each epoch of a training on degraded recordings, and when a curve is unhealthy."""

    items: int = Field(8, ge=1, le=1000, description="held-out synthetic examples, and crops of real recordings")
    patience: int = Field(5, ge=2, le=1000, description="epochs over which a curve is judged")
    rise: float = Field(0.1, gt=0, description="consistency rising: by this share over that time")
    gap: float = Field(0.25, gt=0, description="gap persisting: the real loss lags behind the synthetic by this share")
    plateau: float = Field(0.01, gt=0, description="plateau: the synthetic loss falls by less than this share")
