"""Networks that mask a spectrum: STFT, the network between, inverse STFT; in torch, or on a CPU in OpenVINO."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from audiorestorer.audio import Audio
from audiorestorer.devices import on_gpu, use_threads
from audiorestorer.digest import code_digest
from audiorestorer.dsp.overlap_add import Plan, centred
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import torch_files
from audiorestorer.models.band_layout import BandLayout
from audiorestorer.models.released import NetworkSettings, settings_of
from audiorestorer.separators import Member, ModelFiles, Options, Separator, Stems, as_numpy, as_torch
from audiorestorer.separators.runtime.compiled import Compiled, fast_options, next_length

CPU_ROWS = 1  # windows per pass: one fills the cores
Core = Callable[[Tensor], Tensor]

log = logging.getLogger("audiorestorer")


@dataclass(frozen=True)
class Transform:
    """A centred STFT with a periodic Hann window.

    Attributes:
        pad_mode: what stands before the first and after the last sample.
        scale: the network sees the spectrum divided by this.
        zero_dc: the estimate has nothing at 0 Hz.
    """

    n_fft: int
    hop_length: int
    win_length: int
    pad_mode: str = "reflect"
    scale: float = 1.0
    zero_dc: bool = False

    def _window(self, like: Tensor) -> Tensor:
        return torch.hann_window(self.win_length, device=like.device)

    def spectrum(self, audio: Tensor) -> Tensor:
        """`[B, C, N]` to `[B, C, F, T]`."""
        flat = torch.stft(
            audio.flatten(0, 1), self.n_fft, self.hop_length, self.win_length, self._window(audio), pad_mode=self.pad_mode,
            return_complex=True,
        )  # fmt: skip
        return flat.unflatten(0, audio.shape[:2])

    def audio(self, spectrum: Tensor, length: int) -> Tensor:
        """`[B, S, C, F, T]` to `[B, S, C, length]`."""
        if self.zero_dc:
            spectrum[..., 0, :] = 0
        flat = torch.istft(
            spectrum.flatten(0, 2), self.n_fft, self.hop_length, self.win_length, self._window(spectrum), length=length
        )
        return flat.unflatten(0, spectrum.shape[:3])


class SpectralSeparator(Separator):
    """A network that gives a complex mask for each stem.

    `core`: the numbers of `BandLayout.split` to masks, the speech's first; those of the `others` are the accompaniment together.

    """

    cpu_rows = CPU_ROWS

    def __init__(
        self, settings: NetworkSettings, transform: Transform, layout: BandLayout, core: Core, device: str, *, others: bool
    ) -> None:  # fmt: skip
        self.sample_rate, self.channels, self.segment_sec = settings.sample_rate, layout.channels, settings.segment_sec
        self.transform, self.layout, self.core, self.device = transform, layout, core, device
        self.stems = ("vocals", "accompaniment") if others else ("vocals",)
        self.shared = on_gpu(device)

    def __call__(self, audio: Audio) -> Stems:
        with torch.inference_mode():
            mixture = as_torch(audio, self.device)
            spectrum = self.transform.spectrum(mixture)
            masks = self.core(self.layout.split(spectrum / self.transform.scale))
            out = self.transform.audio(self.layout.masked(spectrum, masks), mixture.shape[-1])  # [B, S, C, N]
        stems = {"vocals": as_numpy(out[:, 0])}
        if "accompaniment" in self.stems:
            stems["accompaniment"] = as_numpy(out[:, 1:].sum(dim=1))
        return stems

    def members(self, segment_sec: float | None) -> list[Member]:
        """Windows of few lengths: a network is converted for each, and what a window holds decides what comes of it.

        Raises:
            AudioRestorerError: a segment shorter than a transform.
        """
        segment = round((segment_sec or self.segment_sec) * self.sample_rate)
        least = self.transform.n_fft
        if segment < least:
            raise AudioRestorerError(
                f"segment_sec: {segment / self.sample_rate:g}; allowed: at least {least / self.sample_rate:g}, one transform"
            )

        def valid_length(length: int) -> int:
            return min(segment, max(least, next_length(length, self.sample_rate)))

        def plan(stride: int, batch_size: int) -> Plan:
            return Plan(segment, max(1, stride), centred(valid_length), "zeros", batch_size)

        return [Member(self, segment, plan)]


def _torch_core(network: nn.Module, device: str, precision: str) -> Core:
    network = network.eval().to(device)
    kind = device.partition(":")[0]

    def run(numbers: Tensor) -> Tensor:
        with torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16"):
            return network(numbers).float()

    return run


def _openvino_core(
    network: nn.Module, identity: dict[str, object], width: int, precision: str, threads: int, cache: Path
) -> Core:
    """A window at a time: one fills the cores. The length that models are kept by is the number of frames."""
    network = network.eval()

    def make(rows: int, frames: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
        return network, (torch.zeros(rows, frames, width),)

    compiled = Compiled(make, identity, precision, threads, cache, package=None)

    def run(numbers: Tensor) -> Tensor:
        rows = [compiled(numbers.shape[1], numbers[row : row + 1])[0] for row in range(len(numbers))]
        return torch.cat(rows)

    return run


def separator(
    model: ModelFiles,
    options: Options,
    parts: Callable[[NetworkSettings], tuple[Transform, BandLayout, Callable[[], nn.Module]]],
    keep: Callable[[nn.Module, list[int]], None],
    prepared: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict,
) -> SpectralSeparator:
    """A released network, ready to run.

    Args:
        parts: settings to the transform, the layout and what builds the network.
        keep: leaves the network only the mask estimators of these stems.
        prepared: the weights of the file, with the names that the network has.

    Raises:
        AudioRestorerError: no settings or impossible ones, a rate other than the registry's, a file that is damaged, holds more than
            tensors or other weights than the settings call for, or a backend or precision that this device does not have.
    """
    where = f"model {model.name}"
    backend, precision = fast_options(options)
    if backend == "openvino" and on_gpu(options.device):
        raise AudioRestorerError(f"{where}: backend openvino is for the CPU")
    use_threads(options.threads)
    settings = settings_of(model.kind, model.network, list(model.files), where)
    if model.sample_rate not in (None, settings.sample_rate):
        raise AudioRestorerError(
            f"{where}: the registry says {model.sample_rate} Hz, its network {settings.sample_rate} Hz"
        )
    path = model.one(*torch_files.WEIGHTS)
    transform, layout, build = parts(settings)
    network = torch_files.loaded(build, prepared(torch_files.state_of(path)), str(path))
    others = "accompaniment" in options.stems and len(settings.stems) > 1
    rest = [index for index in range(len(settings.stems)) if index != settings.speech_index] if others else []
    keep(network, kept := [settings.speech_index, *rest])
    if backend == "openvino":
        identity: dict[str, object] = {
            "weights": model.digest_of(path), "settings": settings.model_dump(mode="json"), "stems": kept,
            "code": code_digest(f"separators.{model.kind}"),
        }  # fmt: skip
        core = _openvino_core(network, identity, sum(layout.widths), precision, options.threads, options.cache)
    else:
        core = _torch_core(network, options.device, precision)
    return SpectralSeparator(settings, transform, layout, core, options.device, others=others)
