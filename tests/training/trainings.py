"""Trainings as the commands run them, for tests: from an experiment file or its content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiorestorer.training import fit, settings
from audiorestorer.training.enhancer import fit as enhancer_fit
from audiorestorer.training.enhancer import settings as enhancer_settings


def train(
    config: Path | dict[str, Any], data: fit.Data | Path, out: Path, work: Path, threads: int | None = None, **more: Any
) -> Path | None:
    """`training.fit.fit`; a path as `data` is a folder with `index.jsonl`."""
    sources = data if isinstance(data, fit.Data) else fit.Data(folder=data)
    return fit.fit(settings.load_settings(config), sources, out, work, threads, **more)


def train_enhancer(
    config: Path | Mapping[str, Any], data: Path, out: Path, work: Path, previous: Sequence[Path] = (), **more: Any
) -> Path | None:
    """`training.enhancer.fit.fit`."""
    return enhancer_fit.fit(enhancer_settings.load_settings(config), data, out, work, previous, **more)
