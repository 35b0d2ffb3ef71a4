"""Safetensors files as NumPy arrays. No torch import here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from audiorestorer.errors import AudioRestorerError

SCALE = ".scale"  # suffix of an int8 matrix's name for the scales of its rows


def architecture_of(path: str | Path) -> str:
    """What a file's metadata call its network; empty where they do not.

    Raises:
        AudioRestorerError: no such file, or not a safetensors file; names file and reason.
    """
    if not Path(path).is_file():
        raise AudioRestorerError(f"{path}: cannot read: no such file")
    try:
        with safe_open(str(path), framework="np") as file:
            return str((file.metadata() or {}).get("architecture", ""))
    except (SafetensorError, OSError, ValueError) as error:
        raise AudioRestorerError(f"{path}: not a readable safetensors file: {error}") from error


def read(path: str | Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays and metadata of a file; floating-point numbers and int8 matrices as float32. Nothing in it is executed.

    Raises:
        AudioRestorerError: not a safetensors file, or weights that are no numbers; names file and reason.
    """
    try:
        with safe_open(str(path), framework="np") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:  # the last two: bfloat16, float8
        raise AudioRestorerError(f"{path}: not a readable safetensors file: {error}") from error
    for name, value in state.items():
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            raise AudioRestorerError(f"{path}: {name} holds NaN or infinity: not usable weights")
    return _unpacked(state), metadata


def _unpacked(state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The inverse of `weights.packed`. An int8 array without scales stays as it is, and will not fit its network."""
    matrices = {
        name
        for name, value in state.items()
        if value.dtype == np.int8 and value.ndim == 2 and name + SCALE in state
        if state[name + SCALE].shape == value.shape[:1]
    }
    scales = {name + SCALE for name in matrices}
    out: dict[str, NDArray[Any]] = {}
    for name, value in state.items():
        if name in scales:
            continue
        if name in matrices:
            out[name] = value.astype(np.float32) * state[name + SCALE].astype(np.float32)[:, None]
        else:
            out[name] = value.astype(np.float32) if np.issubdtype(value.dtype, np.floating) else value
    return out
