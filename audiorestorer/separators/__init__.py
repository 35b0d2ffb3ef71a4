"""Separators and denoisers: one contract, one module per kind, found by name. No torch import here.

A registry entry says `kind: NAME`; `load` imports `audiorestorer.separators.NAME` and calls its `load(model, options)`. A module with
such a function is a kind. `hybrid` is a part of the kind `demucs`; `enhancer` and `word_gate` serve the stage `enhance`.

To add one, drop a module into this folder, for example `my_net.py` (this is all of it):

    import torch
    from audiorestorer.separators import ModelFiles, Options, Separator, as_numpy, as_torch

    class MyNet(Separator):
        sample_rate, channels, segment_sec = 44_100, 2, 8.0

        def __init__(self, net, device):
            self.net, self.device = net, device

        def __call__(self, audio):                      # [B, C, T] float32 at sample_rate
            with torch.inference_mode():
                return {"vocals": as_numpy(self.net(as_torch(audio, self.device)))}

    def load(model: ModelFiles, options: Options) -> Separator:
        net = ...                                       # model.one(".safetensors"): never unpickle what we did not make
        return MyNet(net.eval().to(options.device), options.device)

and an entry under `models:` in `config/models.yaml` (`my_net: {kind: my_net, ...}`). Overlap-add, streaming, resampling, channels,
batching and the store come with it. `Separator` lists what else a network can say of itself; a bag overrides `members`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.devices import on_gpu
from audiorestorer.digest import modules_defining
from audiorestorer.dsp.overlap_add import Plan
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import MADE_AGAIN
from audiorestorer.separators.runtime.shared_passes import PassSplitter, SharedPasses, fitting_rows
from audiorestorer.store import sha256_file

Stems = Mapping[str, Audio]
CPU_ROWS = 4
FAST = ("openvino", "onnxruntime", "bfloat16")  # backends and precisions that not every kind has
OUTSIDE = np.float32("nan")  # what a window is filled up with; only for networks that ask for it (`Separator.padded`)


def _as_fetched(path: Path, fetched_ns: int, sha256: str) -> bool:
    """Whether a file is the one that was fetched: hashed only if it was written later than the record."""
    try:
        return path.stat().st_mtime_ns < fetched_ns or sha256_file(path) == sha256
    except OSError:
        return False


@dataclass(frozen=True)
class ModelFiles:
    """A fetched model, as `artifacts/models/<name>.json` says (see `models.fetching.fetch`).

    `sha256`: path -> the hash that was checked when the file was fetched; `digest`: over all of them; `network`: the sizes that the
    registry's entry says.
    """

    name: str
    kind: str
    source: str
    files: Sequence[Path]
    sha256: Mapping[str, str]
    digest: str
    sample_rate: int | None = None
    trust: bool = False
    network: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, path: str | Path) -> ModelFiles:
        """Raises AudioRestorerError: unreadable, or not such a file; or a file of the model was changed since it was fetched."""
        try:
            fetched_ns = Path(path).stat().st_mtime_ns
            raw = json.loads(Path(path).read_text(encoding="utf-8"))
            files = [Path(file["path"]) for file in raw["files"]]
            hashes = {file["path"]: file["sha256"] for file in raw["files"]}
            rate, trust = raw.get("sample_rate"), bool(raw.get("trust"))
            model = cls(
                raw["name"], raw["kind"], raw["source"], files, hashes, raw["digest"], rate, trust, raw.get("network")
            )  # fmt: skip
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
        return model

    def digest_of(self, path: Path) -> str:
        """SHA-256 of one of the files, as it was when it was fetched: no job reads a gigabyte again."""
        return self.sha256.get(str(path)) or sha256_file(path)

    def one(self, *suffixes: str) -> Path:
        """The only file with one of these suffixes.

        Raises:
            AudioRestorerError: none or several.
        """
        paths = [path for path in self.files if path.suffix in suffixes]
        if len(paths) != 1:
            raise AudioRestorerError(
                f"model {self.name}: needs one {' or '.join(suffixes)} file, has "
                f"{', '.join(path.name for path in paths) or 'none'}"
            )
        return paths[0]


@dataclass(frozen=True)
class Options:
    """The settings that a network is loaded with.

    Attributes:
        stems: those wanted: `vocals`, or `vocals` and `accompaniment`.
        segment_sec: None: the network's own.
        backend: `auto`: OpenVINO or ONNX Runtime on a CPU, whichever the kind has, torch elsewhere.
        precision: `auto`: bfloat16 where the hardware multiplies it and the kind can, float32 elsewhere.
        cache: folder of converted networks.
        batch_size: windows per pass; None: the network's `cpu_rows`, on a GPU as many as its free memory holds.
    """

    device: str = "cpu"
    stems: tuple[str, ...] = ("vocals",)
    segment_sec: float | None = None
    backend: Literal["auto", "torch", "openvino", "onnxruntime"] = "torch"
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    threads: int = 1
    cache: Path = Path("artifacts/compiled")
    batch_size: int | None = None


@dataclass(frozen=True)
class Member:
    """One pass over the recording: a network of a bag.

    Attributes:
        run: windows `[B, C, N]` -> stems, each `[B, C, N]`, already multiplied by the member's share.
        segment: samples per segment.
        plan: (stride, batch_size) -> Plan.
    """

    run: Callable[[Audio], Stems]
    segment: int
    plan: Callable[[int, int], Plan]


class Separator:
    """A network. Subclass it: set the attributes, write `__call__`.

    Attributes:
        sample_rate: Hz, of its input and its output.
        channels: 1 or 2, of its input; with 1 each channel of a recording goes through by itself.
        segment_sec: its own segment.
        stems: the keys of what `__call__` returns; `vocals` at least (the speech, for a denoiser).
        extras: further keys of it: `top_gain` `[B, C, T]` in 0..1, the gain for the band above its Nyquist.
        context_sec: (left, right) it sees beside a segment; its output for that is dropped.
        edges: how windows meet the ends of the recording, see `dsp.overlap_add.Plan`.
        normalise: over the whole recording. `none`; `demucs`: (x - mean) / (std + 1e-8) of the mono mean, undone afterwards;
            `std`: x / (std + 1e-3) of each channel, then times std.
        align: segments, strides and contexts are multiples of this many samples.
        mean_counts: how often the recording's mean is added back to a stem (`demucs` only; 1 where absent).
        shared: windows of several recordings go through together; its windows must be of few lengths (`padded`), and the output of
            a window must not depend on the others.
        in_work: recordings that go through at a time, each in a thread: a pass then takes one core, and `__call__` is safe in threads.
        cpu_rows: windows per pass on a CPU, where nothing else is said.
        device: the device that it runs on.
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
    in_work: int = 1
    cpu_rows: int = CPU_ROWS
    device: str = "cpu"

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


