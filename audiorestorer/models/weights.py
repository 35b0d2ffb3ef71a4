"""Safetensors files whose bytes depend on their content alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from audiorestorer.errors import AudioRestorerError

Storage = Literal["float32", "float16", "int8"]
SCALE = ".scale"  # suffix of an int8 matrix's name for the scales of its rows


def to_bytes(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A file's content."""
    return ordered(save(dict(state), metadata=dict(metadata)))


def ordered(content: bytes) -> bytes:
    """The same file with its header's keys sorted: the library orders them by chance, and equal models shall be equal bytes."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def packed(state: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    """The weights as a file holds them.

    `int8`: each matrix is rounded to float16 and stored as whole numbers in [-127, 127] and one float16 scale per row, under its name
    and `SCALE`; the rest is float16. An error is at most about half a step, 1/254 of the row's largest weight.
    """
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        value = value.detach().to("cpu")
        if not value.is_floating_point() or storage == "float32":
            out[name] = value.contiguous()
        elif storage == "int8" and value.ndim == 2:
            rows = value.half().float()
            scale = (rows.abs().amax(dim=1) / 127).half()
            out[name] = (rows / scale.float().clamp_min(1e-12)[:, None]).round().clamp(-127, 127).to(torch.int8)
            out[name + SCALE] = scale
        else:
            out[name] = value.half().contiguous()
    return out


def unpacked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `packed`, as float32. An int8 tensor without scales stays as it is, and will not fit its network."""
    matrices = {
        name
        for name, value in state.items()
        if value.dtype == torch.int8 and value.ndim == 2 and name + SCALE in state
        if state[name + SCALE].shape == value.shape[:1]
    }
    scales = {name + SCALE for name in matrices}
    out: dict[str, Tensor] = {}
    for name in state.keys() - scales:
        value = state[name]
        if name in matrices:
            out[name] = value.float() * state[name + SCALE].float()[:, None]
        else:
            out[name] = value.float() if value.is_floating_point() else value
    return out


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file; nothing in it is executed.

    Raises:
        AudioRestorerError: not a safetensors file, or weights that are no numbers; names file and reason.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise AudioRestorerError(f"{path}: not a readable safetensors file: {error}") from error
    for name, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise AudioRestorerError(f"{path}: {name} holds NaN or infinity: not usable weights")
    return state, metadata
