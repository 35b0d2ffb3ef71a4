"""fetch-model: make a registry entry ready (download once, or check the local file) and say where its files are."""

from __future__ import annotations

from pathlib import Path

from audiorestorer.models.registry import fetch


def run(name: str, out_json: Path, registry: Path, models_dir: Path) -> None:
    """Raises AudioRestorerError: no such entry, no network, or a file that is not what the registry says."""
    fetch(name, registry, out_json, models_dir)
