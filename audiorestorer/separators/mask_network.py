"""`kind: mask_network`: this project's own mask networks (`models.mask_unet`), as separator or as denoiser.

A checkpoint works at its own rate (22.05 kHz for the pilots). The band above its Nyquist is not lost: `top_gain`, the network's mean
mask over 0.7 .. 0.95 of its Nyquist frequency, frame by frame and interpolated linearly to samples, is the gain for that band:
where there is speech near the top of the band that the network sees, there is taken to be speech just above it.

Its levels are taken over the audible part of a window (`models.activity`), so that it keeps a word that stands alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint
from audiorestorer.separators import ModelFiles, Options, Separator, Stems, as_numpy, as_torch, refuse_fast

TOP_BAND = (0.7, 0.95)  # of the network's Nyquist; above it anti-aliasing filters leave nothing to judge by
SEGMENT_SEC = 12.0
CONTEXT_SEC = 1.0


def top_gain(mask: torch.Tensor, length: int, hop_length: int) -> torch.Tensor:
    """Gain `[B, 1, T]` of a mask `[B, 1, F, N]`: its mean over the top band, interpolated (frame k is centred on sample k hop)."""
    bins = mask.shape[2] - 1
    low, high = (round(share * bins) for share in TOP_BAND)
    frames = mask[:, :, low:high].mean(dim=2)
    wanted = (mask.shape[3] - 1) * hop_length + 1
    gain = functional.interpolate(frames, size=max(wanted, 1), mode="linear", align_corners=True)
    if wanted < length:
        gain = functional.pad(gain, (0, length - wanted), mode="replicate")
    return gain[:, :, :length].clamp(0.0, 1.0)


def check_options(network: MaskUNet, overlap: int | None, floor_db: float | None) -> None:
    """Raises AudioRestorerError: an overlap that the network cannot have, or a floor above 0 dB."""
    network.hop_of(overlap)
    if floor_db is not None and not floor_db <= 0:
        raise AudioRestorerError(f"floor_db {floor_db:g}: a floor is at most 0 dB")


class MaskNetwork(Separator):
    """A mask network. The speech is its output; `extras` holds the gain for the band above its Nyquist.

    `overlap` and `floor_db`: see `MaskUNet.speech_and_mask`.
    """

    channels = 1
    segment_sec = SEGMENT_SEC
    context_sec = (CONTEXT_SEC, CONTEXT_SEC)
    edges = "cut"
    extras = ("top_gain",)

    def __init__(
        self, model: Any, sample_rate: int, device: str, overlap: int | None = None, floor_db: float | None = None
    ) -> None:
        check_options(model, overlap, floor_db)
        self.model = model.eval().to(device)
        self.overlap, self.floor = overlap, 0.0 if floor_db is None else 10 ** (floor_db / 20)
        self.sample_rate, self.device = sample_rate, device
        self.align = model.config.hop_length

    def __call__(self, audio: Audio) -> Stems:
        """`[B, 1, T]` -> `vocals` and `top_gain`, each `[B, 1, T]`."""
        with torch.inference_mode():
            mixture = as_torch(audio, self.device)
            config = self.model.config
            spoken, mask = self.model.speech_and_mask(mixture, self.overlap, self.floor, by_activity=True)
            gain = top_gain(mask.float(), audio.shape[-1], config.hop_length)
            return {"vocals": as_numpy(spoken), "top_gain": as_numpy(gain)}


def load(model: ModelFiles, options: Options) -> Separator:
    """Raises AudioRestorerError: no such checkpoint, or a rate other than the registry's."""
    refuse_fast(model, options)
    network, metadata = load_checkpoint(model.one(".safetensors"))
    rate = int(metadata["sample_rate"])
    if model.sample_rate not in (None, rate):
        raise AudioRestorerError(f"model {model.name}: the registry says {model.sample_rate} Hz, the file {rate} Hz")
    return MaskNetwork(network, rate, options.device)
