"""`kind: demucs`: HTDemucs, HDemucs and Demucs, alone or in bags, with demucs' own loaders and its arithmetic.

Nothing in a file is executed: `.th` packages go through `torch.load(weights_only=True)` with an allow-list of demucs' and diffq's
classes, and the classes that a `.safetensors` file names are checked against the same list before demucs imports them.
Only the members of a bag that carry a wanted stem are run (of `htdemucs_ft`, one of four carries the vocals).
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.hf import _decode_json, load_safetensors_model
from demucs.htdemucs import HTDemucs
from demucs.states import load_model

from audiorestorer.audio import Audio
from audiorestorer.config import read_yaml
from audiorestorer.devices import on_gpu, use_threads
from audiorestorer.dsp.overlap_add import Plan, centred
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import torch_files
from audiorestorer.separators import Member, ModelFiles, Options, Separator, Stems, as_numpy, as_torch
from audiorestorer.separators.hybrid import Core, Hybrid, autocast_core, is_supported, openvino_core
from audiorestorer.separators.runtime.compiled import fast_options
from audiorestorer.store import sha256_file

PACKAGES = ("torch", "demucs")  # read before the run begins, without an import
NETWORKS: tuple[type, ...] = (HTDemucs, HDemucs, Demucs)
QUANTISERS = ("DiffQuantizer", "UniformQuantizer", "LSQ")
SIGNATURE = re.compile(r"^[A-Za-z0-9_]{1,64}$")
SPEECH = "vocals"
MAX_MEMBERS, MAX_SEGMENT_SEC = 64, 600
LEAST_RATE, MOST_RATE = 4_000, 384_000  # Hz


def _quantisers() -> list[type]:
    try:
        import diffq
    except ImportError:
        return []
    return [getattr(diffq, name) for name in QUANTISERS if hasattr(diffq, name)]


def _allowed() -> list[Any]:
    return [*NETWORKS, Fraction, *_quantisers()]


def _load_package(path: Path, model: ModelFiles) -> Any:
    """A `.th` package `{klass, args, kwargs, state}` as a network."""
    try:
        package = torch_files.read(path, _allowed())
    except AudioRestorerError as error:
        if not model.trust:
            raise AudioRestorerError(
                f"{error}. If you trust its origin, write `trust: true` and its sha256 in the registry. A diffq-quantised bag needs"
                " `pip install diffq==0.2.4`."
            ) from error
        if model.sha256.get(str(path)) != sha256_file(path):
            raise AudioRestorerError(f"{path}: `trust: true`, but its sha256 is not the registry's") from error
        package = torch.load(path, "cpu", weights_only=False)
    if not isinstance(package, dict) or not {"klass", "args", "kwargs", "state"} <= set(package):
        raise AudioRestorerError(f"{path}: not a demucs package (klass, args, kwargs, state)")
    if package["klass"] not in NETWORKS:
        raise AudioRestorerError(f"{path}: klass {package['klass']!r} is not one of demucs' networks")
    torch_files.check_call(path, package["klass"], package["args"], package["kwargs"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # demucs drops parameters of older versions, with a warning each
        return load_model(package)


def _named_classes(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_class" in node:
            yield str(node["_class"])
        for value in node.values():
            yield from _named_classes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _named_classes(value)


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__name__}"


def _load_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
        structure = json.loads(metadata.get("structure", "null"))
        klass = metadata["klass"]
        args, kwargs = (_decode_json(json.loads(metadata[key])) for key in ("args", "kwargs"))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError) as error:
        raise AudioRestorerError(f"{path}: not a demucs safetensors file: {error}") from error
    networks = {_full_name(kind) for kind in NETWORKS}
    parts = {_full_name(kind) for kind in _quantisers()}
    parts |= {f"diffq.{name}" for name in QUANTISERS}
    for name, allowed in [(klass, networks), *((name, parts) for name in _named_classes(structure))]:
        if name not in allowed:
            raise AudioRestorerError(f"{path}: names the class {name!r}, which is none of demucs' or diffq's: refused")
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise AudioRestorerError(f"{path}: args is a list and kwargs a mapping in a demucs file")
    torch_files.check_call(path, next(kind for kind in NETWORKS if klass == _full_name(kind)), args, kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_safetensors_model(path)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_row(row: Any) -> bool:
    return isinstance(row, list) and all(map(_is_number, row))


@dataclass(frozen=True)
class Bag:
    """The content of a bag's YAML: member signatures, a weight per (member, source), a segment in seconds."""

    signatures: Sequence[str]
    weights: Sequence[Sequence[float]] | None = None
    segment: float | None = None

    @classmethod
    def read(cls, path: Path) -> Bag:
        """Raises AudioRestorerError: not a bag, or a member that is no plain signature."""
        raw = read_yaml(path)
        if not isinstance(raw, dict) or not isinstance(raw.get("models"), list) or not raw["models"]:
            raise AudioRestorerError(f"{path}: not a bag: needs a list `models`")
        for name in raw["models"]:
            if not isinstance(name, str) or not SIGNATURE.match(name):
                raise AudioRestorerError(f"{path}: models: {name!r} is not a plain signature (letters, digits, _)")
        weights, segment, count = raw.get("weights"), raw.get("segment"), len(raw["models"])
        if count > MAX_MEMBERS:
            raise AudioRestorerError(f"{path}: models: {count} members; allowed: at most {MAX_MEMBERS}")
        if weights is not None and (
            not isinstance(weights, list) or len(weights) != count or not all(map(_is_row, weights))
        ):
            raise AudioRestorerError(
                f"{path}: weights: a list of one row of numbers for each of the {count} models is needed"
            )
        if segment is not None and not (_is_number(segment) and 0 < segment <= MAX_SEGMENT_SEC):
            raise AudioRestorerError(
                f"{path}: segment: {segment!r:.40}; allowed: above 0, at most {MAX_SEGMENT_SEC} seconds"
            )
        return cls(raw["models"], weights, segment)


