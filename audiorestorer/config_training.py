"""The configuration's sections on trainings: `training`, `ablation` and the enhancer's. No torch import."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from audiorestorer.checking import Settings
from audiorestorer.config_values import NAME_PATTERN, SEED_MAX, PathName, PathOrNull


class TrainingSettings(Settings):
    """`snakemake training`: from stems and noise to a registered model."""

    experiment: PathName = Field(
        "config/experiments/denoiser_demo.yaml", description="Experiment file, which holds network, losses and steps"
    )
    stems: PathOrNull = Field(
        None, description="Folder of stems like MUSDB18-HQ or MoisesDB; null: generated, to try it"
    )
    noises: PathOrNull = Field(None, description="Folder of noises; null: generated")
    noisy: PathOrNull = Field(
        None, description="Folder of noisy recordings to run the trained model on; null: generated"
    )
    clean: PathOrNull = Field(None, description="Folder of references of the noisy recordings, same names")
    real: PathOrNull = Field(
        None,
        description="Folder of real degraded recordings, for analysis, ablation and the strategies of experiments; null: none",
    )
    target: str = Field(
        "sum", pattern=NAME_PATTERN, description="What counts as clean: the sum of the stems, or the name of one stem"
    )
    tol_db: float = Field(
        -40.0, ge=-300, le=0, description="Largest residual that the stem audit accepts, dB relative to the mixture"
    )
    name: str = Field(
        "trained_denoiser",
        pattern=NAME_PATTERN,
        description="Name of the trained model in artifacts/training/models.yaml",
    )


class AblationRow(Settings):
    """One row of the table: a name, and what it changes of the experiment's section `strategies`."""

    name: str = Field(pattern=NAME_PATTERN)
    strategies: dict[str, Any] = {}


class AblationDataSettings(Settings):
    """What the ablation is tested on, and what it trains on where no folders are given."""

    tracks: int = Field(24, ge=8, le=1000, description="Generated tracks beside the speech of data/pilot, for all sets")
    stand_ins: int = Field(
        24, ge=2, le=10_000, description="Generated recordings that stand in for real ones where training.real is null"
    )
    items: int = Field(32, ge=5, le=5000, description="Test items per condition")
    item_sec: float = Field(4.0, ge=1, le=60, description="Seconds per test item")
    seed: int = Field(7, ge=0, le=SEED_MAX, description="Seed of the test set and of the stand-ins")


def _ablation_rows() -> list[AblationRow]:
    each: dict[str, dict[str, Any]] = {
        "baseline": {},
        "adaptive": {"adaptive": {"enabled": True, "every_epochs": 3, "recordings": 16}},
        "mixed": {"mixed": {"enabled": True}},
        "contrastive": {"contrastive": {"enabled": True}},
        "mixed_curriculum": {"mixed": {"enabled": True}, "curriculum": {"enabled": True}},
        "pseudo_label": {"pseudo_label": {"enabled": True}},
    }
    every = {name: value for strategies in each.values() for name, value in strategies.items()}
    return [AblationRow(name=name, strategies=value) for name, value in {**each, "together": every}.items()]


class AblationSettings(Settings):
    """`snakemake ablation`: which strategy helps, by how much. The defaults are the small form."""

    experiment: PathName = Field(
        "config/experiments/restorer_ablation.yaml", description="Experiment file that every training is based on"
    )
    steps: int = Field(
        300,
        ge=1,
        le=100_000_000,
        description="Optimiser steps per training; a multiple of the experiment's steps_per_epoch",
    )
    seeds: list[int] = Field(
        [31, 32, 33], min_length=1, description="Seeds; each row is trained once with each of them"
    )
    threads: int = Field(
        1, ge=1, le=256, description="Threads per training; two trainings of one thread get more done than one of two"
    )
    clean: PathOrNull = Field(
        None,
        description="Folder of clean recordings to train and test on; null: speech of data/pilot, generated tracks",
    )
    baseline: str = Field(
        "baseline", pattern=NAME_PATTERN, description="Name of the row that all others are compared with"
    )
    rows: list[AblationRow] = Field(
        default_factory=_ablation_rows, min_length=1,
        description="Rows of the table: a name and its strategies (docs/real_recordings.md). Another config file's list replaces all",
    )  # fmt: skip
    data: AblationDataSettings = AblationDataSettings()

    @model_validator(mode="after")
    def _one_each(self) -> AblationSettings:
        names = [row.name for row in self.rows]
        taken = {"input", "click_repair"} & set(names)
        if (
            len(set(names)) < len(names)
            or len(set(self.seeds)) < len(self.seeds)
            or not all(0 <= seed <= SEED_MAX for seed in self.seeds)
        ):
            raise ValueError(f"rows and seeds differ from each other; seeds lie in 0 .. {SEED_MAX}")
        if taken:
            raise ValueError(f"rows: {', '.join(sorted(taken))} is in the table anyway")
        if self.baseline not in names:
            raise ValueError(f"baseline {self.baseline!r} is none of the rows")
        return self


class EnhancerTrainingSettings(Settings):
    """`snakemake enhancer`: the enhancer's trainings. What each does is in its experiment file."""

    data: PathOrNull = Field(
        None,
        description="Folder with fg/ (clean speech), bg/ (noise) and rir/**/*.npy (rooms); null: generated, to try it",
    )
    denoiser: PathName = Field("config/experiments/denoiser.yaml", description="Experiment file of the denoiser")
    stage1: PathName = Field(
        "config/experiments/enhancer_stage1.yaml", description="Experiment file of autoencoder and vocoder"
    )
    stage2: PathName = Field("config/experiments/enhancer_stage2.yaml", description="Experiment file of the flow")
