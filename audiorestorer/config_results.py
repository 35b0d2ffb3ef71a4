"""The sections of the configuration on finished recordings: what is measured, what the report plays, how they are handed over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from audiorestorer.checking import Settings
from audiorestorer.config_values import NAME_PATTERN, SEED_MAX, PathOrNull, bytes_of
from audiorestorer.windows_names import device_of

# The modules of metrics/groups, by their names alone: nothing is imported here.
METRIC_GROUPS = tuple(sorted(path.stem for path in Path(__file__).parent.glob("metrics/groups/[a-z]*.py")))
if TYPE_CHECKING:
    MetricGroup = str
else:
    MetricGroup = Annotated[Literal[METRIC_GROUPS], Field(description="A module of audiorestorer/metrics/groups")]


class EvaluateSettings(Settings):
    metrics: list[MetricGroup] = Field(
        list(METRIC_GROUPS),
        description="Groups of metrics to measure; a figure that cannot be measured is missing, with its reason",
    )
    recogniser: str = Field(
        "pocketsphinx",
        pattern=NAME_PATTERN,
        description="Recogniser for word error rates: pocketsphinx (built in, English), or an entry of the registry",
    )
    language_model: Literal["batch", "general", "both"] = Field(
        "batch",
        description="Model of pocketsphinx; batch: made of the transcripts (wer); general: its own (wer_open, ten times as slow)",
    )
    wer_sample: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        100, description="Number of recordings whose words are heard, drawn by the seed; all: every recording"
    )
    seed: int = Field(0, ge=0, le=SEED_MAX, description="Seed of the sample of recordings whose words are heard")
    sentences: PathOrNull = Field(
        None, description="Text file, one sentence per line, for the batch's language model; null: the transcripts"
    )
    tagger: str | None = Field(
        "panns_cnn14", pattern=NAME_PATTERN,
        description="Tagger for PANNs: an entry of the registry; only `snakemake evaluation_models` fetches its weights",
    )  # fmt: skip


class SnippetSettings(Settings):
    count: int = Field(
        12,
        ge=0,
        le=200,
        description="Recordings in the report: worst, best, a random sample; never all of a large batch",
    )
    seconds: float = Field(6.0, gt=0, le=60, description="Length of an A/B snippet in seconds")
    seed: int = Field(0, ge=0, le=SEED_MAX, description="Seed of the random sample of recordings in the report")


class DeliverSettings(Settings):
    name: str = Field("cleaned", pattern=NAME_PATTERN, description="Name of the archive: artifacts/delivery/<name>.zip")
    format: Literal["zip", "tar.zst"] = Field("zip", description="Format of the archive: zip or tar.zst")
    max_size: str | None = Field(
        None,
        description="Largest size of an archive, e.g. 2GB; more becomes several archives, each complete; null: one",
    )
    windows_names: Literal["map", "keep"] = Field(
        "map",
        description="Names that Windows cannot hold; map: changed in the archive (names.tsv lists them); keep: kept",
    )

    @property
    def max_bytes(self) -> int | None:
        return None if self.max_size is None else bytes_of(self.max_size)

    @field_validator("name")
    @classmethod
    def _a_name_everywhere(cls, name: str) -> str:
        if device_of(name):
            raise ValueError(f"{name!r} is the name of a device on Windows")
        return name

    @field_validator("max_size")
    @classmethod
    def _a_size(cls, text: str | None) -> str | None:
        if text is not None:
            bytes_of(text)
        return text