def _file_of(signature: str, files: Sequence[Path], where: str) -> Path:
    paths = [path for path in files if path.suffix in (".th", ".safetensors") and path.stem.split("-")[0] == signature]
    if len(paths) != 1:
        raise AudioRestorerError(f"{where}: needs one .th or .safetensors file of member {signature}, has {len(paths)}")
    (path,) = paths
    checksum = path.stem.partition("-")[2]
    if checksum and not sha256_file(path).startswith(checksum):
        raise AudioRestorerError(f"{path}: its sha256 does not begin with the {checksum} in its name: fetch it again")
    return path


def _shares(
    weights: Sequence[Sequence[float]], sources: Sequence[str], stems: Sequence[str]
) -> list[dict[str, list[float]]]:
    """For each member and wanted stem the factor of each source: BagOfModels' weights, normalised over the members."""
    totals = [sum(row[k] for row in weights) for k in range(len(sources))]
    shares = []
    for row in weights:
        factor = [value / total if total else 0.0 for value, total in zip(row, totals, strict=True)]
        own = {
            stem: [
                value if (source == SPEECH) == (stem == SPEECH) else 0.0
                for source, value in zip(sources, factor, strict=True)
            ]
            for stem in stems
        }
        shares.append(own)
    return shares


class DemucsBag(Separator):
    """One or several demucs networks. `__call__` is for one window; recordings go through `members`."""

    stems = (SPEECH, "accompaniment")
    normalise = "demucs"

    def __init__(
        self, name: str, networks: Mapping[int, Any], shares: Sequence[Mapping[str, Sequence[float]]], device: str,
        fast: Mapping[int, Hybrid] | None = None,
    ) -> None:  # fmt: skip
        first = next(iter(networks.values()))
        self.name, self.networks, self.shares, self.device, self.fast = name, networks, shares, device, fast or {}
        self.sample_rate, self.channels = int(first.samplerate), int(first.audio_channels)
        self.segment_sec = float(first.segment)
        self.mean_counts = {"accompaniment": len(first.sources) - 1}
        self.shared = on_gpu(device)

    def _run(self, index: int, audio: Audio) -> Stems:
        if index in self.fast:
            return self.fast[index](audio)
        with torch.inference_mode():
            out = self.networks[index](as_torch(audio, self.device))  # [B, sources, C, T]
            stems = {}
            for stem, share in self.shares[index].items():
                weight = torch.tensor(share, dtype=out.dtype, device=out.device)
                stems[stem] = as_numpy(torch.einsum("bsct,s->bct", out, weight))
            return stems

    def __call__(self, audio: Audio) -> Stems:
        parts = [self._run(index, audio) for index in self.networks]
        return {stem: sum((part[stem] for part in parts[1:]), start=parts[0][stem]) for stem in parts[0]}

    def members(self, segment_sec: float | None) -> list[Member]:
        """Raises AudioRestorerError: a segment longer than an HTDemucs was trained on."""
        return [self._member(index, network, segment_sec) for index, network in self.networks.items()]

    def _member(self, index: int, network: Any, segment_sec: float | None) -> Member:
        own = network.segment
        if segment_sec is not None and isinstance(network, HTDemucs) and segment_sec > float(own):
            raise AudioRestorerError(
                f"model {self.name}: segment_sec: longer than it was trained on (got {segment_sec:g}); allowed: above 0, at most"
                f" {float(own):g}, or null (seconds; null is the model's own)"
            )
        segment = int(self.sample_rate * (own if segment_sec is None else segment_sec))
        if segment < 1:
            raise AudioRestorerError(f"model {self.name}: segment_sec {segment_sec} is shorter than a sample")

        def valid_length(length: int) -> int:
            if isinstance(network, HTDemucs) and segment_sec is not None:
                return segment
            if index in self.fast:
                return self.fast[index].window_length(length)
            return int(network.valid_length(length)) if hasattr(network, "valid_length") else length

        def plan(stride: int, batch_size: int) -> Plan:
            return Plan(segment, max(1, stride), centred(valid_length), "zeros", batch_size)

        return Member(lambda windows: self._run(index, windows), segment, plan)


