"""strict: with `strict: true`, rejected files end the run with an error, after all else is done."""

from __future__ import annotations

from pathlib import Path

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json


def run(metrics_json: Path) -> None:
    """Raise an error that lists the rejected files of a finished run, if there are any."""
    rejected = read_json(metrics_json)["rejected"]
    if rejected:
        lines = [f"  {row['input']}: {row['reason']}" for row in rejected]
        raise AudioRestorerError(f"strict: {len(rejected)} files were rejected:\n" + "\n".join(lines))
