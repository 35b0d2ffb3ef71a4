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
    listing = batch(config)
    for entry in listing.left_out:
        log.warning("left out: %s", entry["text"])
    for entry in listing.told:
        log.info("%s", entry["text"])
    write_json(out_json, {"left_out": listing.left_out})