def load(model: ModelFiles, options: Options) -> Separator:
    """Load the members of a bag that carry a wanted stem.

    Raises:
        AudioRestorerError: a file is missing, damaged, or holds what could run code; no `vocals` among the sources.
    """
    use_threads(options.threads)
    bags = [path for path in model.files if path.suffix == ".yaml"]
    weighty = [path for path in model.files if path.suffix in (".th", ".safetensors")]
    where = f"model {model.name}"
    if not bags:
        bag, paths = Bag([model.name]), [model.one(".th", ".safetensors")]
    else:
        if len(bags) > 1:
            bags = [path for path in bags if path.stem == model.name] or bags[:1]
        bag = Bag.read(bags[0])
        paths = [_file_of(name, weighty, where) for name in bag.signatures]
    first = _load_file(paths[0], model)
    sources = list(first.sources)
    if SPEECH not in sources:
        raise AudioRestorerError(f"{where}: has the sources {', '.join(sources)}, none of them {SPEECH!r}")
    weights = bag.weights or [[1.0] * len(sources) for _ in paths]
    if any(len(row) != len(sources) for row in weights):
        raise AudioRestorerError(f"{where}: weights: each row needs {len(sources)} numbers")
    shares = _shares(weights, sources, options.stems)
    networks = {}
    for index, path in enumerate(paths):
        if not any(any(share) for share in shares[index].values()):
            continue
        network = first if index == 0 else _load_file(path, model)
        if list(network.sources) != sources or network.samplerate != first.samplerate:
            raise AudioRestorerError(f"{where}: {path.name}: other sources or another rate than {paths[0].name}")
        if bag.segment is not None and (not isinstance(network, HTDemucs) or bag.segment <= network.segment):
            network.segment = bag.segment
        networks[index] = network.eval().to(options.device)
    if not networks:
        raise AudioRestorerError(f"{where}: no member has a weight for {', '.join(options.stems)}")
    fast = {
        index: hybrid
        for index, network in networks.items()
        if (hybrid := _fast(network, paths[index], model, shares[index], options))
    }
    return DemucsBag(model.name, networks, shares, options.device, fast)


def _fast(
    network: Any, path: Path, model: ModelFiles, shares: Mapping[str, Sequence[float]], options: Options
) -> Hybrid | None:  # fmt: skip
    """The network as the options want it to run; None: as demucs runs it.

    Raises:
        AudioRestorerError: a backend or precision that this network or device cannot have.
    """
    supported, on_cpu = is_supported(network), options.device == "cpu"
    if options.backend == "openvino" and not (supported and on_cpu):
        raise AudioRestorerError(f"{path}: backend openvino is for hybrid networks (HTDemucs, HDemucs) on the CPU")
    if options.precision == "bfloat16" and not supported:
        raise AudioRestorerError(f"{path}: precision bfloat16 is for hybrid networks (HTDemucs, HDemucs)")
    if not supported:
        return None
    backend, precision = fast_options(options)
    if backend == "openvino":
        core: Core = openvino_core(network, model.digest_of(path), shares, precision, options.threads, options.cache)
    elif precision == "bfloat16":
        core = autocast_core(network, shares, options.device)
    else:
        return None
    # on a GPU windows of several recordings go through together, which windows of one length can
    return Hybrid(network, core, list(shares), options.device, fixed=backend == "openvino" or not on_cpu)


def _load_file(path: Path, model: ModelFiles) -> Any:
    network = _load_safetensors(path) if path.suffix == ".safetensors" else _load_package(path, model)
    rate, channels, segment = network.samplerate, network.audio_channels, network.segment
    if not (LEAST_RATE <= rate <= MOST_RATE and channels in (1, 2) and 0 < segment <= MAX_SEGMENT_SEC):
        raise AudioRestorerError(
            f"{path}: samplerate {rate}, audio_channels {channels}, segment {float(segment):g}; allowed: {LEAST_RATE} to"
            f" {MOST_RATE} Hz, 1 or 2 channels, at most {MAX_SEGMENT_SEC} s"
        )
    return network
