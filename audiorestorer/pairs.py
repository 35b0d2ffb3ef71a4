"""Partners of recordings: the clean reference and the transcript that belong to a file of the input."""

from __future__ import annotations

import os
from pathlib import Path

from audiorestorer.config import Config
from audiorestorer.errors import AudioRestorerError

REFERENCE_SUFFIXES = (".flac", ".wav", ".ogg", ".mp3")


def companions(config: Config) -> tuple[Path | None, Path | None]:
    """The folder of references and the transcripts file that the config means, with `auto` resolved; None where there is none."""
    beside = Path(config.input).parent
    references = beside / "clean" if config.references == "auto" else config.references
    transcripts = beside / "transcripts.tsv" if config.transcripts == "auto" else config.transcripts
    clean = Path(references) if references else None
    text = Path(transcripts) if transcripts else None
    if config.references != "auto" and clean is not None and not clean.is_dir():
        raise AudioRestorerError(f"references: {clean}: no such folder")
    if config.transcripts != "auto" and text is not None and not text.is_file():
        raise AudioRestorerError(f"transcripts: {text}: no such file")
    return (clean if clean and clean.is_dir() else None), (text if text and text.is_file() else None)


def reference_of(folder: Path | None, relative: str) -> Path | None:
    """The clean reference of a file: the same relative path, of any audio suffix."""
    if folder is None:
        return None
    base = folder / relative
    for candidate in (base, *(base.with_suffix(suffix) for suffix in REFERENCE_SUFFIXES)):
        if os.path.isfile(candidate):  # Path.is_file() raises where the other suffix makes the name too long
            return candidate
    return None
