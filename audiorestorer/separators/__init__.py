"""Separators and denoisers: one contract, one module a kind, found by name. No torch import here.

A registry entry says `kind: NAME`; `load` imports `audiorestorer.separators.NAME` and calls its `load(model, options)`.

To add one, drop a module into this folder, for example `my_net.py` (this is all of it):

    import torch
    from audiorestorer.separators import ModelFiles, Options, Separator, as_torch

    class MyNet(Separator):
        sample_rate, channels, segment_sec = 44_100, 2, 8.0

        def __init__(self, net, device):
            self.net, self.device = net, device

        def __call__(self, audio):                      # [B, C, T] float32 at sample_rate
            with torch.inference_mode():
                return {"vocals": self.net(as_torch(audio, self.device)).cpu().numpy()}

    def load(model: ModelFiles, options: Options) -> Separator:
        net = ...                                       # model.one(".safetensors"): never unpickle what we did not make
        return MyNet(net.eval().to(options.device), options.device)

and an entry under `models:` in `config/models.yaml` (`my_net: {kind: my_net, ...}`). Overlap-add, streaming, resampling, channels,
batching and the store come with it. What more a network can say: the attributes of `Separator`; a bag overrides `members`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.devices import claim
from audiorestorer.dsp.overlap_add import Plan
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import MADE_AGAIN
from audiorestorer.separators.runtime.shared_passes import SharedPasses, PassSplitter, fitting_rows
from audiorestorer.store import sha256_file

Stems = Mapping[str, Audio]
CPU_ROWS = 4  # windows a pass where nothing else is said
OUTSIDE = np.float32("nan")  # what a window is filled up with; only for networks that ask for it (`Separator.padded`)
KIND_PATTERN = re.compile(r"^[a-z][a-z0-9_]{0,40}$")


def _as_fetched(path: Path, fetched_ns: int, sha256: str) -> bool:
    """Whether a file is the one that was fetched: hashed only if it was written later than the record."""
    try:
        return path.stat().st_mtime_ns < fetched_ns or sha256_file(path) == sha256
    except OSError:
        return False


@dataclass(frozen=True)
class ModelFiles:
    """A fetched model, as `artifacts/models/<name>.json` says (see `models.registry.fetch`).

    `sha256`: path -> what was checked when it was fetched; `digest`: over all of them.
    """

    name: str
    kind: str
    source: str
    files: Sequence[Path]
    sha256: Mapping[str, str]
    digest: str
    sample_rate: int | None = None
    trust: bool = False

    @classmethod
    def read(cls, path: str | Path) -> ModelFiles:
        """Raises AudioRestorerError: unreadable, or not such a file; or a file of the model was changed since it was fetched."""
        try:
            fetched_ns = Path(path).stat().st_mtime_ns
            raw = json.loads(Path(path).read_text(encoding="utf-8"))
            files = [Path(file["path"]) for file in raw["files"]]
            hashes = {file["path"]: file["sha256"] for file in raw["files"]}
            rate, trust = raw.get("sample_rate"), bool(raw.get("trust"))
            found = cls(raw["name"], raw["kind"], raw["source"], files, hashes, raw["digest"], rate, trust)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AudioRestorerError(
                f"{path}: not a fetched model ({error}); {MADE_AGAIN} (by hand: `audiorestorer fetch-model`)"
            ) from error
        for file, sha256 in zip(files, hashes.values(), strict=True):
            if sha256 and not _as_fetched(file, fetched_ns, sha256):
                raise AudioRestorerError(
                    f"{file}: damaged, or another file than was fetched: put the whole file there, or delete {path} and run the"
                    " same command again to use it as it is"
                )
        return found

    def digest_of(self, path: Path) -> str:
        """SHA-256 of one of the files: what was found when it was fetched, so that no job reads a gigabyte again."""
        return self.sha256.get(str(path)) or sha256_file(path)

    def one(self, *suffixes: str) -> Path:
        """The only file with one of these suffixes.

        Raises:
            AudioRestorerError: none or several.
        """
        found = [path for path in self.files if path.suffix in suffixes]
        if len(found) != 1:
            raise AudioRestorerError(
                f"model {self.name}: needs one {' or '.join(suffixes)} file, has "
                f"{', '.join(path.name for path in found) or 'none'}"
            )
        return found[0]


@dataclass(frozen=True)
class Options:
    """How a network is to run.

    Attributes:
        stems: those wanted: `vocals`, or `vocals` and `accompaniment`.
        backend: `auto`: OpenVINO on a CPU where the kind can, torch elsewhere.
        precision: `auto`: bfloat16 where the hardware multiplies it and the kind can, float32 elsewhere.
        cache: folder of converted networks.
        batch_size: windows a pass; None: `CPU_ROWS`, on a GPU what its free memory holds.
    """

    device: str = "cpu"
    stems: tuple[str, ...] = ("vocals",)
    segment_sec: float | None = None
    backend: Literal["auto", "torch", "openvino"] = "torch"
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    threads: int = 1
    cache: Path = Path("artifacts/compiled")
    batch_size: int | None = None


@dataclass(frozen=True)
class Member:
    """One pass over the recording: a network of a bag.

    Attributes:
        run: windows `[B, C, N]` -> stems, each `[B, C, N]`, already multiplied by the member's share.
        segment: samples a segment.
        plan: (stride, batch_size) -> Plan.
    """

    run: Callable[[Audio], Stems]
    segment: int
    plan: Callable[[int, int], Plan]


class Separator:
    """A loaded network. Subclass it: set the attributes, write `__call__`.

    Attributes:
        sample_rate: Hz, what it takes and gives.
        channels: 1 or 2, what it takes; with 1 each channel of a recording goes through by itself.
        segment_sec: its own segment.
        stems: what `__call__` returns; `vocals` at least (the speech, for a denoiser).
        extras: what it returns beside them: `top_gain` `[B, C, T]` in 0..1, the gain for the band above its Nyquist.
        context_sec: (left, right) it sees beside a segment; its output for that is dropped.
        edges: what stands outside of the recording, see `dsp.overlap_add.Plan`.
        normalise: over the whole recording. `none`; `demucs`: (x - mean) / (std + 1e-8) of the mono mean, undone afterwards;
            `std`: x / (std + 1e-3) of each channel, then times std.
        align: segments, strides and contexts are multiples of so many samples.
        mean_counts: how often the recording's mean is added back to a stem (`demucs` only; 1 where absent).
        shared: windows of several recordings go through together; its windows must be of few lengths (`padded`), and what comes
            of a window must not depend on the others.
        device: what it runs on.
        batch_size: windows of one recording that go through together. crew: where those of several meet. Both are set by `load`.
    """

    sample_rate: int
    channels: int
    segment_sec: float
    stems: tuple[str, ...] = ("vocals",)
    extras: tuple[str, ...] = ()
    context_sec: tuple[float, float] = (0.0, 0.0)
    edges: Literal["zeros", "cut"] = "zeros"
    normalise: Literal["none", "demucs", "std"] = "none"
    align: int = 1
    mean_counts: Mapping[str, int] = MappingProxyType({})
    shared: bool = False
    device: str = "cpu"
    batch_size: int = 1
    crew: SharedPasses | None = None
    halving: PassSplitter | None = None

    def padded(self, length: int) -> int:
        """Samples that a window of `length` samples is filled up to, with `OUTSIDE` on the right."""
        return length

    def __call__(self, audio: Audio) -> Stems:
        """`[B, C, T]` float32 -> the stems and extras, each `[B, C, T]` float32."""
        raise NotImplementedError

    def members(self, segment_sec: float | None) -> list[Member]:
        """The passes whose weighted stems add up to the estimate; here one, of this network."""

        def aligned(seconds: float) -> int:
            return round(seconds * self.sample_rate / self.align) * self.align

        segment = max(self.align, aligned(segment_sec or self.segment_sec))
        left, right = (aligned(seconds) for seconds in self.context_sec)

        def plan(stride: int, batch_size: int) -> Plan:
            step = max(self.align, stride // self.align * self.align)
            return Plan(segment, step, lambda _: (left, right), self.edges, batch_size)

        return [Member(self, segment, plan)]


def refuse_fast(model: ModelFiles, options: Options) -> None:
    """For kinds that run in torch and float32 only: what the options ask for beyond `auto` is an error, not ignored.

    Raises:
        AudioRestorerError: backend openvino or precision bfloat16.
    """
    asked = [name for name in (options.backend, options.precision) if name in ("openvino", "bfloat16")]
    if asked:
        raise AudioRestorerError(
            f"model {model.name}: kind {model.kind} does not run in {' and '.join(asked)}: leave it at `auto`"
        )


def as_torch(audio: Audio, device: str) -> Any:
    """A float32 tensor on the device."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32)).to(device)


