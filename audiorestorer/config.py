"""Every setting, its default, its bounds and one line on what it does. Unknown keys are errors. No torch import.

The sections on the stages of the chain are here, those on finished recordings in `config_results`, those on trainings in
`config_training`, and the kinds of values in `config_values`.

`config/config.yaml` and its JSON schema are generated from here (`python -m audiorestorer config`), and a test keeps them equal.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from audiorestorer.checking import Settings, load, read_yaml, validate
from audiorestorer.config_results import METRIC_GROUPS, DeliverSettings, EvaluateSettings, SnippetSettings
from audiorestorer.config_text import schema_text, yaml_lines
from audiorestorer.config_training import (
    AblationDataSettings,
    AblationSettings,
    EnhancerTrainingSettings,
    TrainingSettings,
)
from audiorestorer.config_values import NAME_PATTERN, SEED_MAX, PathName, PathOrNull, bytes_of

__all__ = [
    "METRIC_GROUPS",
    "NAME_PATTERN",
    "SEED_MAX",
    "AblationDataSettings",
    "AblationSettings",
    "Config",
    "DeliverSettings",
    "EvaluateSettings",
    "Settings",
    "SnippetSettings",
    "bytes_of",
    "default_yaml",
    "load",
    "read_yaml",
    "schema_yaml",
    "validate",
]
Stale = Literal["auto", "remove", "keep"]  # what becomes of outputs that the input calls for no more


class IngestSettings(Settings):
    min_duration_sec: float = Field(0.1, gt=0, le=86_400, description="Files shorter than this are rejected")
    silence_dbfs: float = Field(
        -80.0, ge=-300, le=0, description="Files whose highest sample stays below this are rejected as silent"
    )
    track: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Of a file with several sound tracks the one to take; null: the one that it marks, or the first",
    )
    channels: Literal["dialogue", "all"] = Field(
        "dialogue",
        description="Channels of surround recordings that are restored; dialogue: the centre alone; all: every one but the LFE",
    )
    max_files: int = Field(100_000, ge=1, description="Most files in an input archive; more are an error")
    max_unpacked: str = Field("500GB", description="Largest size of an input archive once unpacked; more is an error")
    max_ratio: float = Field(
        100.0,
        ge=1,
        description="Largest ratio of unpacked to packed size of an input archive; more is an error if above 100 MB come out",
    )

    @field_validator("max_unpacked")
    @classmethod
    def _a_size(cls, text: str) -> str:
        bytes_of(text)
        return text


# how any network runs
Overlap = Annotated[float, Field(ge=0, lt=1, description="Share of a segment that overlaps the next one")]
SegmentSec = Annotated[float | None, Field(gt=0, le=600, description="Seconds per segment; null: the model's own")]
BatchSize = Annotated[
    int | None,
    Field(
        ge=1, le=256,
        description="Windows per pass through the network; null: 1 or 4 on a CPU, on a GPU as many as its free memory holds",
    ),
]  # fmt: skip
Backend = Annotated[
    Literal["auto", "torch", "openvino", "onnxruntime"],
    Field(
        description="Runtime of the network; auto: on a CPU OpenVINO or ONNX Runtime, whichever the network supports, else PyTorch"
    ),
]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16"],
    Field(description="Number format of the network; auto: bfloat16 if hardware and network support it, else float32"),
]


class DeclipSettings(Settings):
    enabled: bool = Field(
        True,
        description="Whether this stage runs, before the separators: clipped samples are made anew; what is not clipped stays",
    )


class DeclickSettings(Settings):
    enabled: bool = Field(False, description="Whether this stage runs, before the separators: for old records")
    threshold: float = Field(
        5.0, ge=2, le=20, description="How many standard deviations above the signal's prediction a sample is a click"
    )


class SeparatorSettings(Settings):
    """One separator. Its stems are a soft ratio mask; `fuse` makes one of all separators' masks."""

    name: str = Field(pattern=NAME_PATTERN, description="Name of the separator and of its folder in the artifacts")
    model: str = Field(pattern=NAME_PATTERN, description="Model, an entry of the registry (config/models.yaml)")
    shifts: int = Field(
        0,
        ge=0,
        le=20,
        description="Randomly shifted passes that are averaged (Demucs' shift trick), seeded by the recording's id",
    )
    overlap: Overlap = 0.25
    segment_sec: SegmentSec = None
    accompaniment: Literal["residual", "stems"] = Field(
        "residual",
        description="Estimate of the music; residual: mixture minus vocals; stems: sum of the other stems (runs all members of a bag)",
    )
    batch_size: BatchSize = None
    backend: Backend = "auto"
    precision: Precision = "auto"


class StftSettings(Settings):
    n_fft: int = Field(2048, ge=64, le=65536, description="Window of the STFT in samples, at the recording's own rate")
    hop_length: int = Field(512, ge=16, description="Samples between frames; divides n_fft, at most half of it")
    eps: float = Field(1e-12, gt=0, le=0.01, description="Keeps a mask finite where there is no energy")

    @model_validator(mode="after")
    def _hop(self) -> StftSettings:
        if self.hop_length * 2 > self.n_fft or self.n_fft % self.hop_length:
            raise ValueError(f"hop_length {self.hop_length} must divide n_fft {self.n_fft} and be at most half of it")
        return self


