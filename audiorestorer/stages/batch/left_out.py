"""left-out: count and name what the run leaves out: other formats, references and transcripts without a recording, and the reverse."""

from __future__ import annotations

import logging
from pathlib import Path

from audiorestorer.config import Config
from audiorestorer.files import write_json
from audiorestorer.intake.listing import batch

log = logging.getLogger("audiorestorer")


def run(out_json: Path, config: Config) -> None:
    """Write the sentences for `collect`; the log has them too, and some that concern no result."""
    found = batch(config)
    for entry in found.left_out:
        log.warning("left out: %s", entry["text"])
    for entry in found.told:
        log.info("%s", entry["text"])
    write_json(out_json, {"left_out": found.left_out})
