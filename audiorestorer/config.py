"""Every setting, its default, its bounds and one line on what it does. Unknown keys are errors. No torch import.

`config/config.yaml` is generated from here (`python -m audiorestorer config`), and a test keeps the two equal.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, field_validator, model_validator

from audiorestorer.checking import NAME_READ_AS, PATH_FORMAT, Settings, load, read_yaml, validate
from audiorestorer.windows_names import device_of

__all__ = ["NAME_PATTERN", "Config", "Settings", "default_yaml", "load", "read_yaml", "validate"]
# The modules of metrics/groups, by their names alone: nothing is imported here.
METRIC_GROUPS = tuple(sorted(path.stem for path in Path(__file__).parent.glob("metrics/groups/[a-z]*.py")))
if TYPE_CHECKING:
    MetricGroup = str
else:
    MetricGroup = Annotated[Literal[METRIC_GROUPS], Field(description="a module of audiorestorer/metrics/groups")]
Stale = Literal["auto", "remove", "keep"]  # what becomes of outputs that the input calls for no more
NULL_WORDS = ("null", "Null", "NULL", "~")  # Snakemake's `--config` hands them on as text
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
SEED_MAX = 2**32 - 1  # of numpy and Lightning


def _a_name(text: str) -> str:
    if text in NULL_WORDS:
        raise ValueError(f"{NAME_READ_AS} null: write ./ before it, as ./{text}")
    return text


PathText = Annotated[str, Field(json_schema_extra={"format": PATH_FORMAT})]
PathName = Annotated[PathText, AfterValidator(_a_name)]
PathOrNull = Annotated[PathText | None, BeforeValidator(lambda value: None if value in NULL_WORDS else value)]


def bytes_of(text: str) -> int:
    """Bytes of a size as people write it: `500MB`, `2.5 GB` (decimal), `1GiB` (binary), `4096`.

    Raises:
        ValueError: not such a size, or zero.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    size = 0.0
    if found:
        size = float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index(found[2].upper() or " ")
    if size < 1:
        raise ValueError(f"{text!r} is no size: write it as 500MB, 2GB or 1GiB")
    return int(size)


class IngestSettings(Settings):
    min_duration_sec: float = Field(0.1, gt=0, le=86_400, description="shorter files are rejected")
    silence_dbfs: float = Field(
        -80.0, ge=-300, le=0, description="files whose highest sample stays below this are rejected as silent"
    )
    max_files: int = Field(100_000, ge=1, description="of an input archive: more files than this are an error")
    max_unpacked: str = Field("500GB", description="of an input archive: more than this when unpacked is an error")
    max_ratio: float = Field(
        100.0,
        ge=1,
        description="of an input archive: more times its own size than this, when above 100 MB, is an error",
    )

    @field_validator("max_unpacked")
    @classmethod
    def _a_size(cls, text: str) -> str:
        bytes_of(text)
        return text


# how any network runs
Overlap = Annotated[float, Field(ge=0, lt=1, description="share of a segment that overlaps the next")]
SegmentSec = Annotated[float | None, Field(gt=0, le=600, description="seconds a segment; null: the model's own")]
BatchSize = Annotated[
    int | None,
    Field(
        ge=1, le=256,
        description="windows that go through the network together; null: 4 on a CPU, on a GPU what its free memory holds",
    ),
]  # fmt: skip
Backend = Annotated[
    Literal["auto", "torch", "openvino"],
    Field(description="auto: OpenVINO on a CPU where the network's kind can, torch elsewhere"),
]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16"],
    Field(description="auto: bfloat16 where the hardware and the network's kind can, float32 elsewhere"),
]


class SeparatorSettings(Settings):
    """One separator. Its stems are a soft ratio mask; `fuse` makes one of all separators' masks."""

    name: str = Field(pattern=NAME_PATTERN, description="folder of its artifacts")
    model: str = Field(pattern=NAME_PATTERN, description="entry of the registry (config/models.yaml)")
    shifts: int = Field(
        0, ge=0, le=20, description="random shifts that are averaged (demucs' shift trick); seeded by the item"
    )
    overlap: Overlap = 0.25
    segment_sec: SegmentSec = None
    accompaniment: Literal["residual", "stems"] = Field(
        "residual",
        description="residual: mixture minus vocals; stems: sum of the other stems (runs every member of a bag)",
    )
    batch_size: BatchSize = None
    backend: Backend = "auto"
    precision: Precision = "auto"


class StftSettings(Settings):
    n_fft: int = Field(2048, ge=64, le=65536, description="STFT size at the item's own rate")
    hop_length: int = Field(512, ge=16, description="samples between frames; divides n_fft, at most n_fft / 2")
    eps: float = Field(1e-12, gt=0, le=0.01, description="keeps the ratio finite where there is no energy")

    @model_validator(mode="after")
    def _hop(self) -> StftSettings:
        if self.hop_length * 2 > self.n_fft or self.n_fft % self.hop_length:
            raise ValueError(f"hop_length {self.hop_length} must divide n_fft {self.n_fft} and be at most half of it")
        return self


