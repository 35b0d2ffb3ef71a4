"""A part of the kind `demucs`: its hybrid networks between STFT and inverse STFT, on a CPU through OpenVINO, or in torch in bfloat16.

The network's own `forward` runs with its four spectral methods replaced, so that it takes the spectrogram and gives the estimated
one; STFT and inverse stay demucs' own, in float32, and the inverse is done for the wanted stems only. For OpenVINO it is traced
once for windows of one length; converted models are kept on disk by weights, stems, window length and versions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from audiorestorer.audio import Audio
from audiorestorer.separators import as_torch
from audiorestorer.separators.runtime.compiled import Compiled, next_length


def is_supported(network: Any) -> bool:
    """Hybrid networks whose spectrogram goes in and out as complex numbers (`cac`): HTDemucs, HDemucs."""
    return bool(getattr(network, "cac", False)) and all(hasattr(network, name) for name in ("_spec", "_ispec", "_mask"))


def window_length(network: Any, length: int) -> int:
    """Samples of the compiled window that a segment of `length` samples is put in, zeros around it.

    It is the length that the network was trained on where it says so (HTDemucs), else the next of the lengths that models are compiled
    for, or its whole segment.
    """
    if getattr(network, "use_train_segment", False):
        return int(network.valid_length(length))
    own = int(network.segment * network.samplerate)
    compiled = next_length(length, int(network.samplerate))
    return min(own, compiled) if own >= length else compiled


class SpectralCore(torch.nn.Module):
    """A network without its STFT: (`[B, 2C, F, T]`, `[B, C, N]`) -> (`[B, K, 2C, F, T]`, `[B, K, C, N]`), K wanted stems.

    `shares` `[K, sources]`: the factor of each source in each stem. The estimate is inverse STFT of the first plus the second.
    """

    def __init__(self, network: Any, shares: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("shares", torch.tensor(shares, dtype=torch.float32))

    def forward(self, magnitude: torch.Tensor, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        kept: dict[str, torch.Tensor] = {}

        def mask(_: Any, estimate: torch.Tensor) -> torch.Tensor:
            kept["estimate"] = estimate
            return estimate

        replaced: dict[str, Callable[..., Any]] = {
            "_spec": lambda mixture: None, "_magnitude": lambda spectrum: magnitude, "_mask": mask,
            "_ispec": lambda estimate, *_: 0.0,
        }  # fmt: skip
        for name, function in replaced.items():
            setattr(self.network, name, function)
        try:
            wave = self.network(mixture)
        finally:
            for name in replaced:
                delattr(self.network, name)
        spectrum = torch.einsum("bscft,ks->bkcft", kept["estimate"], self.shares)
        return spectrum, torch.einsum("bsct,ks->bkct", wave, self.shares)


Core = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class Hybrid:
    """A hybrid network around a core: windows `[B, C, N]` -> stems, each `[B, C, N]`. `fixed`: the core takes few window lengths."""

    def __init__(self, network: Any, core: Core, stems: Sequence[str], device: str, *, fixed: bool = False) -> None:
        self.network, self.core, self.stems, self.device, self.fixed = network, core, tuple(stems), device, fixed

    def window_length(self, length: int) -> int:
        """Samples of the window that a segment of `length` samples is put in, what the recording has there or zeros around it."""
        if self.fixed or getattr(self.network, "use_train_segment", False):
            return window_length(self.network, length)
        return length

    def __call__(self, windows: Audio) -> dict[str, Audio]:
        with torch.inference_mode():
            mixture = as_torch(windows, self.device)
            spectrum, wave = self.core(self.network._magnitude(self.network._spec(mixture)), mixture)
            out = self.network._ispec(self.network._mask(None, spectrum), mixture.shape[-1]) + wave  # [B, K, C, N]
        return {stem: out[:, k].cpu().numpy() for k, stem in enumerate(self.stems)}


def autocast_core(network: Any, shares: Mapping[str, Sequence[float]], device: str) -> Core:
    """The core in torch, in bfloat16 where that is safe (autocast)."""
    core = SpectralCore(network, list(shares.values())).to(device)

    def run(magnitude: torch.Tensor, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(device.partition(":")[0], torch.bfloat16):
            spectrum, wave = core(magnitude, mixture)
        return spectrum.float(), wave.float()

    return run


def openvino_core(
    network: Any, weights: str, shares: Mapping[str, Sequence[float]], precision: str, threads: int, cache: Path
) -> Core:
    """The core on OpenVINO, a window at a time: one fills the cores, and a model per batch size would only cost memory.

    Args:
        network: in float32 on the CPU. weights: digest of its file. shares: stem -> factor of each source.
    """
    factors = [list(share) for share in shares.values()]

    def make(rows: int, length: int) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
        mixture = torch.zeros(rows, int(network.audio_channels), length)
        return SpectralCore(network, factors), (network._magnitude(network._spec(mixture)), mixture)

    compiled = Compiled(make, {"weights": weights, "shares": factors}, precision, threads, cache)

    def run(magnitude: torch.Tensor, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = [slice(row, row + 1) for row in range(len(mixture))]
        outputs = [compiled(mixture.shape[-1], magnitude[row], mixture[row]) for row in rows]
        return torch.cat([output[0] for output in outputs]), torch.cat([output[1] for output in outputs])

    return run
