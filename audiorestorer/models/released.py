"""What a registry entry or an author's YAML says of a released network whose file holds weights alone. No torch import.

The names are those of the released configurations (ZFTurbo's Music-Source-Separation-Training and the authors' own), so that a
`model:` block can be copied. What only a training needs is read and dropped; an unknown key is an error.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from audiorestorer.checking import Settings, read_yaml, section, validate
from audiorestorer.errors import AudioRestorerError

MOST_SAMPLES = 100_000_000  # of a window that a YAML may ask for before it is checked
SPEECH = (
    "vocals",
    "speech",
    "dialogue",
    "dialog",
    "dry",
    "noreverb",
    "voice",
)  # names that a speech stem goes by, the likeliest first


StemName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_ -]{1,40}$")]


class NetworkSettings(Settings):
    """What all released networks say of themselves. `segment_sec`: of a window; None: the network's own."""

    TRAINING_ONLY: ClassVar[tuple[str, ...]] = ()

    sample_rate: int = Field(44_100, ge=8_000, le=192_000, description="Hz")
    stems: list[StemName] = Field(
        ["vocals"], min_length=1, max_length=16, description="what the network gives, in its order"
    )
    speech: str | None = Field(None, description="the stem that is kept; the one whose name says it, where left out")
    segment_sec: float = Field(8.0, gt=0.5, le=60, description="seconds of a window")

    @model_validator(mode="before")
    @classmethod
    def _without_training(cls, raw: Any) -> Any:
        return {key: raw[key] for key in raw if key not in cls.TRAINING_ONLY} if isinstance(raw, dict) else raw

    @model_validator(mode="after")
    def _has_speech(self) -> Self:
        if len(set(self.stems)) < len(self.stems):
            raise ValueError(f"stems: {', '.join(self.stems)}: a name is there twice")
        if self.speech is not None and self.speech not in self.stems:
            raise ValueError(f"speech {self.speech!r} is none of the stems {', '.join(self.stems)}")
        if self.speech is None and not set(SPEECH) & {stem.lower() for stem in self.stems}:
            raise ValueError(f"`speech` must say which of the stems {', '.join(self.stems)} is kept")
        return self

    @property
    def speech_index(self) -> int:
        """Which of the stems is the speech."""
        names = [stem.lower() for stem in self.stems]
        known = [names.index(name) for name in SPEECH if name in names]
        return self.stems.index(self.speech) if self.speech else (known or [0])[0]


class RoformerSettings(NetworkSettings):
    """Sizes of a Mel-Band RoFormer (`num_bands`; arXiv 2310.01809) or a BS-RoFormer (`freqs_per_bands`; arXiv 2309.02612)."""

    TRAINING_ONLY: ClassVar[tuple[str, ...]] = (
        "attn_dropout", "ff_dropout", "flash_attn", "dim_freqs_in", "use_torch_checkpoint", "sage_attention",
        "multi_stft_resolution_loss_weight", "multi_stft_resolutions_window_sizes", "multi_stft_hop_size", "multi_stft_normalized",
    )  # fmt: skip

    dim: int = Field(ge=8, le=4_096, description="features of a band")
    depth: int = Field(ge=1, le=64, description="pairs of a transformer over time and one over bands")
    stereo: bool = Field(True, description="takes two channels")
    num_stems: int = Field(1, ge=1, le=16, description="mask estimators")
    time_transformer_depth: int = Field(1, ge=1, le=16, description="layers of a transformer over time")
    freq_transformer_depth: int = Field(1, ge=1, le=16, description="layers of a transformer over bands")
    linear_transformer_depth: Literal[0] = Field(
        0, description="transformers of linear attention, which are not supported"
    )
    num_bands: int | None = Field(None, ge=2, le=512, description="Mel-Band RoFormer: its bands, even in mel")
    freqs_per_bands: list[int] | None = Field(
        None, min_length=2, max_length=512, description="BS-RoFormer: bins of each band"
    )
    dim_head: int = Field(64, ge=2, le=512, multiple_of=2, description="of an attention head")
    heads: int = Field(8, ge=1, le=64, description="of an attention")
    stft_n_fft: int = Field(2_048, ge=64, le=16_384, multiple_of=2, description="samples of a transform")
    stft_hop_length: int = Field(441, ge=16, le=8_192, description="samples from frame to frame")
    stft_win_length: int | None = Field(
        None, ge=64, le=16_384, description="samples of the Hann window; null: stft_n_fft"
    )
    stft_normalized: bool = Field(False, description="divide the transform by the root of stft_n_fft")
    mask_estimator_depth: int = Field(
        2, ge=1, le=8, description="of its MLPs, counted as released: hidden layers (Mel-Band), linear layers (BS)"
    )
    mlp_expansion_factor: int = Field(4, ge=1, le=16, description="hidden features of a mask's MLP, times dim")
    zero_dc: bool = Field(True, description="silence the bin at 0 Hz")
    skip_connection: bool = Field(False, description="each pair sees the sum of all earlier ones")
    match_input_audio_length: bool = Field(True, description="kept for released files: the output is always as long")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.num_bands is None) == (self.freqs_per_bands is None):
            raise ValueError("either num_bands (Mel-Band RoFormer) or freqs_per_bands (BS-RoFormer) is needed")
        if self.freqs_per_bands is not None:
            bins = self.stft_n_fft // 2 + 1
            if min(self.freqs_per_bands) < 1 or sum(self.freqs_per_bands) != bins:
                raise ValueError(
                    f"freqs_per_bands: {sum(self.freqs_per_bands)} bins in all; allowed: {bins}, each band at least 1"
                )
        window = self.stft_win_length or self.stft_n_fft
        if window > self.stft_n_fft or self.stft_hop_length * 2 > window:
            raise ValueError("stft_win_length is at most stft_n_fft, stft_hop_length at most half of stft_win_length")
        if len(self.stems) != self.num_stems:
            raise ValueError(f"stems: {len(self.stems)} names for num_stems {self.num_stems}")
        return self