@dataclass(frozen=True)
class Loaded:
    """A network with all that a run adds to it. `runtime.streaming.estimates` takes recordings through it.

    Attributes:
        stems: those wanted.
        segment_sec: None: the network's own.
        rows: windows per pass.
        passes: where the windows of several recordings meet; None: each recording goes through by itself.
        splitter: runs a pass in parts where the device's memory does not hold it.
    """

    network: Separator
    stems: tuple[str, ...] = ("vocals",)
    segment_sec: float | None = None
    rows: int = 1
    passes: SharedPasses | None = None
    splitter: PassSplitter = field(default_factory=PassSplitter)


def refuse_fast(model: ModelFiles, options: Options, has: Sequence[str] = ()) -> None:
    """Refuse a backend or precision that a kind does not have: what asks for more than `auto` is an error, not ignored.

    `has`: those of `FAST` that the kind has beside torch and float32.

    Raises:
        AudioRestorerError: names what the kind does not run in.
    """
    asked = [name for name in (options.backend, options.precision) if name in FAST and name not in has]
    if asked:
        raise AudioRestorerError(
            f"model {model.name}: kind {model.kind} does not run in {' and '.join(asked)}"
            f"{' on a GPU' if on_gpu(options.device) else ''}: leave it at `auto`"
        )


def as_torch(audio: Audio, device: str) -> Any:
    """A float32 tensor on the device."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32)).to(device)


def as_numpy(tensor: Any) -> Audio:
    """A tensor of any device and precision as a float32 array."""
    out: Audio = tensor.float().cpu().numpy()
    return out


def module_of(model: ModelFiles) -> str:
    """The module of a model's kind, below `audiorestorer.`; nothing is imported.

    Raises:
        AudioRestorerError: there is none with a function `load`.
    """
    kinds = modules_defining("load", "separators")
    if model.kind not in kinds:
        raise AudioRestorerError(
            f"model {model.name}: kind {model.kind!r}: there is no audiorestorer/separators/{model.kind}.py with a function"
            f" load(model, options); kinds: {', '.join(kinds)}"
        )
    return f"separators.{model.kind}"


def load(model: ModelFiles, options: Options) -> Loaded:
    """Load a network by its kind.

    Raises:
        AudioRestorerError: no such kind, a stem that it does not have, or files that cannot be used.
    """
    network: Separator = importlib.import_module(f"audiorestorer.{module_of(model)}").load(model, options)
    missing = [stem for stem in options.stems if stem not in network.stems]
    if missing:
        raise AudioRestorerError(
            f"model {model.name} has no stem {', '.join(missing)}; use `accompaniment: residual` (mixture minus vocals)"
        )
    # some kinds run on the CPU whatever the device
    rows = options.batch_size or (_rows_on_gpu(network, options) if on_gpu(network.device) else network.cpu_rows)
    return Loaded(network, options.stems, options.segment_sec, rows, SharedPasses(rows) if network.shared else None)


def _rows_on_gpu(network: Separator, options: Options) -> int:
    import torch

    window = int((options.segment_sec or network.segment_sec) * network.sample_rate)

    def peak(rows: int) -> int:
        torch.cuda.reset_peak_memory_stats(options.device)
        before = torch.cuda.memory_allocated(options.device)
        network(np.zeros((rows, network.channels, window), np.float32))
        return int(torch.cuda.max_memory_allocated(options.device)) - before

    return fitting_rows(peak, int(torch.cuda.mem_get_info(options.device)[0]))
