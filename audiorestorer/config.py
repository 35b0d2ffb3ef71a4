"""Every setting, its default, its bounds and one line on what it does. Unknown keys are errors. No torch import.

`config/config.yaml` is generated from here (`python -m audiorestorer config`), and a test keeps the two equal.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from audiorestorer.errors import AudioRestorerError

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"


class Settings(BaseModel):
    """Base of all settings: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class IngestSettings(Settings):
    min_duration_sec: float = Field(0.1, gt=0, description="shorter files are rejected")
    silence_dbfs: float = Field(
        -80.0, le=0, description="files whose highest sample stays below this are rejected as silent"
    )


class SeparatorSettings(Settings):
    """One separator. Its stems are a soft ratio mask; all separators' masks are fused by maximum."""

    name: str = Field(pattern=NAME_PATTERN, description="folder of its artifacts")
    model: str = Field(pattern=NAME_PATTERN, description="entry of the registry (config/models.yaml)")
    shifts: int = Field(
        0, ge=0, le=20, description="random shifts that are averaged (demucs' shift trick); seeded by the item"
    )
    overlap: float = Field(0.25, ge=0, lt=1, description="share of a segment that overlaps the next")
    segment_sec: float | None = Field(None, gt=0, description="seconds a segment; null: the model's own")
    accompaniment: Literal["residual", "stems"] = Field(
        "residual",
        description="residual: mixture minus vocals; stems: sum of the other stems (runs every member of a bag)",
    )
    batch_size: int | None = Field(
        None, ge=1, le=256,
        description="windows that go through the network together; null: 4 on a CPU, on a GPU what its free memory holds",
    )  # fmt: skip
    backend: Literal["auto", "torch", "openvino"] = Field(
        "auto", description="auto: OpenVINO on a CPU where the network's kind can, torch elsewhere"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the hardware and the network's kind can, float32 elsewhere"
    )


class StftSettings(Settings):
    n_fft: int = Field(2048, ge=64, le=65536, description="STFT size at the item's own rate")
    hop_length: int = Field(512, ge=16, description="samples between frames; divides n_fft, at most n_fft / 2")
    eps: float = Field(1e-12, gt=0, description="keeps the ratio finite where there is no energy")

    @model_validator(mode="after")
    def _hop(self) -> StftSettings:
        if self.hop_length * 2 > self.n_fft or self.n_fft % self.hop_length:
            raise ValueError(f"hop_length {self.hop_length} must divide n_fft {self.n_fft} and be at most half of it")
        return self


class FuseSettings(StftSettings):
    pass


class DenoiseSettings(Settings):
    model: str | None = Field("pilot_denoiser", description="entry of the registry; null: no denoising")
    wet: float = Field(0.8, ge=0, le=1, description="out = wet * denoised + (1 - wet) * input")
    high_band: Literal["keep", "mask", "drop"] = Field(
        "mask", description="the band above the denoiser's Nyquist: keep, mask (by the post-mask) or drop"
    )
    overlap: float = Field(0.25, ge=0, lt=1, description="share of a segment that overlaps the next")
    segment_sec: float | None = Field(None, gt=0, description="seconds a segment; null: the model's own")
    batch_size: int | None = Field(
        None, ge=1, le=256,
        description="windows that go through the network together; null: 4 on a CPU, on a GPU what its free memory holds",
    )  # fmt: skip
    backend: Literal["auto", "torch", "openvino"] = Field(
        "auto", description="auto: OpenVINO on a CPU where the network's kind can, torch elsewhere"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the hardware and the network's kind can, float32 elsewhere"
    )


class PostmaskSettings(StftSettings):
    beta: float = Field(1.0, gt=0, le=8, description="exponent of the beta-Wiener mask")
    floor: float = Field(0.1, ge=0, le=1, description="the mask never goes below this (0.1 is -20 dB)")


class LoudnessSettings(Settings):
    target_lufs: float = Field(-23.0, ge=-60, le=-5, description="ITU-R BS.1770 integrated loudness; -23 is EBU R 128")
    true_peak_dbtp: float = Field(
        -1.0, ge=-20, le=0, description="ceiling of the true peak, held by a look-ahead limiter"
    )
    max_gain_db: float = Field(40.0, ge=0, le=80, description="quieter files are not raised by more than this")
    format: Literal["keep", "wav", "flac"] = Field(
        "keep", description="keep: WAV and FLAC stay, OGG and MP3 become FLAC"
    )
    subtype: Literal["keep", "PCM_16", "PCM_24", "FLOAT"] = Field(
        "keep", description="sample format of the output; where a file is FLAC, FLOAT means PCM_24: FLAC has no float"
    )

    @model_validator(mode="after")
    def _possible(self) -> LoudnessSettings:
        if self.format == "flac" and self.subtype == "FLOAT":
            raise ValueError("FLAC has no FLOAT samples: choose PCM_24, or format wav")
        return self