class BanditSettings(NetworkSettings):
    """Sizes of a Bandit v2 (arXiv 2407.07275): bands by musical distance, recurrent layers over time and bands in turns."""

    TRAINING_ONLY: ClassVar[tuple[str, ...]] = (
        "stft_precisions", "bandsplit_precisions", "tf_model_precisions", "mask_estim_precisions", "hidden_activation_kwargs",
        "wkwargs", "require_no_overlap", "require_no_gap",
    )  # fmt: skip

    sample_rate: int = Field(48_000, ge=8_000, le=192_000, description="Hz")
    stems: list[StemName] = Field(
        ["speech", "music", "sfx"], min_length=1, max_length=16, description="in the file's order"
    )
    in_channels: Literal[1, 2] = Field(1, description="channels of the input")
    band_type: Literal["musical"] = Field("musical", description="how bands are laid out")
    n_bands: int = Field(64, ge=2, le=512, description="bands")
    normalize_channel_independently: Literal[False] = Field(False, description="a variant that is not supported")
    treat_channel_as_feature: Literal[True] = Field(True, description="the only variant that is supported")
    n_sqm_modules: int = Field(8, ge=1, le=64, description="pairs of a layer over time and one over bands")
    emb_dim: int = Field(128, ge=4, le=2_048, description="features of a band")
    rnn_dim: int = Field(256, ge=4, le=2_048, description="units of a direction")
    bidirectional: bool = Field(True, description="both directions")
    rnn_type: Literal["GRU", "LSTM"] = Field("GRU", description="of the recurrent layers")
    mlp_dim: int = Field(512, ge=4, le=8_192, description="hidden features of a mask's MLP")
    hidden_activation: Literal["Tanh"] = Field("Tanh", description="of a mask's MLP")
    complex_mask: Literal[True] = Field(True, description="masks are complex")
    use_freq_weights: bool = Field(True, description="overlapping bands share a bin by weights that the file holds")
    n_fft: int = Field(2_048, ge=256, le=16_384, multiple_of=2, description="samples of a transform")
    win_length: int | None = Field(None, ge=64, le=16_384, description="samples of the Hann window; null: n_fft")
    hop_length: int = Field(512, ge=16, le=8_192, description="samples from frame to frame")
    window_fn: Literal["hann_window"] = Field("hann_window", description="window of the transform")
    power: None = Field(None, description="the transform is complex")
    center: Literal[True] = Field(True, description="frames are centred")
    normalized: bool = Field(True, description="divide the transform by the window's energy")
    pad_mode: Literal["reflect", "constant"] = Field("reflect", description="what stands before and after a window")
    onesided: Literal[True] = Field(True, description="frequencies from 0 Hz on")

    @model_validator(mode="before")
    @classmethod
    def _rate(cls, raw: Any) -> Any:
        """Its authors' code calls the rate `fs`."""
        if not isinstance(raw, dict) or "fs" not in raw:
            return raw
        if raw.get("sample_rate", raw["fs"]) != raw["fs"]:
            raise ValueError(f"fs {raw['fs']} and sample_rate {raw['sample_rate']}: one rate is needed")
        return {**{key: value for key, value in raw.items() if key != "fs"}, "sample_rate": raw["fs"]}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        window = self.win_length or self.n_fft
        if window > self.n_fft or self.hop_length * 2 > window:
            raise ValueError("win_length is at most n_fft, hop_length at most half of win_length")
        return self


