"""Sizes of the enhancer's networks. `reference`: those of Resemble Enhance; `lite`: for one GPU; `pilot`: for two CPU cores."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from audiorestorer.config import Settings
from audiorestorer.errors import AudioRestorerError

Size = Literal["pilot", "lite", "reference"]
SIZES: tuple[str, ...] = get_args(Size)
Count = Annotated[int, Field(ge=1, le=8192)]
Counts = Annotated[tuple[Count, ...], Field(min_length=1, max_length=8)]
FULL_RATE, HALF_RATE = 44_100, 22_050  # Hz


class FeatureSettings(Settings):
    """Mel-spectrogram. Value of a magnitude m: (20 log10(max(m, floor)) + 80) / 95."""

    sample_rate: int = Field(FULL_RATE, ge=8000, le=192_000, description="Sample rate of the enhancer, Hz")
    n_fft: int = Field(2048, ge=64, le=16384, description="Length of window and transform, samples")
    hop_length: int = Field(420, ge=16, description="Samples between frames; at most half of n_fft")
    n_mels: int = Field(
        128, ge=8, le=512, description="Number of mel bands (Slaney) from 0 Hz to the Nyquist frequency"
    )
    preemphasis: float = Field(
        0.97, ge=0, lt=1, description="Factor p of the filter y(n) = x(n) - p x(n - 1) before the transform"
    )
    floor: float = Field(1e-4, gt=0, description="Least magnitude; 1e-4 is -80 dB")

    @model_validator(mode="after")
    def _hop(self) -> FeatureSettings:
        if self.hop_length * 2 > self.n_fft:
            raise ValueError("hop_length must be at most half of n_fft")
        return self


class DenoiserSettings(Settings):
    """U-Net over [magnitude, cos, sin]; each level halves bins and frames and doubles the channels."""

    n_fft: int = Field(1680, ge=64, le=16384, description="Length of window and transform, samples")
    hop_length: int = Field(420, ge=16, description="Samples between frames; divides n_fft, at most half of it")
    hidden: int = Field(16, ge=1, le=256, description="Channels before the first level")
    levels: int = Field(4, ge=1, le=6, description="Levels of the U-Net")
    middle: int = Field(2, ge=0, le=8, description="Blocks at the bottom of the U-Net")

    @model_validator(mode="after")
    def _hop(self) -> DenoiserSettings:
        if self.hop_length * 2 > self.n_fft or self.n_fft % self.hop_length:
            raise ValueError("hop_length must divide n_fft and be at most half of it")
        return self


class IrmaeSettings(Settings):
    """Autoencoder with implicit rank minimisation: linear layers in a row before the latent code."""

    hidden: int = Field(1024, ge=1, le=8192, description="Channels of encoder and decoder")
    latent: int = Field(64, ge=1, le=1024, description="Channels of the latent code")
    extra: int = Field(32, ge=0, le=1024, description="Channels that the vocoder gets beside the mel values")
    blocks: int = Field(4, ge=1, le=16, description="Residual blocks in the encoder, and as many in the decoder")
    linears: int = Field(
        4, ge=1, le=16, description="Linear layers in a row before the code; merged into one for inference"
    )
    groups: int = Field(32, ge=1, description="Groups of each group norm; divides hidden")
    dilations: Counts = Field((1, 2, 4, 8), description="Dilations of the convolutions in each residual block")
    z_scale: float = Field(
        5.0,
        gt=0,
        le=1000,
        description="Factor of the code that the flow works on; 1 / std(code) of a trained autoencoder",
    )

    @model_validator(mode="after")
    def _groups(self) -> IrmaeSettings:
        if self.hidden % self.groups:
            raise ValueError("groups must divide hidden")
        return self


class FlowSettings(Settings):
    """Vector field of the flow: gated dilated convolutions as in WaveNet."""

    hidden: int = Field(512, ge=1, le=8192, description="Channels of each layer")
    layers: int = Field(30, ge=1, le=100, description="Gated convolutions in a row")
    cycle: int = Field(5, ge=1, le=12, description="Layers until the dilations 1, 2, ... 2^(cycle - 1) begin again")
    kernel: int = Field(3, ge=1, le=15, description="Taps of each convolution, an odd number")
    frequencies: int = Field(
        64, ge=1, le=1024, description="Frequencies of the time embedding; each gives a sine and a cosine"
    )

    @model_validator(mode="after")
    def _odd(self) -> FlowSettings:
        if self.kernel % 2 == 0:
            raise ValueError("kernel must be odd")
        return self


class VocoderSettings(Settings):
    """UnivNet with alias-free blocks. The product of `strides` is the mels' hop."""

    channels: int = Field(96, ge=1, le=1024, description="Channels of every stage")
    noise: int = Field(128, ge=1, le=1024, description="Channels of the noise that goes in, one value per frame")
    strides: Counts = Field(
        (7, 5, 4, 3), description="Upsampling factor of each stage; their product is features.hop_length"
    )
    dilations: Counts = Field(
        (1, 3, 9, 27), description="Dilation of the convolution before each location-variable one"
    )
    kernel: int = Field(3, ge=1, le=15, description="Taps of the location-variable convolutions, an odd number")
    predictor_hidden: int = Field(64, ge=1, le=1024, description="Channels of the kernel predictors")
    alias_free: Counts = Field((1, 3, 5), description="Dilations of each stage's alias-free layers")
    alias_free_taps: Literal[12, 16, 24, 32, 48] = Field(
        12, description="Taps of the alias-free filters; alias_free.py has what each number reaches"
    )
    pad_frames: int = Field(
        10, ge=0, le=100, description="Frames that are repeated at both ends at inference and cut off again"
    )

    @model_validator(mode="after")
    def _odd(self) -> VocoderSettings:
        if self.kernel % 2 == 0:
            raise ValueError("kernel must be odd")
        return self