class EvaluateSettings(Settings):
    metrics: list[Literal["loudness", "music", "signal", "intelligibility", "pesq", "dnsmos", "wer", "panns"]] = Field(
        ["loudness", "music", "signal", "intelligibility", "pesq", "dnsmos", "wer", "panns"],
        description="groups of metrics; what cannot be measured is missing, with its reason",
    )
    recogniser: str = Field(
        "pocketsphinx",
        pattern=NAME_PATTERN,
        description="for WER: pocketsphinx (built in), or an entry of the registry",
    )
    language_model: Literal["batch", "general", "both"] = Field(
        "both", description="of pocketsphinx. batch: made of the batch's transcripts (wer); general: its own (wer_open)"
    )
    sentences: str | None = Field(
        None, description="text file to make the batch's language model of, a sentence a line; null: the transcripts"
    )
    tagger: str | None = Field(
        "panns_cnn14", pattern=NAME_PATTERN,
        description="for PANNs: an entry of the registry. Not fetched unasked: `snakemake evaluation_models` does",
    )  # fmt: skip


class SnippetSettings(Settings):
    count: int = Field(
        12, ge=0, le=200, description="items in the report: worst, best and a sample, never all of a large batch"
    )
    seconds: float = Field(6.0, gt=0, le=60, description="length of an A/B snippet")
    seed: int = Field(0, description="of the sample")


class DeliverSettings(Settings):
    name: str = Field("cleaned", pattern=NAME_PATTERN, description="artifacts/delivery/<name>.zip")


class TrainingSettings(Settings):
    """`snakemake training`: from stems and noise to a registered model."""

    experiment: str = Field(
        "config/experiments/denoiser_demo.yaml", description="experiment file: network, losses, steps"
    )
    stems: str | None = Field(None, description="MUSDB18-HQ or MoisesDB folder; null: generated, to try it")
    noises: str | None = Field(None, description="folder of noises; null: generated")
    noisy: str | None = Field(
        None, description="folder of noisy recordings to run the trained model on; null: generated"
    )
    clean: str | None = Field(None, description="folder of their references, the same names")
    real: str | None = Field(
        None,
        description="folder of real degraded recordings: `analyse_degradation`, `ablation`, and what an experiment's strategies use",
    )
    target: str = Field("sum", pattern=NAME_PATTERN, description="what is clean: the sum of the stems, or one stem")
    tol_db: float = Field(-40.0, le=0, description="stem audit: largest residual, dB below the mixture")
    name: str = Field(
        "trained_denoiser", pattern=NAME_PATTERN, description="of the model in artifacts/training/models.yaml"
    )


class AblationRow(Settings):
    """One row of the table: a name, and what it changes of the experiment's section `strategies`."""

    name: str = Field(pattern=NAME_PATTERN)
    strategies: dict[str, Any] = {}


class AblationDataSettings(Settings):
    """What the ablation is tested on, and what it trains on where no folders are given."""

    tracks: int = Field(24, ge=8, le=1000, description="generated tracks beside data/pilot's speech, for all sets")
    stand_ins: int = Field(
        24, ge=2, le=10_000, description="stand-ins of real recordings, where there is no training.real"
    )
    items: int = Field(32, ge=5, le=5000, description="test items of each condition")
    item_sec: float = Field(4.0, ge=1, le=60, description="length of a test item")
    seed: int = Field(7, ge=0, description="of test set and stand-ins")


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

    experiment: str = Field("config/experiments/restorer_ablation.yaml", description="the base of every training")
    steps: int = Field(300, ge=1, description="optimiser steps of each training: a multiple of its steps_per_epoch")
    seeds: list[int] = Field([31, 32, 33], min_length=1, description="each row is trained with each of them")
    threads: int = Field(1, ge=1, le=256, description="of each training: two of one thread do more than one of two")
    clean: str | None = Field(
        None, description="folder of clean recordings to train and test on; null: data/pilot's speech, generated tracks"
    )
    baseline: str = Field("baseline", pattern=NAME_PATTERN, description="the row that all others are compared with")
    rows: list[AblationRow] = Field(
        default_factory=_ablation_rows, min_length=1,
        description="trainings; strategies as in docs/real_recordings.md. A list in another config file replaces this one whole",
    )  # fmt: skip
    data: AblationDataSettings = AblationDataSettings()

    @model_validator(mode="after")
    def _one_each(self) -> AblationSettings:
        names = [row.name for row in self.rows]
        taken = {"input", "click_repair"} & set(names)
        if len(set(names)) < len(names) or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError("rows and seeds differ from each other; no seed is below 0")
        if taken:
            raise ValueError(f"rows: {', '.join(sorted(taken))} is in the table anyway")
        if self.baseline not in names:
            raise ValueError(f"baseline {self.baseline!r} is none of the rows")
        return self