class ResembleSettings(Settings):
    """What Resemble Enhance's `hparams.yaml` says of its networks; `layout` tells its file from this project's own."""

    TRAINING_ONLY: ClassVar[tuple[str, ...]] = ()

    layout: Literal["resemble"] = Field("resemble", description="whose names and arithmetic the file has")
    wav_rate: Literal[44_100] = Field(44_100, description="Hz")
    n_fft: int = Field(2_048, ge=64, le=16_384, description="samples of a transform of the mel-spectrogram")
    win_size: int = Field(2_048, ge=64, le=16_384, description="samples of its window")
    hop_size: Literal[420] = Field(420, description="samples from frame to frame: the product of the vocoder's strides")
    num_mels: int = Field(128, ge=8, le=512, description="mel bands")
    stft_magnitude_min: float = Field(1e-4, gt=0, le=1, description="least magnitude")
    preemphasis: float = Field(0.97, ge=0, lt=1, description="share of the sample before that is taken away")
    cfm_time_mapping_divisor: int = Field(
        4, ge=3, le=64, description="half of the flow's way lies in the first part of so many"
    )
    univnet_nc: int = Field(96, ge=1, le=1_024, description="channels of the vocoder")
    lcfm_latent_dim: int = Field(64, ge=1, le=1_024, description="channels of the code")
    lcfm_training_mode: Literal["cfm"] = Field("cfm", description="the second stage's file, which holds all networks")
    lcfm_z_scale: float = Field(6.0, gt=0, le=1_000, description="factor of the code")
    vocoder_extra_dim: int = Field(
        32, ge=0, le=1_024, description="channels that the vocoder gets beside the mel values"
    )
    force_gaussian_prior: bool = Field(False, description="the flow begins at noise alone")


NETWORKS: Mapping[str, Any] = {
    "roformer": RoformerSettings,
    "bandit": BanditSettings,
    "enhancer": ResembleSettings,
}  # by kind


def _of_author(kind: str, path: Path) -> dict[str, Any]:
    """A configuration of Music-Source-Separation-Training: sizes from `model` (Bandit: `kwargs`), the rest from what stands beside."""
    raw, where = read_yaml(path, foreign=True), str(path)
    if kind == "enhancer":  # all that its training knew
        known = ResembleSettings.model_fields
        return {key: value for key, value in raw.items() if key in known} if isinstance(raw, dict) else {}
    sizes = section(raw, "model", where) or section(raw, "kwargs", where)
    if not sizes:
        raise AudioRestorerError(
            f"{path}: holds neither `model` nor `kwargs` with the sizes of a network of kind {kind}"
        )
    given, training = section(raw, "audio", where), section(raw, "training", where)
    target, instruments = training.get("target_instrument"), training.get("instruments")
    out: dict[str, Any] = {"sample_rate": given["sample_rate"]} if "sample_rate" in given else {}
    if target or isinstance(instruments, list):
        out["stems"] = [target] if target else instruments
    chunk, rate = given.get("chunk_size"), given.get("sample_rate")
    if isinstance(chunk, int) and isinstance(rate, int) and 0 < rate <= MOST_SAMPLES and 0 < chunk <= MOST_SAMPLES:
        out["segment_sec"] = chunk / rate
    return {**out, **sizes}


def settings_of(kind: str, network: Mapping[str, Any] | None, files: list[Path], where: str) -> Any:
    """The settings of a network: its author's YAML, where one is among the files, with what the registry's entry says on top.

    Raises:
        AudioRestorerError: neither says anything, or an unknown key or a value out of bounds (named).
    """
    written = [path for path in files if path.suffix in (".yaml", ".yml")]
    if not written and not network:
        raise AudioRestorerError(
            f"{where}: kind {kind} needs `network` with its sizes in the registry, or its author's .yaml among its files (a folder as"
            " `source` holds both)"
        )
    base = _of_author(kind, written[0]) if written else {}
    return validate(NETWORKS[kind], {**base, **(network or {})}, str(written[0]) if written else f"{where}: network")


def check_keys(kind: str, network: Mapping[str, Any]) -> None:
    """Check a registry entry's `network`, whose missing sizes may stand in its author's YAML.

    Raises:
        ValueError: a kind that takes its sizes from its file, or an unknown key.
    """
    if kind not in NETWORKS:
        raise ValueError(f"`network` is for kinds {', '.join(NETWORKS)}; kind {kind} takes its sizes from its file")
    try:
        json.dumps(network)
    except (TypeError, ValueError) as error:
        raise ValueError(f"network: numbers, texts and lists of them are needed: {error}") from error
    known = {*NETWORKS[kind].model_fields, *NETWORKS[kind].TRAINING_ONLY, *(["fs"] if kind == "bandit" else [])}
    unknown = sorted(set(network) - known)
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, 1)
        raise ValueError(
            f"network: unknown key {', '.join(unknown)}" + (f"; did you mean {near[0]!r}?" if near else "")
        )
