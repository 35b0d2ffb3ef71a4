"""Safetensors files of torch's tensors, whose bytes depend on their content alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save
from torch import Tensor

from audiorestorer.models import arrays
from audiorestorer.models.arrays import SCALE

Storage = Literal["float32", "float16", "int8"]


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


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file, as `arrays.read`."""
    state, metadata = arrays.read(path)
    return {name: torch.from_numpy(value) for name, value in state.items()}, metadata
