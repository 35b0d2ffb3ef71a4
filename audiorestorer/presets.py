"""The presets: small configuration files for a kind of recording, each with one sentence about it in its first comment.

`audiorestorer run --preset NAME` takes one, and so does `snakemake --configfile config/presets/NAME.yaml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from audiorestorer.errors import AudioRestorerError
from audiorestorer.places import workflow_root

FOLDER = "config/presets"
ELSEWHERE = {"full": "config/best_pipeline.yaml"}  # presets whose file has another place; they need downloads
DEFAULT = "speech_over_music"
SCHEMA = "$schema="  # in the line that is for editors


@dataclass(frozen=True)
class Preset:
    """A preset: its name, one sentence about it, and its configuration file."""

    name: str
    description: str
    path: Path


def presets() -> list[Preset]:
    """All presets: the default first, then by name, last those that need downloads."""
    root = workflow_root()
    paths = {path.stem: path for path in sorted((root / FOLDER).glob("*.yaml"))}
    paths |= {name: root / place for name, place in ELSEWHERE.items()}
    order = sorted(paths, key=lambda name: (name != DEFAULT, name in ELSEWHERE, name))
    return [Preset(name, _description(paths[name]), paths[name]) for name in order]


def preset(name: str) -> Preset:
    """One preset.

    Raises:
        AudioRestorerError: there is none of this name; the message lists them.
    """
    known = {each.name: each for each in presets()}
    if name not in known:
        raise AudioRestorerError(f"--preset: {name!r}: no such preset: {', '.join(known)}")
    return known[name]


def _description(path: Path) -> str:
    with open(path, encoding="utf-8") as file:
        comments = (line.lstrip("#").strip() for line in file if line.startswith("#") and SCHEMA not in line)
        return next(comments, "")
