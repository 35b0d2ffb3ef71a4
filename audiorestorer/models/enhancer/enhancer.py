"""The enhancer: denoiser, mel-spectrogram, autoencoder, flow and vocoder together; inference of a batch of windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.enhancer.cfm import Flow, VectorField
from audiorestorer.models.enhancer.denoiser import SILENT_RMS, Denoiser, rms
from audiorestorer.models.enhancer.irmae import Irmae
from audiorestorer.models.enhancer.mel import MelSpectrogram, Normaliser
from audiorestorer.models.enhancer.settings import EnhancerSettings
from audiorestorer.models.enhancer.univnet import UnivNet, fold_weight_norm

REFERENCE_RMS = 0.1  # share of full scale (-20 dBFS): level of input and output of all networks but the denoiser
VOCODER_SEED = 0x5EED  # added to an item's seed, so that flow and vocoder do not share their noise
PARTS = ("denoiser", "irmae", "flow", "vocoder")


@dataclass(frozen=True)
class Enhanced:
    """`denoised` and `enhanced`: `[B, T]`, at the input's scale; `enhanced` None where only the denoiser was run."""

    denoised: Tensor
    enhanced: Tensor | None


class Enhancer(nn.Module):
    """Degraded speech `[B, T]` at `sample_rate` to clean speech of the same length.

    An item's output depends on its samples, its level and its seed; not on its batch. Group norms see the whole of a window: cut
    recordings into windows of one size. Untrained parts are as they were initialised: a checkpoint says which parts it holds.
    """

    z_scale: Tensor

    def __init__(self, settings: EnhancerSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or EnhancerSettings()
        n_mels, latent = settings.features.n_mels, settings.irmae.latent
        self.denoiser = Denoiser(settings.denoiser)
        self.mel = MelSpectrogram(settings.features)
        self.normaliser = Normaliser()
        self.irmae = Irmae(n_mels, settings.irmae)
        self.flow = Flow(latent, n_mels, settings.flow)
        self.vocoder = UnivNet(n_mels + settings.irmae.extra, settings.vocoder)
        self.register_buffer("z_scale", torch.tensor(settings.irmae.z_scale))

    @property
    def sample_rate(self) -> int:
        """Hz, of input and output."""
        return self.settings.features.sample_rate

    def features(self, audio: Tensor) -> Tensor:
        """Normalised mel values of audio at the reference level: `[B, T] -> [B, M, N]`, N = ceil(T / hop)."""
        out: Tensor = self.normaliser(self.mel(audio))
        return out

    def code(self, mel: Tensor) -> Tensor:
        """Scaled code, which the flow works on: `[B, M, N] -> [B, latent, N]`."""
        return self.z_scale * self.irmae.encode(mel.to(_type(self.irmae))).float()

    def speech(self, code: Tensor, length: int, seeds: Sequence[int], starts: Sequence[int] | None = None) -> Tensor:
        """Audio of a scaled code, at the reference level: `[B, latent, N] -> [B, length]`."""
        decoded = self.irmae.decode((code / self.z_scale).to(_type(self.irmae)))
        own = [seed + VOCODER_SEED for seed in seeds]
        audio = self.vocoder.synthesise(decoded.to(_type(self.vocoder)), own, starts)
        return audio[:, :length]

    def condition(self, heard: Tensor, denoised: Tensor, lambd: float | Tensor) -> Tensor:
        """The flow's condition: lambd of the denoised mel values plus 1 - lambd of the input's; `lambd` may be `[B, 1, 1]`."""
        return lambd * denoised + (1 - lambd) * heard

    @torch.inference_mode()
    def forward(
        self,
        audio: Tensor,
        *,
        seeds: Sequence[int],
        level: Tensor | None = None,
        nfe: int = 64,
        solver: str = "midpoint",
        lambd: float = 0.9,
        tau: float = 0.5,
        denoise_only: bool = False,
        starts: Sequence[int] | None = None,
    ) -> Enhanced:
        """Restore windows.

        Args:
            audio: `[B, T]`, T >= 1.
            seeds: one per item; equal seeds give equal bytes on one device.
            level: `[B, 1]`, RMS of the recording that each window is cut from, so that all are treated alike; None: RMS of the window.
            nfe, solver, tau: see `Flow.sample`.
            lambd: share of the denoised speech in the condition, in [0, 1].
            starts: frame of the recording at which each window begins: windows that overlap hear the same noise; None: 0.

        Raises:
            AudioRestorerError: a value out of its range, or not one seed per item.
        """
        if audio.dim() != 2 or not audio.shape[1]:
            raise AudioRestorerError(f"audio of shape {list(audio.shape)}: needs [B, T] with T >= 1")
        if not 0 <= lambd <= 1:
            raise AudioRestorerError(f"lambd {lambd}: must lie in [0, 1]")
        if len(seeds) != len(audio):
            raise AudioRestorerError(f"{len(seeds)} seeds for {len(audio)} items")
        level = rms(audio, silent=0.0) if level is None else level
        audible = level > SILENT_RMS  # silence stays silence: a vocoder would make sound of it
        level = torch.where(audible, level, torch.ones_like(level))
        denoised = self.denoiser(audio, level) * audible
        if denoise_only:
            return Enhanced(denoised, None)
        scale = REFERENCE_RMS / level
        heard, clean = self.features(audio * scale), self.features(denoised * scale)
        code = self.flow.sample(
            self.code(heard), self.condition(heard, clean, lambd), seeds=seeds, nfe=nfe, solver=solver, tau=tau,
            starts=starts,
        )  # fmt: skip
        return Enhanced(denoised, self.speech(code, audio.shape[1], seeds, starts) / scale * audible)

    def prepare(self, precision: Literal["float32", "bfloat16"] = "float32") -> Enhancer:
        """Make this enhancer ready for inference, in place: linear layers merged, norms folded into weights. Not for training after.

        Args:
            precision: type of the networks' weights; transforms, the normaliser, the flow's state and all audio stay float32.
        """
        self.eval()
        self.irmae = self.irmae.merged()
        fold_weight_norm(self)
        if precision == "bfloat16":
            to_bfloat16(self.irmae, self.vocoder, self.flow.field, self.denoiser)
        return self


def to_bfloat16(irmae: Irmae, vocoder: UnivNet, field: VectorField, denoiser: Denoiser) -> None:
    """The networks' weights, in place; the norm of the flow's condition and the denoiser's window stay float32."""
    for part in (irmae, vocoder, field, *denoiser.children()):
        part.bfloat16()
    field.norm.float()


def _type(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype
