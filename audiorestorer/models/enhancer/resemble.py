"""Resemble Enhance in the form in which its weights were released: its arithmetic where ours differs, and its names of weights.

Our enhancer has the same parts and sizes, and its own arithmetic (docs/enhancer.md): this module holds the other one, for the released
file alone. Its weights, its window, its mel filters and the filters of its alias-free blocks are half precision, and are used as they
are stored. Source: github.com/resemble-ai/resemble-enhance (MIT).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.models import torch_files
from audiorestorer.models.enhancer import solvers
from audiorestorer.models.enhancer.alias_free import AliasFree, AliasFreeBlock, phases
from audiorestorer.models.enhancer.cfm import VectorField
from audiorestorer.models.enhancer.denoiser import Denoiser
from audiorestorer.models.enhancer.enhancer import to_bfloat16
from audiorestorer.models.enhancer.irmae import Irmae
from audiorestorer.models.enhancer.mel import sharpened, values
from audiorestorer.models.enhancer.settings import DenoiserSettings, FlowSettings, IrmaeSettings, VocoderSettings
from audiorestorer.models.enhancer.univnet import SLOPE, Stage, UnivNet, fold_weight_norm
from audiorestorer.models.released import ResembleSettings

PEAK_FLOOR = 1e-7  # added to a peak before something is divided by it
VARIANCE_FLOOR = 1e-9
TURN_FLOOR = 1e-7  # added to the squared length of a rotation
PAD_FRAMES = 10  # of zeros after the vocoder's condition
PAD_SAMPLES = 441  # of zeros after a chunk
KERNEL_LAYERS, KERNEL_TAPS = 4, 3  # of the location-variable convolutions

# their names -> ours; what no rule changes and ours do not have is an error, except for `UNUSED`
RULES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"denoiser\.net\.input_proj\.", "denoiser.entry."),
    (r"denoiser\.net\.(encoder|middle|decoder)_blocks\.(\d+)\.pre_conv\.", r"denoiser.\1.\2.layers.0."),
    (r"denoiser\.net\.(encoder|middle|decoder)_blocks\.(\d+)\.res_block([12])\.", r"denoiser.\1.\2.layers.\3.layers."),
    (r"denoiser\.net\.head\.", "denoiser.head."),
    (r"lcfm\.ae\.encoder\.([5-8])\.", lambda found: f"irmae.linears.{int(found[1]) - 5}."),
    (r"lcfm\.ae\.(encoder|decoder)\.([1-4])\.", r"irmae.\1.\2.layers."),
    (r"lcfm\.ae\.", "irmae."),
    (r"lcfm\.cfm\.net\.start\.", "field.entry."),
    (r"lcfm\.cfm\.net\.end\.", "field.exit."),
    (r"lcfm\.cfm\.net\.layers\.(\d+)\.gconv\.", r"field.layers.\1.time."),
    (r"lcfm\.cfm\.net\.layers\.(\d+)\.lconv\.", r"field.layers.\1.local."),
    (r"lcfm\.cfm\.net\.layers\.(\d+)\.dconv\.", r"field.layers.\1.dilated."),
    (r"lcfm\.cfm\.net\.layers\.(\d+)\.out\.", r"field.layers.\1.out."),
    (r"mel_fn\.melspec\.spectrogram\.window", "mel.window"),
    (r"mel_fn\.melspec\.mel_scale\.fb", "mel.filters"),
    (r"normalizer\.running_mean_unsafe", "mean"),
    (r"normalizer\.running_var_unsafe", "variance"),
    (r"vocoder\.conv_pre\.", "vocoder.entry."),
    (r"vocoder\.conv_post\.1\.", "vocoder.exit."),
    (r"vocoder\.blocks\.(\d+)\.convt_pre\.1\.", r"vocoder.stages.\1.up."),
    (r"vocoder\.blocks\.(\d+)\.conv_blocks\.(\d+)\.1\.", r"vocoder.stages.\1.convs.\2."),
    (r"vocoder\.blocks\.(\d+)\.amp_block\.(\d+)\.1\.act\.", r"vocoder.stages.\1.block.layers.\2.1.activation."),
    (r"vocoder\.blocks\.(\d+)\.amp_block\.(\d+)\.1\.upsample\.filter", r"vocoder.stages.\1.block.layers.\2.1.up_taps"),
    (
        r"vocoder\.blocks\.(\d+)\.amp_block\.(\d+)\.1\.downsample\.lowpass\.filter",
        r"vocoder.stages.\1.block.layers.\2.1.down_taps",
    ),
    (r"vocoder\.blocks\.(\d+)\.amp_block\.", r"vocoder.stages.\1.block.layers."),
    (r"vocoder\.blocks\.(\d+)\.kernel_predictor\.input_conv\.0\.", r"vocoder.stages.\1.predictor.entry."),
    (
        r"vocoder\.blocks\.(\d+)\.kernel_predictor\.residual_convs\.(\d+)\.1\.",
        r"vocoder.stages.\1.predictor.residuals.\2.0.",
    ),
    (
        r"vocoder\.blocks\.(\d+)\.kernel_predictor\.residual_convs\.(\d+)\.3\.",
        r"vocoder.stages.\1.predictor.residuals.\2.2.",
    ),
    (r"vocoder\.blocks\.(\d+)\.kernel_predictor\.kernel_conv\.", r"vocoder.stages.\1.predictor.kernels."),
    (r"vocoder\.blocks\.(\d+)\.kernel_predictor\.bias_conv\.", r"vocoder.stages.\1.predictor.bias."),
)
UNUSED = re.compile(
    r"dummy$|denoiser\.(mel_fn|dummy)\b|lcfm\.ae\.estimator\.|mel_fn\.stft_magnitude_min$|vocoder\.mrstft\."
)
NORMED = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))


class Mel(nn.Module):
    """Audio `[B, L]` to mel values `[B, M, L // hop]`, with the file's window and filters. Not normalised."""

    window: Tensor
    filters: Tensor

    def __init__(self, settings: ResembleSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("window", torch.ones(settings.win_size))
        self.register_buffer("filters", torch.ones(settings.n_fft // 2 + 1, settings.num_mels))

    def forward(self, audio: Tensor) -> Tensor:
        settings = self.settings
        sizes = (settings.n_fft, settings.hop_size, settings.win_size)
        sharp = sharpened(audio, settings.preemphasis)
        spectrum = torch.stft(sharp, *sizes, self.window, pad_mode="constant", return_complex=True)[..., :-1]
        return values(self.filters.T @ spectrum.abs(), settings.stft_magnitude_min)


def by_peak(audio: Tensor) -> Tensor:
    """Each item of `[B, L]` divided by its peak."""
    return audio / (audio.abs().amax(dim=1, keepdim=True) + PEAK_FLOOR)


class ReleasedDenoiser(Denoiser):
    """Divides by the peak and does not give it back; the spectrum is reflected at its ends and loses its last frame."""

    def forward(self, audio: Tensor, level: Tensor | None = None) -> Tensor:
        """`[B, L]` to `[B, L]` at a peak of about one; `level` is not used."""
        audio = by_peak(audio)
        n_fft, hop, window = self.settings.n_fft, self.settings.hop_length, self.window
        spectrum = torch.stft(audio, n_fft, hop, window=window, return_complex=True)[..., :-1]
        phase = spectrum.angle()
        features = torch.stack([spectrum.abs(), phase.cos(), phase.sin()], dim=1)
        factors = self.network(features.to(self.entry.weight.dtype)).float()
        turn = factors[:, 1:] / (factors[:, 1:].square().sum(dim=1, keepdim=True) + TURN_FLOOR).sqrt()
        turned = features[:, 0] * torch.complex(features[:, 1], features[:, 2])
        out = factors[:, 0] * turned * torch.complex(turn[:, 0].contiguous(), turn[:, 1].contiguous())
        whole = torch.istft(torch.cat([out, out[..., -1:]], dim=-1), n_fft, hop, window=window)
        return functional.pad(whole, (0, audio.shape[1] - whole.shape[1]))


class ReleasedField(VectorField):
    """Norms the condition over the chunk, and has no activation before its last convolution."""

    activation = staticmethod(nn.Identity())

    def __init__(self, latent: int, n_mels: int, settings: FlowSettings) -> None:
        super().__init__(latent, n_mels, settings)
        self.norm = nn.InstanceNorm1d(n_mels)  # type: ignore[assignment]


class ReleasedAliasFree(AliasFree):
    """With the file's filters. Beyond its ends the doubled signal repeats its own first and last sample, not those of each half."""

    up_taps: Tensor
    down_taps: Tensor

    def __init__(self, channels: int, taps: int = 12) -> None:
        super().__init__(channels, taps)
        self.register_buffer("up_taps", torch.zeros(1, 1, taps))
        self.register_buffer("down_taps", torch.zeros(1, 1, taps))

    def ready(self) -> None:
        """Take the filters that were loaded."""
        self.up, self.down = 2 * phases(self.up_taps.flatten()), phases(self.down_taps.flatten()).flip(1)

    def padded(self, doubled: list[Tensor]) -> list[Tensor]:
        first, last, reach = doubled[0][..., :1], doubled[1][..., -1:], self.reach
        return [torch.cat([first.expand(-1, -1, reach), y, last.expand(-1, -1, reach)], dim=-1) for y in doubled]


class ReleasedBlock(AliasFreeBlock):
    """One residual path around all layers."""

    activation = ReleasedAliasFree

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.layers:
            y = layer(y)
        return x + y


class ReleasedStage(Stage):
    """The alias-free block stands directly after the upsampling."""

    slope = SLOPE
    block_kind = ReleasedBlock

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.convolved(self.block(self.upsampled(x)), condition)


class ReleasedVocoder(UnivNet):
    stage_kind = ReleasedStage
    padding_mode: Literal["zeros", "reflect"] = "reflect"


class Restored(NamedTuple):
    """`[B, L]` each, at the level that the networks work at: a peak of about one."""

    denoised: Tensor
    enhanced: Tensor | None


class Resemble(nn.Module):
    """The released enhancer. Weight norms are folded: it is for inference alone."""

    mean: Tensor
    variance: Tensor

    def __init__(self, settings: ResembleSettings) -> None:
        super().__init__()
        self.settings = settings
        n_mels, latent, extra = settings.num_mels, settings.lcfm_latent_dim, settings.vocoder_extra_dim
        self.denoiser = ReleasedDenoiser(DenoiserSettings(n_fft=4 * settings.hop_size, hop_length=settings.hop_size))
        self.mel = Mel(settings)
        self.irmae = Irmae(n_mels, IrmaeSettings(latent=latent, extra=extra))
        self.field = ReleasedField(latent, n_mels, FlowSettings())
        self.vocoder = ReleasedVocoder(n_mels + extra, VocoderSettings(channels=settings.univnet_nc))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("variance", torch.ones(()))
        fold_weight_norm(self)

    def features(self, audio: Tensor) -> Tensor:
        return (self.mel(audio) - self.mean) / (self.variance + VARIANCE_FLOOR).sqrt()

    @torch.inference_mode()
    def forward(
        self,
        audio: Tensor,
        draw: Callable[[str, int, int], Tensor],
        *,
        nfe: int,
        solver: solvers.Solver,
        lambd: float,
        tau: float,
        denoise_only: bool = False,
    ) -> Restored:
        """A chunk, divided by its peak and filled up with `PAD_SAMPLES` of zeros: `[B, L]`.

        Args:
            draw: (`flow` or `vocoder`, channels, frames) to Gaussian noise `[B, channels, frames]`.
            nfe, solver, lambd, tau: see `models.enhancer.enhancer.Enhancer.forward`.
        """
        audio = by_peak(audio)
        denoised = self.denoiser(audio)
        if denoise_only:
            return Restored(denoised, None)
        kind = self.field.entry.weight.dtype
        heard = self.features(audio)
        mel = lambd * self.features(denoised) + (1 - lambd) * heard
        scale = self.settings.lcfm_z_scale
        share = 1.0 if self.settings.force_gaussian_prior else tau
        drawn = draw("flow", self.settings.lcfm_latent_dim, heard.shape[2])
        start = share * drawn + (1 - share) * scale * self.irmae.encode(heard.to(kind)).float()
        condition = self.field.condition(mel)
        code = solvers.solve(
            lambda time, x: self.field(x, time.expand(len(x)), condition), start, self.times(nfe, solver), solver
        )
        decoded = functional.pad(self.irmae.decode((code / scale).to(kind)), (0, PAD_FRAMES))
        wave = self.vocoder(decoded, draw("vocoder", self.vocoder.settings.noise, decoded.shape[2]).to(kind))
        return Restored(denoised, wave[:, : -PAD_FRAMES * self.settings.hop_size])

    def times(self, nfe: int, solver: str) -> Tensor:
        """`[steps + 1]`, float64: even before the exponential map h(t) = (a^t - 1) / (a - 1) with h(1 / divisor) = 1/2."""
        divisor = self.settings.cfm_time_mapping_divisor
        base = brentq(lambda a: (a ** (1 / divisor) - 1) / (a - 1) - 0.5, 1e-12, 0.999)
        return solvers.grid(nfe, solver, base)

    def prepare(self, precision: str = "float32") -> Resemble:
        """Make the loaded network ready for inference, in place: filters taken, linear layers merged, types of weights."""
        for module in self.modules():
            if isinstance(module, ReleasedAliasFree):
                module.ready()
        self.irmae = self.irmae.merged()
        if precision == "bfloat16":
            to_bfloat16(self.irmae, self.vocoder, self.field, self.denoiser)
        return self.eval()


def load(path: Path, settings: ResembleSettings) -> Resemble:
    """The released file's network, after `prepare` still to be called.

    Raises:
        AudioRestorerError: damaged, more than tensors (says how to convert it), or weights that do not fit the settings (named).
    """
    state = named(torch_files.state_of(path))
    torch_files.check_fits(lambda: Resemble(settings), state, str(path))
    torch_files.check_finite(state, str(path))
    model = Resemble(settings)
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(False)


def named(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the released file by our names, in float32: norms folded, kernels in our order."""
    ours: dict[str, Tensor] = {}
    for name, value in state.items():
        if UNUSED.match(name):
            continue
        new = next((re.sub(old, new, name) for old, new in RULES if re.match(old, name)), name)
        ours[new] = value.float()
    for name in [name for name in ours if name.endswith(NORMED[0][0]) or name.endswith(NORMED[1][0])]:
        for length, direction in NORMED:
            stem = name.removesuffix(length)
            if stem != name and _fit(ours[name], ours.get(stem + direction)):
                ours[f"{stem}weight"] = torch._weight_norm(ours.pop(stem + direction), ours.pop(name), 0)
    for name, value in ours.items():
        if ".predictor.kernels." in name:
            ours[name] = _reordered(value)
        elif name.endswith(".time.weight") and value.ndim:
            ours[name] = value.flatten(1)
    return ours


def _fit(length: Tensor, direction: Tensor | None) -> bool:
    """Whether two tensors are the parts of a weight norm; torch does not check it and writes beyond their ends."""
    return (
        direction is not None and direction.ndim > 1 and length.shape == (len(direction), *[1] * (direction.ndim - 1))
    )


def _reordered(rows: Tensor) -> Tensor:
    """Rows (layer, input, output, tap) to (layer, output, input, tap)."""
    if not rows.ndim or not len(rows):
        return rows
    channels = round((rows.shape[0] / (2 * KERNEL_LAYERS * KERNEL_TAPS)) ** 0.5)
    if rows.shape[0] != 2 * channels**2 * KERNEL_LAYERS * KERNEL_TAPS:
        return rows  # of another network: its shape is refused by name
    split = rows.unflatten(0, (KERNEL_LAYERS, channels, 2 * channels, KERNEL_TAPS))
    return split.transpose(1, 2).flatten(0, 3).contiguous()