class DiscriminatorSettings(Settings):
    """Multi-period and multi-resolution discriminators. A resolution is (n_fft, hop, window) in samples."""

    periods: Counts = Field((2, 3, 7, 13, 17), description="Periods that the waveform is folded at, samples")
    period_channels: Counts = Field((64, 128, 256, 512, 1024), description="Channels of each multi-period layer")
    resolutions: tuple[tuple[Count, Count, Count], ...] = Field(
        ((512, 100, 400), (1024, 256, 1024), (2048, 512, 2048)), description="[n_fft, hop, window] of each spectrogram"
    )
    resolution_channels: int = Field(32, ge=1, le=1024, description="Channels of the multi-resolution layers")


class EnhancerSettings(Settings):
    """The whole enhancer."""

    features: FeatureSettings = FeatureSettings()
    denoiser: DenoiserSettings = DenoiserSettings()
    irmae: IrmaeSettings = IrmaeSettings()
    flow: FlowSettings = FlowSettings()
    vocoder: VocoderSettings = VocoderSettings()

    @model_validator(mode="after")
    def _one_hop(self) -> EnhancerSettings:
        if math.prod(self.vocoder.strides) != self.features.hop_length:
            raise ValueError(
                f"vocoder.strides multiply to {math.prod(self.vocoder.strides)}, features.hop_length is"
                f" {self.features.hop_length}: they must be equal"
            )
        return self


OTHER_SIZES: dict[str, dict[str, Any]] = {
    "lite": {
        "irmae": {"hidden": 512},
        "flow": {"hidden": 256, "layers": 20},
        "vocoder": {"channels": 48, "alias_free_taps": 24},
    },
    "pilot": {
        "features": {"n_mels": 80},
        "denoiser": {"hidden": 8, "levels": 3, "middle": 1},
        "irmae": {"hidden": 160, "latent": 32, "extra": 16, "blocks": 2},
        "flow": {"hidden": 128, "layers": 10, "frequencies": 32},
        "vocoder": {"channels": 16, "noise": 32, "predictor_hidden": 24, "alias_free": (1,), "alias_free_taps": 24},
    },
}
AT_HALF_RATE: dict[str, dict[str, Any]] = {
    "features": {"sample_rate": HALF_RATE, "n_fft": 1024, "hop_length": 210},
    "denoiser": {"n_fft": 840, "hop_length": 210},
    "vocoder": {"strides": (7, 5, 3, 2)},
}


def of_size(size: str, sample_rate: int = FULL_RATE) -> EnhancerSettings:
    """Settings of a named size.

    Args:
        sample_rate: 44100, or 22050: half the window and the hop, so that frames last as long (9.52 ms).

    Raises:
        AudioRestorerError: no such size, or another rate.
    """
    if size not in SIZES:
        raise AudioRestorerError(f"size {size!r}: not one of {', '.join(SIZES)}")
    if sample_rate not in (FULL_RATE, HALF_RATE):
        raise AudioRestorerError(f"sample_rate {sample_rate}: the named sizes are for {FULL_RATE} and {HALF_RATE} Hz")
    values = {part: dict(changes) for part, changes in OTHER_SIZES.get(size, {}).items()}
    for part, changes in AT_HALF_RATE.items() if sample_rate == HALF_RATE else ():
        values.setdefault(part, {}).update(changes)
    return EnhancerSettings.model_validate(values)
