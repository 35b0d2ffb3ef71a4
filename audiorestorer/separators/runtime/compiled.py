"""Networks on a CPU through OpenVINO: traced once for inputs of one length, converted, kept on disk, compiled when first used."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiorestorer.devices import on_gpu
from audiorestorer.errors import AudioRestorerError
from audiorestorer.separators import Options
from audiorestorer.separators.runtime.polyphase import polyphase
from audiorestorer.store import key_of

log = logging.getLogger("audiorestorer")

MAX_COMPILED = 6  # models in memory, of all networks of a process: each holds a copy of the weights
BF16_FLAGS = {"amx_bf16", "avx512_bf16"}  # /proc/cpuinfo: without them bfloat16 is emulated, and slower than float32
# a model is compiled for each length
LENGTHS_SEC = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 38, 44, 52, 60)
FORM = "polyphase"  # of the converted models; part of their names
HINTS = {"float32": "f32", "bfloat16": "bf16"}
Make = Callable[[int, int], tuple[torch.nn.Module, tuple[torch.Tensor, ...]]]
_tracing = threading.Lock()
_numbers = count()
_compiled: OrderedDict[tuple[int, int, int], Any] = OrderedDict()  # (network, rows, length) -> model, least used first


def has_bfloat16() -> bool:
    """Whether this machine's CPU multiplies bfloat16 in hardware."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    flags = next((line.split(":")[1].split() for line in text.splitlines() if line.startswith("flags")), [])
    return bool(BF16_FLAGS & set(flags))


def fast_options(options: Options) -> tuple[str, str]:
    """Backend and precision of a network that can have all of them: `auto` resolved for this machine.

    Raises:
        AudioRestorerError: ONNX Runtime, which no such network has.

    In a process that is bound to one core (a job of a cluster, taskset) OpenVINO 2026 crashes as it compiles HTDemucs: PyTorch there.
    """
    if options.backend == "onnxruntime":
        raise AudioRestorerError("backend onnxruntime: this kind runs in openvino or torch: leave it at `auto`")
    on_cpu = not on_gpu(options.device)
    fast = "openvino" if on_cpu and usable_cores() > 1 else "torch"
    backend = fast if options.backend == "auto" else options.backend
    fits = has_bfloat16() if on_cpu else torch.cuda.is_bf16_supported()
    return backend, ("bfloat16" if fits else "float32") if options.precision == "auto" else options.precision


def next_length(length: int, rate: int) -> int:
    """The shortest of `LENGTHS_SEC` at `rate` that holds `length` samples; above the longest, `length` itself."""
    return min((seconds * rate for seconds in LENGTHS_SEC if seconds * rate >= length), default=length)


def usable_cores() -> int:
    """Cores that this process may use: it may be bound to fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Compiled:
    """A network for inputs of few sizes: tensors in, tensors out.

    Args:
        make: (rows, length) -> the module to trace and example inputs for it.
        identity: what the converted model depends on beside length and versions (weights, stems), JSON-able.
        precision: `float32` or `bfloat16`. cache: folder of converted models.
        package: where the network's code comes from; None: from here.
    """

    def __init__(
        self, make: Make, identity: Mapping[str, Any], precision: str, threads: int, cache: Path,
        package: str | None = "demucs",
    ) -> None:  # fmt: skip
        self.make, self.identity, self.cache, self.package = make, dict(identity), cache, package
        self.settings: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": HINTS[precision],
            "ENABLE_CPU_PINNING": False,  # two jobs that pin their threads pin them to the same cores
        }  # fmt: skip
        self.number = next(_numbers)

    def __call__(self, length: int, *inputs: torch.Tensor) -> list[torch.Tensor]:
        """Run on inputs whose first dimension is the rows; `length` is what `make` was written for."""
        outputs = self._model(len(inputs[0]), length)([part.numpy() for part in inputs])
        return [torch.from_numpy(np.array(part)) for part in outputs.values()]

    def _model(self, rows: int, length: int) -> Any:
        import openvino

        key = (self.number, rows, length)
        if key not in _compiled:
            path = self._converted(rows, length)
            while len(_compiled) >= MAX_COMPILED:
                _compiled.popitem(last=False)
            _compiled[key] = openvino.Core().compile_model(str(path), "CPU", self.settings)
        _compiled.move_to_end(key)
        return _compiled[key]

    def _converted(self, rows: int, length: int) -> Path:
        """The converted model of a size; converted, and put into the cache by rename, where it is not there."""
        import openvino

        versions = {name: metadata.version(name) for name in ("openvino", "torch", self.package) if name}
        parts = {"identity": self.identity, "rows": rows, "length": length, "versions": versions, "form": FORM}
        path = self.cache / f"{key_of(**parts)}.xml"
        if path.is_file() and path.with_suffix(".bin").is_file():
            return path
        log.info("openvino: converting a network for windows of length %d (once; kept in %s)", length, self.cache)
        self.cache.mkdir(parents=True, exist_ok=True)
        with _tracing, warnings.catch_warnings(), tempfile.TemporaryDirectory(dir=self.cache.resolve()) as folder:
            warnings.simplefilter("ignore")  # the tracer warns of every size that it takes for constant: they are
            with torch.inference_mode():
                module, inputs = self.make(rows, length)
                with polyphase(module):
                    traced = torch.jit.trace(module, inputs, strict=False, check_trace=False)
                model = openvino.convert_model(
                    traced, example_input=inputs, input=[list(part.shape) for part in inputs]
                )
            unfinished = Path(folder) / "model.xml"
            openvino.save_model(model, str(unfinished), compress_to_fp16=False)
            os.replace(unfinished.with_suffix(".bin"), path.with_suffix(".bin"))
            os.replace(unfinished, path)
        return path
