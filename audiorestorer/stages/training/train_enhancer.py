"""Train one stage of the enhancer from an experiment file; goes on from its last checkpoint after a kill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiorestorer.training.enhancer.fit import fit
from audiorestorer.training.enhancer.settings import load_settings


def run(
    config: Path | Mapping[str, Any],
    data: Path,
    out: Path,
    work: Path,
    previous: Sequence[Path] = (),
    threads: int | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    stop_after: int | None = None,
) -> Path | None:
    """See `training.enhancer.fit.fit`.

    Args:
        config: experiment file, or its content.
        changes: sections and keys that differ.

    Raises:
        AudioRestorerError: bad settings, data or checkpoints, before anything is trained.
    """
    settings = load_settings(config, changes)
    return fit(settings, Path(data), Path(out), Path(work), [Path(path) for path in previous], threads, stop_after)