class FuseSettings(StftSettings):
    method: Literal["max", "mean", "average", "learned"] = Field(
        "learned",
        description="How the separators' estimates are joined; max: what any of their masks keeps stays; mean: the mean of their"
        " masks; average: the mean of the estimates, with their phases; learned: a network weighs them in each bin",
    )
    model: str = Field(
        "pilot_fusion",
        description="Network of method learned, an entry of the registry. With separators that it was not trained for, average takes"
        " its place",
    )
    power: float = Field(
        1.0, gt=0, le=4, description="Exponent of the magnitudes in a mask; 1: a mask network's own mask; 2: sharper"
    )


class DenoiseSettings(Settings):
    enabled: bool = Field(False, description="Whether this stage runs")
    model: str | None = Field("pilot_denoiser", description="Model, an entry of the registry; null: no denoising")
    wet: float = Field(0.55, ge=0, le=1, description="Share of the denoised signal: wet * denoised + (1 - wet) * input")
    high_band: Literal["keep", "mask", "drop"] = Field(
        "mask", description="Band above the denoiser's Nyquist: keep it, mask it by the post-mask or drop it"
    )
    overlap: Overlap = 0.25
    segment_sec: SegmentSec = None
    batch_size: BatchSize = None
    backend: Backend = "auto"
    precision: Precision = "auto"


class PostmaskSettings(StftSettings):
    enabled: bool = Field(False, description="Whether this stage runs")
    beta: float = Field(1.0, gt=0, le=8, description="Exponent of the beta-Wiener mask")
    floor: float = Field(0.1, ge=0, le=1, description="Lowest value of the mask (0.1 is -20 dB); 1: no post-mask")


