"""Put the enhancer's trained parts together into one file, which `enhance` takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audiorestorer.models.enhancer.checkpoint import join_checkpoints


def run(parts: Sequence[Path], out: Path) -> Path:
    """See `join_checkpoints`."""
    join_checkpoints(parts, out)
    return out
