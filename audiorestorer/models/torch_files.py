"""Files that `torch.save` wrote, and networks that a file describes: nothing in them is executed, and none can ask for all memory."""

from __future__ import annotations

import inspect
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import weights

MAX_PARAMETERS = 1_000_000_000
PARAMETERS_A_BYTE = 8  # per byte of the file: quantised weights take one bit at least
MAX_NUMBER, MAX_ENTRIES, MAX_LAYERS = 1_000_000, 64, 64
WEIGHTS = (".ckpt", ".pt", ".pth", ".th", ".bin", ".safetensors")  # suffixes of files of weights
WRAPPERS = ("state_dict", "state", "model_state_dict", "module")  # where a training's file keeps the weights
PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.int32)
PREFIXES = ("model.", "module.", "_orig_mod.")
NAMED = 5  # of the weights that do not fit
LAYERS = ("depth", "t_layers", "dconv_depth", "lstm_layers", "layers", "t_heads", "freq_emb", "num_subbands")


def read(path: str | Path, allowed: Sequence[Any] = ()) -> Any:
    """The content of a file of tensors.

    Args:
        allowed: classes and functions that it may name beside torch's own (`torch.serialization.safe_globals`).

    Raises:
        AudioRestorerError: damaged, compressed, or a pickle that names anything else, which could run any code.
    """
    try:
        if zipfile.is_zipfile(path):
            check_stored(path)
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].partition(", you have two options")[0]
        raise AudioRestorerError(
            f"{path}: not loaded: it is damaged, or a pickle that names more than tensors, which could run any code ({reason:.200})"
        ) from error