class EnhanceSettings(Settings):
    """Mend what a recording's faults call for, and make the band that it lacks; see docs/enhancer.md."""

    enabled: bool = Field(False, description="Whether this stage runs, between postmask and loudness")
    model: str = Field("pilot_extension", pattern=NAME_PATTERN, description="Model, an entry of the registry")
    denoiser: str | None = Field(
        "auto",
        description="Denoiser of a model of kind extension, an entry of the registry; null: noise stays;"
        " auto: deepfilternet3 for a folder, none in the pipeline, whose separators come before",
    )
    denoise_only: bool = Field(False, description="Whether to make no missing band: dropouts, clipping and noise alone")
    regenerate_all: bool = Field(
        False,
        description="Whether a model of kind enhancer regenerates the whole recording; otherwise what it holds stays",
    )
    nfe: int = Field(16, ge=1, le=1000, description="Number of evaluations of the flow's field; fewer are faster")
    solver: Literal["euler", "midpoint", "rk4"] = Field(
        "midpoint", description="Method that integrates the flow; midpoint needs an nfe of 2 or more, rk4 of 4"
    )
    lambd: float = Field(
        0.9, ge=0, le=1, description="Share of the denoised speech in the flow's condition; the rest is the input"
    )
    tau: float = Field(
        0.5, ge=0, le=1, description="Share of noise in the flow's start; more is freer, less stays closer to the input"
    )
    seed: int = Field(
        0, ge=0, description="Seed of the noise, together with the recording's content: equal input, equal output"
    )
    sample_rate: Literal["auto", "keep"] = Field(
        "auto", description="Output rate; auto: the input's or the model's, whichever is higher; keep: the input's"
    )
    window_sec: float = Field(10.0, ge=1, le=120, description="Longest window; longer recordings are cross-faded")
    overlap_sec: float = Field(0.5, ge=0.05, le=10, description="Length of a cross-fade; at most half of window_sec")
    batch_size: int | None = Field(
        None, ge=1, le=256, description="Windows per pass through the networks; null: 1 on a CPU, 8 on a GPU"
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="Number format of the networks")
    max_wer: float | None = Field(
        0.3, gt=0, le=2,
        description="Largest share of words that may change; above it the denoised recording is taken; null: no limit",
    )  # fmt: skip
    recogniser: str = Field(
        "pocketsphinx",
        pattern=NAME_PATTERN,
        description="Recogniser that counts changed words: pocketsphinx (built in, English), or an entry of the registry",
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
    target_lufs: float = Field(
        -23.0, ge=-60, le=-5, description="Integrated loudness (ITU-R BS.1770); -23 is EBU R 128"
    )
    true_peak_dbtp: float = Field(
        -1.0, ge=-20, le=0, description="Ceiling of the true peak, held by a look-ahead limiter"
    )
    max_gain_db: float = Field(40.0, ge=0, le=80, description="Largest gain: quieter files are not raised by more")
    dual_mono: bool = Field(
        False,
        description="Whether a mono file is measured as if on two channels, to play as loud as stereo with equal channels."
        " By BS.1770 alone a mono file reads 3 LU less, so at the same target it plays 3 dB louder",
    )
    format: Literal["keep", "wav", "flac", "mp3", "m4a", "opus"] = Field(
        "keep",
        description="Format of the outputs; keep: the input's, where it can be written, else FLAC (docs/formats.md)",
    )
    video: Literal["keep", "audio"] = Field(
        "keep",
        description="What comes out of a video; keep: the video with its new sound, its picture copied; audio: the sound alone",
    )
    bitrate: str = Field(
        "keep",
        pattern=r"^(keep|[1-9][0-9]{1,2}k)$",
        description="Bit rate of MP3, M4A (AAC) and Opus outputs, as 192k; keep: the input's, or of other inputs 64k per channel",
    )
    subtype: Literal["keep", "PCM_16", "PCM_24", "FLOAT"] = Field(
        "keep", description="Sample format of the outputs; in a FLAC file FLOAT means PCM_24, since FLAC has no float"
    )

    @model_validator(mode="after")
    def _possible(self) -> LoudnessSettings:
        if self.format == "flac" and self.subtype == "FLOAT":
            raise ValueError("FLAC has no FLOAT samples: choose PCM_24, or format wav")
        return self


class Config(Settings):
    """The whole configuration."""

    input: PathName = Field(
        "data/pilot/input", min_length=1, description="Folder of recordings, a .zip archive of them, or one recording"
    )
    output: PathName = Field("artifacts/output", min_length=1, description="Folder of the cleaned tree")
    replace_edited: bool = Field(
        False, description="Whether files in the output folder that somebody changed or put there are replaced"
    )
    stale_outputs: Stale = Field(
        "auto",
        description="Published files that this input no longer calls for. auto: removed if the recording still exists (renamed,"
        " excluded, in another format), else kept and named; remove: removed, unless somebody changed them; keep: kept and named",
    )
    artifacts: PathName = Field("artifacts", min_length=1, description="Folder of everything that the pipeline makes")
    store: PathOrNull = Field(
        None, description="Folder of finished items, which several runs may share; null: `store` in the artifacts"
    )
    references: PathOrNull = Field(
        "auto",
        description="Folder of clean references, same tree as the input; auto: `clean` beside the input folder, if it exists",
    )
    transcripts: PathOrNull = Field(
        "auto",
        description="Table (TSV, CSV) with the columns path and transcript; auto: `transcripts.tsv` beside the input, if it exists",
    )
    pattern: str = Field(
        "**/*", description="Glob below the input folder; files that are no recordings by their suffix are left out"
    )
    exclude: list[str] = Field([], description="Globs of files to leave out")
    alias_separator: Literal["_", "__"] = Field(
        "_", description="Text that joins folders in an id: a/b.wav becomes a_b or a__b"
    )
    shards: Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"] = Field(
        "auto",
        description="Number of shards, or jobs per stage; auto: about 64 files per shard, and on many cores more of a small batch",
    )
    keep_intermediates: bool = Field(
        True, description="Whether the stages' results stay; false: they go when their recording is finished"
    )
    strict: bool = Field(False, description="Whether rejected files end the run with an error, after all else is done")
    registry: PathName = Field("config/models.yaml", min_length=1, description="File of the model registry")
    models_dir: PathOrNull = Field(
        None,
        description="Folder with models that somebody filled (`python -m audiorestorer models fetch NAME --models-dir FOLDER`), for"
        " machines without a network; it is only read. Null: none",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Device; auto: a GPU if there is one, else the CPU; or cpu, cuda, cuda:N",
    )
    ingest: IngestSettings = IngestSettings()
    declip: DeclipSettings = DeclipSettings()
    declick: DeclickSettings = DeclickSettings()
    separators: list[SeparatorSettings] = Field(
        [
            SeparatorSettings(name="pilot_a", model="pilot_sep_a"),
            SeparatorSettings(name="pilot_b", model="pilot_sep_b"),
            SeparatorSettings(name="deepfilternet3", model="deepfilternet3"),
        ],
        min_length=1,
        description="Separators; a list in another config file replaces this whole list",
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
    enhancer_training: EnhancerTrainingSettings = EnhancerTrainingSettings()

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


SCHEMA = "config.schema.yaml"
SCHEMA_LINE = f"# yaml-language-server: $schema={SCHEMA}\n"  # by which editors find it


def default_yaml() -> str:
    """The commented YAML of every default: what `config/config.yaml` holds."""
    head = "# Every setting and its default. Generated by `python -m audiorestorer config`: change config.py, not this file.\n"
    return SCHEMA_LINE + head + "\n".join(yaml_lines(Config, Config())) + "\n"


def schema_yaml() -> str:
    """The JSON schema of a configuration: what `config/config.schema.yaml` holds."""
    head = "# What a configuration may hold, for editors. Generated by `python -m audiorestorer config --as schema`:"
    return head + " change config.py, not this file.\n" + schema_text(Config, "Configuration of AudioRestorer")