def pick_device(device: str, threads: int) -> str:
    """Set torch's threads and resolve `auto`; one of `cpu`, `cuda`, `cuda:n`. Of several GPUs, `auto` and `cuda` take a free one.

    Raises:
        AudioRestorerError: a GPU is asked for and there is none (or not that one).
    """
    claim(device)
    import torch

    torch.set_num_threads(max(1, threads))
    count = torch.cuda.device_count() if device != "cpu" and torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if count else "cpu"
    if device.startswith("cuda"):
        index = int(device.partition(":")[2] or 0)
        if index >= count:
            raise AudioRestorerError(f"device {device}: this machine has {count} usable GPUs; use `auto` or `cpu`")
    return device


def module_of(model: ModelFiles) -> str:
    """The module of a model's kind, below `audiorestorer.`; nothing is imported.

    Raises:
        AudioRestorerError: there is none.
    """
    if not KIND_PATTERN.match(model.kind) or importlib.util.find_spec(f"{__name__}.{model.kind}") is None:
        raise AudioRestorerError(
            f"model {model.name}: kind {model.kind!r}: there is no audiorestorer/separators/{model.kind}.py"
        )
    return f"separators.{model.kind}"


def load(model: ModelFiles, options: Options) -> Separator:
    """Load a network by its kind.

    Raises:
        AudioRestorerError: no such kind, a stem that it does not have, or files that cannot be used.
    """
    module = importlib.import_module(f"audiorestorer.{module_of(model)}")
    if not hasattr(module, "load"):
        raise AudioRestorerError(f"model {model.name}: {module.__name__} has no function load(model, options)")
    network: Separator = module.load(model, options)
    missing = [stem for stem in options.stems if stem not in network.stems]
    if missing:
        raise AudioRestorerError(
            f"model {model.name} has no stem {', '.join(missing)}; use `accompaniment: residual` (mixture minus vocals)"
        )
    network.halving = PassSplitter()
    network.batch_size = options.batch_size or (_rows_on_gpu(network, options) if on_gpu(options.device) else CPU_ROWS)
    network.crew = SharedPasses(network.batch_size) if network.shared else None
    return network


def on_gpu(device: str) -> bool:
    return device.startswith("cuda")


def _rows_on_gpu(network: Separator, options: Options) -> int:
    import torch

    window = int((options.segment_sec or network.segment_sec) * network.sample_rate)

    def peak(rows: int) -> int:
        torch.cuda.reset_peak_memory_stats(options.device)
        before = torch.cuda.memory_allocated(options.device)
        network(np.zeros((rows, network.channels, window), np.float32))
        return int(torch.cuda.max_memory_allocated(options.device)) - before

    return fitting_rows(peak, int(torch.cuda.mem_get_info(options.device)[0]))
