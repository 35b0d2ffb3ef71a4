"""Safetensors files whose bytes depend on their content alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from audiorestorer.errors import AudioRestorerError


def to_bytes(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A file's content."""
    return ordered(save(dict(state), metadata=dict(metadata)))


def ordered(content: bytes) -> bytes:
    """The same file with its header's keys sorted: the library orders them by chance, and equal models shall be equal bytes."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


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
