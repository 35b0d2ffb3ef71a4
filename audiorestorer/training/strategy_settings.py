"""Settings of how a training uses real degraded recordings: sections `real`, `strategies` and `monitoring` of an experiment file.

All strategies are off by default, and any of them go together.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from audiorestorer.config import Settings
from audiorestorer.training.curriculum import Shape


class RealSettings(Settings):
    """Recordings whose clean side nobody knows."""

    folder: str | None = Field(
        None, description="Folder of real recordings, or a manifest without clean sides; --real overrides it"
    )
    hold_out: float = Field(0.15, ge=0, lt=1, description="Share of the recordings that only monitoring sees")
    min_sec: float = Field(1.0, gt=0, description="Recordings shorter than this many seconds are left out")


class AdaptiveSettings(Settings):
    """The synthetic degradations follow an analysis of the real recordings."""

    enabled: bool = Field(False, description="Use this strategy")
    every_epochs: int = Field(10, ge=1, description="Epochs between two analyses")
    recordings: int = Field(
        16, ge=1, le=10_000, description="Recordings that each analysis takes, never the same for long"
    )
    share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the synthetic examples that follow; the others keep `degradations`",
    )


class MixedSettings(Settings):
    """Supervised and cycle losses on synthetic examples, consistency on real ones. The weights of the losses."""

    enabled: bool = Field(False, description="Use this strategy")
    supervised: float = Field(
        1.0, ge=0, description="Weight, synthetic examples: output against target, by the section `losses`"
    )
    cycle: float = Field(
        0.2, ge=0, description="Weight, synthetic examples: the output, degraded as the input was, restored again"
    )
    consistency: float = Field(
        0.3, ge=0, description="Weight, real examples: fewer impulses, the envelope and the energy kept"
    )


class ContrastiveSettings(Settings):
    """Embeddings of the bottleneck tell synthetic artefacts from real ones."""

    enabled: bool = Field(False, description="Use this strategy")
    weight: float = Field(0.05, ge=0, description="Weight of this loss")
    temperature: float = Field(
        0.1, gt=0, le=10, description="Temperature of the likeness between embeddings; lower is stricter"
    )
    size: int = Field(32, ge=2, le=1024, description="Dimensions of the embedding")


class RatioSettings(Settings):
    """The share of synthetic examples changes over the training, instead of `synthetic_ratio`."""

    enabled: bool = Field(False, description="Use this strategy")
    start: float = Field(1.0, ge=0, le=1, description="Share of synthetic examples at the first step")
    end: float = Field(0.3, ge=0, le=1, description="Share of synthetic examples at the last step")
    shape: Shape = Field("linear", description="How the share goes from start to end: linear or cosine")


class PseudoLabelSettings(Settings):
    """A teacher splits real recordings; the student learns from them remixed (RemixIT, Tzinis et al. 2022)."""

    enabled: bool = Field(False, description="Use this strategy")
    weight: float = Field(0.3, ge=0, description="Weight of this loss")
    start: float = Field(
        0.3, ge=0, lt=1, description="Share of the epochs before the teacher, a copy of the average, begins"
    )
    decay: float = Field(0.99, ge=0, le=1, description="Decay of the teacher's moving average, applied once per epoch")


class StrategySettings(Settings):
    """Any number of strategies; without one, a training uses no real recordings."""

    synthetic_ratio: float = Field(
        0.7, ge=0, le=1, description="Share of synthetic examples where real ones are used as well"
    )
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
    """Measurements after each epoch of a training on degraded recordings, and when a curve counts as unhealthy."""

    items: int = Field(8, ge=1, le=1000, description="Held-out synthetic examples, and crops of real recordings")
    patience: int = Field(5, ge=2, le=1000, description="Number of epochs over which a curve is judged")
    rise: float = Field(0.1, gt=0, description="Warning `consistency rising`: the real loss rises by this share")
    gap: float = Field(
        0.25, gt=0, description="Warning `gap persisting`: the real loss lags behind the synthetic one by this share"
    )
    plateau: float = Field(
        0.01, gt=0, description="Warning `plateau`: the synthetic loss falls by less than this share"
    )
