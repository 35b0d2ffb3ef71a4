"""`kind: dns64`: the causal waveform denoiser of the denoiser package (Defossez, Synnaeve and Adi 2020, arXiv:2006.12847).

The package and its weights are CC-BY-NC 4.0: an optional extra, never bundled. The network divides its input by the deviation of
all it is given; here the whole recording's deviation is used once (`normalise = "std"`), and the network's own is switched off, so the
segment does not matter. Its LSTM only looks back: segments carry a long left context, and at the recording's start it starts there.
A step of the LSTM reads all its weights (67 MB), for one window or for several: so windows of several recordings go through together,
filled up to one of few lengths.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from audiorestorer.audio import Audio
from audiorestorer.devices import on_gpu, use_threads
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import torch_files
from audiorestorer.separators import ModelFiles, Options, Separator, Stems, as_numpy, as_torch
from audiorestorer.separators.runtime.compiled import Compiled, fast_options, next_length

PACKAGES = ("torch",)  # read before the run begins, without an import
SAMPLE_RATE = 16_000
SEGMENT_SEC = 16.0
LEFT_SEC, RIGHT_SEC = 4.096, 0.256  # the LSTM's memory; the convolutions and the resampler reach 0.05 s ahead
MISSING = (
    "the denoiser package is not installed: `pip install --no-deps denoiser==0.1.5`. Package and weights are CC-BY-NC 4.0 (not for"
    " commercial use). `denoise: {model: pilot_denoiser}` serves without it."
)


class Windowed(torch.nn.Module):
    """The network for windows of unequal length in one array: each comes out as if it were alone.

    Samples and frames beyond a window's end are set to zero before every layer that would look at them.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def sizes(self, length: int) -> list[int]:
        """Samples or frames of a window of `length` samples: as it goes in, before each decoder layer, and on the way out."""
        network, up = self.network, int(self.network.resample)
        inside = int(network.valid_length(length))
        frames = math.ceil(length * up)
        for _ in range(network.depth):
            frames = max(math.ceil((frames - network.kernel_size) / network.stride) + 1, 1)
        sizes = [inside * 2**k for k in range(up.bit_length())]
        for _ in range(network.depth + 1):
            sizes.append(frames)
            frames = (frames - 1) * network.stride + network.kernel_size
        last = sizes[-1]
        return [*sizes, *(math.ceil(last / 2**k) for k in range(1, up.bit_length() - 1))]

    def forward(self, mixture: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        """`[B, 1, N]` and `sizes` of each `[B, K]` -> `[B, 1, N]`."""
        from denoiser.resample import downsample2, upsample2

        network, length = self.network, mixture.shape[-1]
        doublings = int(network.resample).bit_length() - 1
        column = 0

        def cut(x: torch.Tensor) -> torch.Tensor:
            nonlocal column
            inside = torch.arange(x.shape[-1], device=x.device)[None] < sizes[:, column, None]
            column += 1
            return x * inside[:, None].to(x.dtype)

        x = cut(functional.pad(mixture, (0, network.valid_length(length) - length)))
        for _ in range(doublings):
            x = cut(upsample2(x))
        skips = []
        for layer in network.encoder:
            x = layer(x)
            skips.append(x)
        x = network.lstm(x.permute(2, 0, 1))[0].permute(1, 2, 0)
        for layer in network.decoder:
            x = x + skips.pop()[..., : x.shape[-1]]
            for part in layer:
                x = part(cut(x)) if isinstance(part, torch.nn.ConvTranspose1d) else part(x)
        for _ in range(doublings):
            x = downsample2(cut(x))
        return x[..., :length]


class Dns(Separator):
    """The denoiser's network; `vocals` is the denoised speech."""

    channels = 1
    segment_sec = SEGMENT_SEC
    context_sec = (LEFT_SEC, RIGHT_SEC)
    edges = "cut"
    normalise = "std"

    def __init__(self, network: Any, weights: str, options: Options) -> None:
        self.network = network.eval().to(options.device)
        self.network.normalize = False
        self.windowed = Windowed(self.network)
        self.sample_rate, self.device = int(network.sample_rate), options.device
        self.align = int(network.total_stride)  # windows start on the network's own frame grid
        backend, self.precision = fast_options(options)
        self.shared = backend == "openvino" or on_gpu(options.device)
        self.compiled = None
        if backend == "openvino":
            identity = {"weights": weights, "network": "dns64"}
            self.compiled = Compiled(
                self._example, identity, self.precision, options.threads, options.cache, package="denoiser"
            )

    def _example(self, rows: int, length: int) -> tuple[Any, tuple[torch.Tensor, ...]]:
        return self.windowed, (torch.zeros(rows, 1, length), torch.tensor([self.windowed.sizes(length)] * rows))

    def padded(self, length: int) -> int:
        if not self.shared:
            return length
        longest = round(sum((self.segment_sec, *self.context_sec)) * self.sample_rate / self.align) * self.align
        filled = next_length(length, self.sample_rate)
        return longest if length <= longest < filled else filled

    def __call__(self, audio: Audio) -> Stems:
        """`[B, 1, T]` at unit deviation, `OUTSIDE` from each one's end on -> `vocals` `[B, 1, T]`."""
        bfloat16 = self.precision == "bfloat16" and self.compiled is None
        with torch.inference_mode(), torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=bfloat16):
            if not self.shared:
                return {"vocals": as_numpy(self.network(as_torch(audio, self.device)))}
            outside = np.isnan(audio[:, 0])
            lengths = audio.shape[-1] - np.cumprod(outside[:, ::-1], axis=1).sum(axis=1)
            sizes = torch.tensor([self.windowed.sizes(int(length)) for length in lengths])
            windows = as_torch(np.where(outside[:, None], np.float32(0), audio), self.device)
            if self.compiled is not None:
                return {"vocals": as_numpy(self.compiled(audio.shape[-1], windows, sizes)[0])}
            return {"vocals": as_numpy(self.windowed(windows, sizes.to(self.device)))}


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
    content = torch_files.read(path, [demucs])
    try:
        if isinstance(content, dict) and "state" in content and "class" in content:
            if content["class"] is not demucs:
                raise AudioRestorerError(f"{path}: class {content['class']!r} is not denoiser.demucs.Demucs")
            torch_files.check_call(path, demucs, content["args"], content["kwargs"])
            network, state = demucs(*content["args"], **content["kwargs"]), content["state"]
        else:
            hidden = int(content["encoder.0.0.weight"].shape[0])
            depth = len({key.split(".")[1] for key in content if key.startswith("encoder.")})
            kwargs = {"hidden": hidden, "depth": depth, "sample_rate": SAMPLE_RATE}
            torch_files.check_call(path, demucs, [], kwargs)
            network, state = demucs(**kwargs), content
        network.load_state_dict(state)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise AudioRestorerError(f"{path}: not a checkpoint of the denoiser: {str(error):.300}") from error
    if network.chin != 1 or network.chout != 1 or not network.causal:
        raise AudioRestorerError(f"{path}: only the causal one-channel denoisers are supported")
    return network


def load(model: ModelFiles, options: Options) -> Separator:
    """Raises AudioRestorerError: see `read_network`."""
    use_threads(options.threads)
    path = model.one(".th")
    if options.backend == "openvino" and options.device != "cpu":
        raise AudioRestorerError(f"{path}: backend openvino is for the CPU")
    return Dns(read_network(path), model.digest_of(path), options)