class Config(Settings):
    """The whole configuration."""

    input: str = Field("data/pilot/input", min_length=1, description="folder of recordings")
    output: str = Field("artifacts/output", min_length=1, description="folder of the cleaned tree")
    artifacts: str = Field("artifacts", min_length=1, description="folder of everything the pipeline makes; see README")
    references: str | None = Field(
        "auto",
        description="folder of clean references, same tree; auto: `clean` beside the input folder where there is one",
    )
    transcripts: str | None = Field(
        "auto", description="TSV with the columns path and transcript; auto: `transcripts.tsv` beside the input folder"
    )
    pattern: str = Field("**/*", description="glob below the input folder; only WAV, FLAC, OGG and MP3 files are taken")
    exclude: list[str] = Field([], description="globs of files to leave out")
    alias_separator: Literal["_", "__"] = Field("_", description="joins folders in an id: a/b.wav is a_b or a__b")
    shards: int = Field(4, ge=1, le=100_000, description="jobs a stage; about 64 files a shard are good")
    keep_intermediates: bool = Field(True, description="false: stems and masks' results go when an item is finished")
    strict: bool = Field(False, description="true: rejected files end the run with an error, after all else is done")
    registry: str = Field("config/models.yaml", min_length=1, description="the model registry")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU where there is one")
    ingest: IngestSettings = IngestSettings()
    separators: list[SeparatorSettings] = Field(
        [
            SeparatorSettings(name="pilot_a", model="pilot_sep_a"),
            SeparatorSettings(name="pilot_b", model="pilot_sep_b"),
        ],
        min_length=1,
        description="any number; a list in another config file replaces this one whole",
    )
    fuse: FuseSettings = FuseSettings()
    denoise: DenoiseSettings = DenoiseSettings()
    postmask: PostmaskSettings = PostmaskSettings()
    loudness: LoudnessSettings = LoudnessSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    snippets: SnippetSettings = SnippetSettings()
    deliver: DeliverSettings = DeliverSettings()
    training: TrainingSettings = TrainingSettings()
    ablation: AblationSettings = AblationSettings()

    @field_validator("artifacts")
    @classmethod
    def _part_of_patterns(cls, artifacts: str) -> str:
        if artifacts.startswith("-") or re.search(r"[{}\x00-\x1f]", artifacts):
            raise ValueError(
                "no braces, no control characters and no dash at its beginning: it is part of Snakemake's file patterns"
            )
        return artifacts

    @field_validator("separators")
    @classmethod
    def _names_once(cls, separators: list[SeparatorSettings]) -> list[SeparatorSettings]:
        names = [separator.name for separator in separators]
        if len(set(names)) < len(names):
            raise ValueError(f"two separators have the same name: {', '.join(names)}")
        return separators


AnySettings = TypeVar("AnySettings", bound=Settings)


def validate(model: type[AnySettings], values: Any, where: str) -> AnySettings:
    """Check values against a settings model.

    Raises:
        AudioRestorerError: one line a problem: where, the key's path, the value, what is allowed, and the nearest valid key.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "extra_forbidden":
                near = difflib.get_close_matches(str(problem["loc"][-1]), _keys_at(model, problem["loc"][:-1]), 1)
                lines.append(f"{where}: {key}: unknown key" + (f"; did you mean {near[0]!r}?" if near else ""))
            else:
                lines.append(f"{where}: {key or 'top level'}: {problem['msg']} (got {problem.get('input')!r:.80})")
        raise AudioRestorerError("\n".join(lines)) from None


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            annotation = str(model.model_fields[part].annotation)
            found = re.search(r"(\w+Settings)", annotation)
            if found and found.group(1) in globals():
                model = globals()[found.group(1)]
    return list(model.model_fields)


def load(model: type[AnySettings], source: str) -> AnySettings:
    """Settings from a YAML file's path or from inline JSON (`{...}`), as the command line takes them.

    Raises:
        AudioRestorerError: unreadable, not YAML, or a wrong key or value.
    """
    if source.lstrip().startswith("{"):
        try:
            return validate(model, json.loads(source), "--config")
        except json.JSONDecodeError as error:
            raise AudioRestorerError(f"--config: not valid JSON: {error}") from error
    return validate(model, read_yaml(source), source)


def read_yaml(path: str | Path) -> Any:
    """A YAML file's content (safe loader); an empty file is an empty mapping."""
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise AudioRestorerError(f"{path}: cannot read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AudioRestorerError(f"{path}: not valid YAML: {error}") from error


def default_yaml() -> str:
    """The commented YAML of every default: what `config/config.yaml` holds."""
    head = "# Every setting and its default. Generated by `python -m audiorestorer config`: change config.py, not this file.\n"
    return head + "\n".join(_yaml_lines(Config(), 0)) + "\n"


def _yaml_lines(settings: BaseModel, indent: int) -> list[str]:
    pad = " " * indent
    lines: list[str] = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if field.description:
            lines.append(f"{pad}# {field.description}")
        if isinstance(value, Settings):
            lines += ["", f"{pad}{name}:", *_yaml_lines(value, indent + 2)]
        elif isinstance(value, list) and value and isinstance(value[0], Settings):
            lines.append(f"{pad}{name}:")
            for entry in value:
                inner = _yaml_lines(entry, indent + 4)
                first = next(i for i, line in enumerate(inner) if not line.lstrip().startswith("#"))
                lines += [*inner[:first], f"{pad}  - {inner[first].lstrip()}", *inner[first + 1 :]]
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).strip()
            lines.append(f"{pad}{name}: {text.removesuffix('...').strip()}")
    return lines
