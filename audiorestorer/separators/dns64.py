"""`kind: dns64`: the causal waveform denoiser of the denoiser package (Defossez, Synnaeve and Adi 2020, arXiv:2006.12847).

The package and its weights are CC-BY-NC 4.0: an optional extra, never bundled. The network divides its input by the deviation of
all it is given; here the whole recording's deviation is used once (`normalise = "std"`), and the network's own is switched off, so the
segment does not matter. Its LSTM only looks back: segments carry a long left context, and at the recording's start it starts there.
A step of the LSTM reads all its weights (67 MB), for one window or for several: so windows of several recordings go through together,
filled up with zeros to one of few lengths, which changes nothing before them but rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.separators import ModelFiles, Options, Separator, Stems, as_torch, on_gpu
from audiorestorer.separators.compiled import Compiled, fast_options, next_length
from audiorestorer.store import sha256_file

SAMPLE_RATE = 16_000
SEGMENT_SEC = 16.0
LEFT_SEC, RIGHT_SEC = 4.096, 0.256  # the LSTM's memory; the convolutions and the resampler reach 0.05 s ahead
MISSING = (
    "the denoiser package is not installed: `pip install --no-deps denoiser==0.1.5`. Package and weights are CC-BY-NC 4.0 (not for"
    " commercial use). `denoise: {model: pilot_denoiser}` serves without it."
)


class Dns(Separator):
    """The denoiser's network; `vocals` is the denoised speech."""

    channels = 1
    segment_sec = SEGMENT_SEC
    context_sec = (LEFT_SEC, RIGHT_SEC)
    edges = "cut"
    normalise = "std"

    def __init__(self, network: Any, weights: Path, options: Options) -> None:
        self.network = network.eval().to(options.device)
        self.network.normalize = False
        self.sample_rate, self.device = int(network.sample_rate), options.device
        self.align = int(network.total_stride)  # windows start on the network's own frame grid
        backend, self.precision = fast_options(options)
        self.shared = backend == "openvino" or on_gpu(options.device)
        self.compiled = None
        if backend == "openvino":
            identity = {"weights": sha256_file(weights), "network": "dns64"}
            self.compiled = Compiled(
                self._example, identity, self.precision, options.threads, options.cache, package="denoiser"
            )

    def _example(self, rows: int, length: int) -> tuple[Any, tuple[torch.Tensor, ...]]:
        return self.network, (torch.zeros(rows, 1, length),)

    def padded(self, length: int) -> int:
        if not self.shared:
            return length
        longest = round(sum((self.segment_sec, *self.context_sec)) * self.sample_rate / self.align) * self.align
        found = next_length(length, self.sample_rate)
        return longest if length <= longest < found else found

    def __call__(self, audio: Audio) -> Stems:
        """`[B, 1, T]` at unit deviation -> `vocals` `[B, 1, T]`."""
        if self.compiled is not None:
            return {"vocals": self.compiled(audio.shape[-1], as_torch(audio, "cpu"))[0].numpy()}
        bfloat16 = self.precision == "bfloat16"
        with torch.inference_mode(), torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=bfloat16):
            out = self.network(as_torch(audio, self.device))
        return {"vocals": out.float().cpu().numpy().astype(np.float32, copy=False)}


def _package() -> Any:
    try:
        from denoiser.demucs import Demucs
    except ImportError as error:
        raise AudioRestorerError(MISSING) from error
    return Demucs


def read_network(path: Path) -> Any:
    """A released state dict, or a package {class, args, kwargs, state}; nothing in it is executed.

    Raises:
        AudioRestorerError: the denoiser package is missing, or the file is damaged or something else.
    """
    demucs = _package()
    try:
        with torch.serialization.safe_globals([demucs]):
            content = torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the file makes it raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise AudioRestorerError(
            f"{path}: not loaded: damaged, or a pickle that could run code ({reason:.200})"
        ) from error
    try:
        if isinstance(content, dict) and "state" in content and "class" in content:
            if content["class"] is not demucs:
                raise AudioRestorerError(f"{path}: class {content['class']!r} is not denoiser.demucs.Demucs")
            network, state = demucs(*content["args"], **content["kwargs"]), content["state"]
        else:
            hidden = int(content["encoder.0.0.weight"].shape[0])
            depth = len({key.split(".")[1] for key in content if key.startswith("encoder.")})
            network, state = demucs(hidden=hidden, depth=depth, sample_rate=SAMPLE_RATE), content
        network.load_state_dict(state)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise AudioRestorerError(f"{path}: not a checkpoint of the denoiser: {str(error):.300}") from error
    if network.chin != 1 or network.chout != 1 or not network.causal:
        raise AudioRestorerError(f"{path}: only the causal one-channel denoisers are supported")
    return network


def load(model: ModelFiles, options: Options) -> Separator:
    """Raises AudioRestorerError: see `read_network`."""
    path = model.one(".th")
    if options.backend == "openvino" and options.device != "cpu":
        raise AudioRestorerError(f"{path}: backend openvino is for the CPU")
    return Dns(read_network(path), path, options)
