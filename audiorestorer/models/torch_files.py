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

MAX_PARAMETERS = 1_000_000_000
PARAMETERS_A_BYTE = 8  # per byte of the file: quantised weights take one bit at least
MAX_NUMBER, MAX_ENTRIES, MAX_LAYERS = 1_000_000, 64, 64
LAYERS = ("depth", "t_layers", "dconv_depth", "lstm_layers", "layers", "t_heads", "freq_emb", "num_subbands")


def read(path: str | Path, allowed: Sequence[Any] = ()) -> Any:
    """The content of a file of tensors.

    Args:
        allowed: classes and functions that it may name beside torch's own (`torch.serialization.safe_globals`).

    Raises:
        AudioRestorerError: damaged, compressed, or a pickle that names anything else, which could run any code.
    """
    try:
        size = os.path.getsize(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                records = archive.infolist()
            if (
                any(each.compress_type != zipfile.ZIP_STORED for each in records)
                or sum(each.file_size for each in records) > size
            ):
                raise ValueError("its records are compressed or overlap, as torch.save never writes them")
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AudioRestorerError(
            f"{path}: not loaded: it is damaged, or a pickle that names more than tensors, which could run any code ({reason:.200})"
        ) from error


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
    wrong = sorted(wanted.keys() ^ state.keys()) or [
        name for name in wanted if tuple(state[name].shape) != wanted[name]
    ]
    if wrong:
        raise AudioRestorerError(
            f"{where}: weights do not fit the config: {', '.join(wrong[:4])} ({len(wrong)} in all)"
        )


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