def check_stored(path: str | Path) -> None:
    """Raises ValueError: an archive that holds more than its size, which torch.save never writes."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
    stored = all(each.compress_type == zipfile.ZIP_STORED for each in records)
    if not stored or sum(each.file_size for each in records) > os.path.getsize(path):
        raise ValueError("its records are compressed or overlap, as torch.save never writes them")


def shapes(build: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's weights, without memory for them."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in build().state_dict().items()}


def check_fits(build: Callable[[], nn.Module], state: Mapping[str, torch.Tensor], where: str) -> None:
    """Check that a file's weights are those of the network that it describes; nothing is allocated for it.

    Raises:
        AudioRestorerError: names what is missing, unknown or of another shape.
    """
    wanted = shapes(build)
    given = {name: tuple(value.shape) for name, value in state.items()}
    wrong = {
        "missing": sorted(wanted.keys() - given.keys()),
        "not of this network": sorted(given.keys() - wanted.keys()),
        "of another shape": [
            f"{name} {given[name]} instead of {wanted[name]}"
            for name in wanted
            if given.get(name, wanted[name]) != wanted[name]
        ],
    }
    lines = [
        f"{', '.join(names[:NAMED])}{f' and {len(names) - NAMED} more' if len(names) > NAMED else ''} ({what})"
        for what, names in wrong.items()
        if names
    ]
    if lines:
        raise AudioRestorerError(f"{where}: weights do not fit the config: {'; '.join(lines)}")


def state_of(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a file: a state dictionary, alone or where a training's file keeps it.

    Raises:
        AudioRestorerError: damaged, more than tensors, or no state dictionary.
    """
    if path.suffix == ".safetensors":
        return weights.read(path)[0]
    try:
        content = read(path)
    except AudioRestorerError as error:
        raise AudioRestorerError(
            f"{error}. If it is whole: `python -m audiorestorer models convert {path} {path.with_suffix('.safetensors').name}` writes"
            " its weights alone, without running anything that it names; give the registry that file"
        ) from error
    content = unwrapped(content)
    if not isinstance(content, dict):
        raise AudioRestorerError(
            f"{path}: holds a {type(content).__name__}, not the weights of a network by their names"
        )
    others = [str(name) for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if others or not content:
        raise AudioRestorerError(
            f"{path}: not the weights of a network: {', '.join(others[:NAMED]) or 'nothing'} in it (no tensors)"
        )
    for name, value in content.items():
        check_plain(str(name), value, str(path))
    return _without_prefix({str(name): value for name, value in content.items()})


def unwrapped(content: Any) -> Any:
    """The state dictionary in what a training saved; content without one as it is."""
    found = (
        content[name] for name in WRAPPERS if isinstance(content, Mapping) and isinstance(content.get(name), Mapping)
    )
    return next(found, content)


def check_plain(name: str, value: torch.Tensor, where: str) -> None:
    """Check that a tensor is what a file of weights holds, before anything is made of it.

    Raises:
        AudioRestorerError: of another layout or type, or larger than its own memory (one number that stands for many).
    """
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized or value.is_nested:
        raise AudioRestorerError(f"{where}: {name}: a tensor that is sparse, quantised, nested or without content")
    if value.dtype not in PLAIN:
        raise AudioRestorerError(
            f"{where}: {name}: a tensor of {str(value.dtype).removeprefix('torch.')}, which no weights have"
        )
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise AudioRestorerError(f"{where}: {name}: claims more numbers than it holds")


def check_finite(state: Mapping[str, torch.Tensor], where: str) -> None:
    """Raises AudioRestorerError: weights that are no numbers, or infinite (named)."""
    bad = [name for name, value in state.items() if not bool(value.isfinite().all())]
    if bad:
        raise AudioRestorerError(f"{where}: not finite: {', '.join(bad[:NAMED])} ({len(bad)} in all)")


def _without_prefix(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without what a wrapper around the whole network puts before every name."""
    prefix = next((each for each in PREFIXES if all(name.startswith(each) for name in state)), "")
    return {name.removeprefix(prefix): value for name, value in state.items()}


def loaded(build: Callable[[], nn.Module], state: Mapping[str, torch.Tensor], where: str) -> nn.Module:
    """A network with the weights of a file, in float32, ready for inference. Memory is taken for the weights once.

    Raises:
        AudioRestorerError: the weights are not the network's (names the first of them), or not finite.
    """
    check_fits(build, state, where)
    whole_numbers = [name for name, value in state.items() if not value.is_floating_point()]
    if whole_numbers:
        raise AudioRestorerError(f"{where}: whole numbers instead of weights: {', '.join(whole_numbers[:NAMED])}")
    check_finite(state, where)
    with torch.device("meta"):
        network = build()
    whole = {name: value.float() for name, value in state.items()}
    network.load_state_dict(whole, assign=True)
    return network.eval().requires_grad_(False)


def check_size(build: Callable[[], nn.Module], where: str, most: int = MAX_PARAMETERS) -> None:
    """Raises AudioRestorerError: the network that a file describes has more than `most` numbers. Nothing is allocated for it."""
    with torch.device("meta"):
        count = sum(value.numel() for value in build().state_dict().values())
    if count > most:
        raise AudioRestorerError(
            f"{where}: describes a network of {count:.3g} numbers; allowed: at most {most:.3g}: refused"
        )


def check_call(path: Path, network: type[nn.Module], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Check the arguments of a network that its file brings, before it is built.

    Raises:
        AudioRestorerError: arguments out of all bounds or no numbers and texts, or a network of more numbers than the file holds.
    """
    _check_plain(path, "args", list(args))
    _check_plain(path, "kwargs", dict(kwargs))
    known = inspect.signature(network).parameters
    accepted = {key: value for key, value in kwargs.items() if key in known}
    most = min(MAX_PARAMETERS, 1_000_000 + PARAMETERS_A_BYTE * os.path.getsize(path))
    try:
        check_size(lambda: network(*args, **accepted), str(path), most)
    except AudioRestorerError:
        raise
    except Exception as error:  # impossible arguments can raise anything
        raise AudioRestorerError(f"{path}: its arguments build no {network.__name__}: {str(error):.200}") from error


def _check_plain(path: Path, name: str, value: Any) -> None:
    if isinstance(value, dict | list | tuple):
        if len(value) > MAX_ENTRIES:
            raise AudioRestorerError(f"{path}: {name}: {len(value)} entries; allowed: at most {MAX_ENTRIES}")
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _check_plain(path, f"{name}.{key}"[:100], inner)
    elif isinstance(value, int | float | Fraction):
        most = MAX_LAYERS if name.rpartition(".")[2] in LAYERS and not isinstance(value, float) else MAX_NUMBER
        if not -most <= value <= most:
            raise AudioRestorerError(f"{path}: {name}: {str(value):.40}; allowed: at most {most}")
    elif value is not None and not isinstance(value, str):
        raise AudioRestorerError(f"{path}: {name}: a {type(value).__name__}; allowed: numbers and texts")
