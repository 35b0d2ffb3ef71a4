"""fetch-model: make a registry entry ready and say where its files are. fetch-weights: one file of it, downloaded and checked."""

from __future__ import annotations

from pathlib import Path

from audiorestorer.config import load
from audiorestorer.models.registry import EntrySettings, fetch, fetch_file


def run(name: str, out_json: Path, registry: Path, models_dir: Path) -> None:
    """Raises AudioRestorerError: no such entry, no network, or a file that is not what the registry says."""
    fetch(name, registry, out_json, models_dir)


def run_file(name: str, out: Path, entry: str) -> None:
    """Raises AudioRestorerError: as `run`."""
    fetch_file(name, load(EntrySettings, entry), out)
