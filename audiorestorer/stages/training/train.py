"""Train a mask network from an experiment file; goes on from its last checkpoint after a kill."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiorestorer.training.fit import Data, fit
from audiorestorer.training.settings import load_settings


def run(
    config: Path | dict[str, Any],
    data: Data | Path,
    out: Path,
    work: Path,
    threads: int | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    stop_after: int | None = None,
) -> Path | None:
    """See `training.fit.fit`.

    Args:
        config: experiment file, or its content.
        changes: see `training.settings.load_settings`.
        data: what to train on; a path is a folder with `index.jsonl` (scripts/audio/make_training_audio.py).

    Raises:
        AudioRestorerError: bad settings or data, before anything is trained.
    """
    chosen = data if isinstance(data, Data) else Data(folder=Path(data))
    return fit(load_settings(config, changes), chosen, Path(out), Path(work), threads, stop_after)
