"""demucs' hybrid networks, the part between STFT and inverse STFT by itself: on a CPU through OpenVINO, or in torch in bfloat16.

The network's own `forward` runs with its four spectral methods replaced, so that it takes the spectrogram and gives the estimated
one; STFT and inverse stay demucs' own, in float32, and the inverse is done for the wanted stems only. For OpenVINO it is traced
once for windows of one length; converted models are kept on disk by weights, stems, window length and versions.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiorestorer.audio import Audio
from audiorestorer.separators import as_torch
from audiorestorer.store import key_of

log = logging.getLogger("audiorestorer")

MAX_COMPILED = 6  # models in memory: each holds a copy of the weights
BF16_FLAGS = {"amx_bf16", "avx512_bf16"}  # /proc/cpuinfo: without them bfloat16 is emulated, and slower than float32
LENGTHS_SEC = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 38, 44, 52, 60)
HINTS = {"float32": "f32", "bfloat16": "bf16"}
_tracing = threading.Lock()


def has_bfloat16() -> bool:
    """Whether this machine's CPU multiplies bfloat16 in hardware."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    flags = next((line.split(":")[1].split() for line in text.splitlines() if line.startswith("flags")), [])
    return bool(BF16_FLAGS & set(flags))


def is_supported(network: Any) -> bool:
    """Hybrid networks whose spectrogram goes in and out as complex numbers (`cac`): HTDemucs, HDemucs."""
    return bool(getattr(network, "cac", False)) and all(hasattr(network, name) for name in ("_spec", "_ispec", "_mask"))


def window_length(network: Any, length: int) -> int:
    """Samples of the compiled window that a segment of `length` samples is put in, zeros around it.

    What the network was trained on where it says so (HTDemucs), else the next of `LENGTHS_SEC`: a model is compiled for each length.
    """
    if getattr(network, "use_train_segment", False):
        return int(network.valid_length(length))
    rate = int(network.samplerate)
    fitting = [seconds * rate for seconds in LENGTHS_SEC if seconds * rate >= length]
    own = int(network.segment * rate)
    return min([*fitting, *([own] if own >= length else [])], default=length)


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


class OpenvinoCore:
    """The core on OpenVINO.

    Args:
        network: in float32 on the CPU. weights: digest of its file. shares: stem -> factor of each source.
        precision: `float32` or `bfloat16`. cache: folder of converted models.
    """

    def __init__(
        self,
        network: Any,
        weights: str,
        shares: Mapping[str, Sequence[float]],
        precision: str,
        threads: int,
        cache: Path,
    ) -> None:
        self.network, self.weights, self.cache = network, weights, cache
        self.shares = [list(share) for share in shares.values()]
        self.settings: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": HINTS[precision],
            "ENABLE_CPU_PINNING": False,  # two jobs that pin their threads pin them to the same cores
        }  # fmt: skip
        self._compiled: OrderedDict[int, Any] = OrderedDict()

    def __call__(self, magnitude: torch.Tensor, mixture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        run = self._model(mixture.shape[-1])
        made = []
        for row in range(len(mixture)):  # a window fills the cores; a model a batch size would only cost memory
            found = run([magnitude[row : row + 1].numpy(), mixture[row : row + 1].numpy()])
            made.append([torch.from_numpy(np.array(part)) for part in found.values()])
        return torch.cat([part[0] for part in made]), torch.cat([part[1] for part in made])

    def _model(self, length: int) -> Any:
        import openvino

        if length in self._compiled:
            self._compiled.move_to_end(length)
            return self._compiled[length]
        path = self._converted(length)
        core = openvino.Core()
        self._compiled[length] = core.compile_model(str(path), "CPU", self.settings)
        if len(self._compiled) > MAX_COMPILED:
            self._compiled.popitem(last=False)
        return self._compiled[length]

    def _converted(self, length: int) -> Path:
        """The converted model of a window length; converted, and put into the cache by rename, where it is not there."""
        import openvino

        versions = {name: metadata.version(name) for name in ("openvino", "torch", "demucs")}
        key = key_of(weights=self.weights, shares=self.shares, length=length, versions=versions)
        path = self.cache / f"{key}.xml"
        if path.is_file() and path.with_suffix(".bin").is_file():
            return path
        log.info("openvino: converting the network for windows of %.2f s (once)", length / self.network.samplerate)
        self.cache.mkdir(parents=True, exist_ok=True)
        with (
            _tracing,
            torch.inference_mode(),
            warnings.catch_warnings(),
            tempfile.TemporaryDirectory(dir=self.cache) as folder,
        ):
            warnings.simplefilter("ignore")  # the tracer warns of every size that it takes for constant: they are
            mixture = torch.zeros(1, int(self.network.audio_channels), length)
            inputs = (self.network._magnitude(self.network._spec(mixture)), mixture)
            traced = torch.jit.trace(SpectralCore(self.network, self.shares), inputs, strict=False, check_trace=False)
            model = openvino.convert_model(traced, example_input=inputs, input=[list(part.shape) for part in inputs])
            made = Path(folder) / "model.xml"
            openvino.save_model(model, str(made), compress_to_fp16=False)
            os.replace(made.with_suffix(".bin"), path.with_suffix(".bin"))
            os.replace(made, path)
        return path