class FuseSettings(StftSettings):
    method: Literal["max", "mean"] = Field(
        "mean", description="of the separators' masks: max (what any of them keeps) or their mean"
    )
    power: float = Field(
        1.0, gt=0, le=4, description="of the magnitudes in a mask: 1 is a mask network's own mask, 2 a sharper one"
    )


class DenoiseSettings(Settings):
    model: str | None = Field("pilot_denoiser", description="entry of the registry; null: no denoising")
    wet: float = Field(0.55, ge=0, le=1, description="out = wet * denoised + (1 - wet) * input")
    high_band: Literal["keep", "mask", "drop"] = Field(
        "mask", description="the band above the denoiser's Nyquist: keep, mask (by the post-mask) or drop"
    )
    overlap: Overlap = 0.25
    segment_sec: SegmentSec = None
    batch_size: BatchSize = None
    backend: Backend = "auto"
    precision: Precision = "auto"


class PostmaskSettings(StftSettings):
    beta: float = Field(1.0, gt=0, le=8, description="exponent of the beta-Wiener mask")
    floor: float = Field(
        1.0, ge=0, le=1, description="the mask never goes below this (0.1 is -20 dB); 1 is no post-mask"
    )


class EnhanceSettings(Settings):
    """Denoise, then regenerate the speech; see docs/enhancer.md."""

    enabled: bool = Field(False, description="run this stage between postmask and loudness")
    model: str = Field("pilot_enhancer", pattern=NAME_PATTERN, description="entry of the registry")
    denoise_only: bool = Field(False, description="stop after the enhancer's denoiser")
    nfe: int = Field(64, ge=1, le=1000, description="evaluations of the flow's field: fewer are faster")
    solver: Literal["euler", "midpoint", "rk4"] = "midpoint"
    lambd: float = Field(
        0.9, ge=0, le=1, description="share of the denoised speech in the condition; the rest is the input"
    )
    tau: float = Field(
        0.5, ge=0, le=1, description="share of noise in the flow's start: more is freer, less is closer to the input"
    )
    seed: int = Field(
        0, ge=0, description="of the noise, together with the recording's content: equal input, equal output"
    )
    sample_rate: Literal["auto", "keep"] = Field(
        "auto", description="auto: the input's or the model's, whichever is higher; keep: the input's"
    )
    window_sec: float = Field(10.0, ge=1, le=120, description="longest window; longer recordings are cross-faded")
    overlap_sec: float = Field(0.5, ge=0.05, le=10, description="length of a cross-fade; at most half of window_sec")
    batch_size: int | None = Field(
        None, ge=1, le=256, description="windows that go through the network together; null: 1 on a CPU, 8 on a GPU"
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the networks")
    max_wer: float | None = Field(
        0.3, gt=0, le=2,
        description="where more words than this share change, the denoised recording is taken; null: never",
    )  # fmt: skip
    recogniser: str = Field(
        "pocketsphinx",
        pattern=NAME_PATTERN,
        description="that judges: pocketsphinx (built in, English), or an entry of the registry",
    )

    @model_validator(mode="after")
    def _possible(self) -> EnhanceSettings:
        if self.overlap_sec > self.window_sec / 2:
            raise ValueError("overlap_sec must be at most half of window_sec")
        least = {"euler": 1, "midpoint": 2, "rk4": 4}[self.solver]
        if self.nfe < least:
            raise ValueError(f"{self.solver} needs nfe {least} at least")
        return self


class LoudnessSettings(Settings):
    target_lufs: float = Field(-23.0, ge=-60, le=-5, description="ITU-R BS.1770 integrated loudness; -23 is EBU R 128")
    true_peak_dbtp: float = Field(
        -1.0, ge=-20, le=0, description="ceiling of the true peak, held by a look-ahead limiter"
    )
    max_gain_db: float = Field(40.0, ge=0, le=80, description="quieter files are not raised by more than this")
    dual_mono: bool = Field(
        False,
        description="true: a mono file is measured as if it were on two channels, and plays as loud as stereo with equal channels."
        " By BS.1770 it reads 3 LU less, so at one target it plays 3 dB louder",
    )
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
    metrics: list[MetricGroup] = Field(
        list(METRIC_GROUPS),
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
    sentences: PathOrNull = Field(
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
    seed: int = Field(0, ge=0, le=SEED_MAX, description="of the sample")


class DeliverSettings(Settings):
    name: str = Field("cleaned", pattern=NAME_PATTERN, description="artifacts/delivery/<name>.zip")
    format: Literal["zip", "tar.zst"] = Field("zip", description="zip or tar.zst")
    max_size: str | None = Field(
        None, description="of an archive, e.g. 2GB: above it there are several, each complete; null: one archive"
    )
    windows_names: Literal["map", "keep"] = Field(
        "map", description="map: names that Windows cannot hold are changed in the archive (names.tsv); keep: they stay"
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


class TrainingSettings(Settings):
    """`snakemake training`: from stems and noise to a registered model."""

    experiment: PathName = Field(
        "config/experiments/denoiser_demo.yaml", description="experiment file: network, losses, steps"
    )
    stems: PathOrNull = Field(None, description="MUSDB18-HQ or MoisesDB folder; null: generated, to try it")
    noises: PathOrNull = Field(None, description="folder of noises; null: generated")
    noisy: PathOrNull = Field(
        None, description="folder of noisy recordings to run the trained model on; null: generated"
    )
    clean: PathOrNull = Field(None, description="folder of their references, the same names")
    real: PathOrNull = Field(
        None,
        description="folder of real degraded recordings: `analyse_degradation`, `ablation`, and what an experiment's strategies use",
    )
    target: str = Field("sum", pattern=NAME_PATTERN, description="what is clean: the sum of the stems, or one stem")
    tol_db: float = Field(-40.0, ge=-300, le=0, description="stem audit: largest residual, dB below the mixture")
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
    seed: int = Field(7, ge=0, le=SEED_MAX, description="of test set and stand-ins")


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

    experiment: PathName = Field("config/experiments/restorer_ablation.yaml", description="the base of every training")
    steps: int = Field(
        300, ge=1, le=100_000_000, description="optimiser steps of each training: a multiple of its steps_per_epoch"
    )
    seeds: list[int] = Field([31, 32, 33], min_length=1, description="each row is trained with each of them")
    threads: int = Field(1, ge=1, le=256, description="of each training: two of one thread do more than one of two")
    clean: PathOrNull = Field(
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
        None, description="folder with fg/ (clean speech), bg/ (noise) and rir/**/*.npy; null: generated, to try it"
    )
    denoiser: PathName = Field("config/experiments/denoiser.yaml", description="experiment file of the denoiser")
    stage1: PathName = Field(
        "config/experiments/enhancer_stage1.yaml", description="of the autoencoder and the vocoder"
    )
    stage2: PathName = Field("config/experiments/enhancer_stage2.yaml", description="of the flow")


class Config(Settings):
    """The whole configuration."""

    input: PathName = Field("data/pilot/input", min_length=1, description="folder of recordings, or a .zip of them")
    output: PathName = Field("artifacts/output", min_length=1, description="folder of the cleaned tree")
    replace_edited: bool = Field(
        False, description="true: files in the output folder that somebody changed or put there are replaced, not kept"
    )
    stale_outputs: Stale = Field(
        "auto",
        description="published files that this input calls for no more. auto: removed where their recording is still there (renamed,"
        " excluded, another format), named where it is gone; remove: all that nobody changed; keep: all are named",
    )
    artifacts: PathName = Field(
        "artifacts", min_length=1, description="folder of everything the pipeline makes; see README"
    )
    store: PathOrNull = Field(
        None, description="folder of finished items; null: `store` in the artifacts. Several runs may share one"
    )
    references: PathOrNull = Field(
        "auto",
        description="folder of clean references, same tree; auto: `clean` beside the input folder where there is one",
    )
    transcripts: PathOrNull = Field(
        "auto",
        description="table with the columns path and transcript (TSV or CSV); auto: `transcripts.tsv` beside the input folder",
    )
    pattern: str = Field("**/*", description="glob below the input folder; only WAV, FLAC, OGG and MP3 files are taken")
    exclude: list[str] = Field([], description="globs of files to leave out")
    alias_separator: Literal["_", "__"] = Field("_", description="joins folders in an id: a/b.wav is a_b or a__b")
    shards: int = Field(4, ge=1, le=100_000, description="jobs a stage; about 64 files a shard are good")
    keep_intermediates: bool = Field(True, description="false: stems and masks' results go when an item is finished")
    strict: bool = Field(False, description="true: rejected files end the run with an error, after all else is done")
    registry: PathName = Field("config/models.yaml", min_length=1, description="the model registry")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU where there is one")
    ingest: IngestSettings = IngestSettings()
    separators: list[SeparatorSettings] = Field(
        [SeparatorSettings(name="pilot_a", model="pilot_sep_a")],
        min_length=1,
        description="any number; a list in another config file replaces this one whole",
    )
    fuse: FuseSettings = FuseSettings()
    denoise: DenoiseSettings = DenoiseSettings()
    postmask: PostmaskSettings = PostmaskSettings()
    enhance: EnhanceSettings = EnhanceSettings()
    loudness: LoudnessSettings = LoudnessSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    snippets: SnippetSettings = SnippetSettings()
    deliver: DeliverSettings = DeliverSettings()
    training: TrainingSettings = TrainingSettings()
    ablation: AblationSettings = AblationSettings()
    enhancer: EnhancerTrainingSettings = EnhancerTrainingSettings()

    @model_validator(mode="after")
    def _shared_store(self) -> Config:
        if self.store and not self.keep_intermediates:
            raise ValueError("keep_intermediates: false deletes from a store that others share; use `store prune`")
        return self

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
