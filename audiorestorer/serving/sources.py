"""Places on this machine whose path a user types: which of them the server restores."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from audiorestorer.errors import AudioRestorerError
from audiorestorer.formats import zipped
from audiorestorer.names import NOT_TEXT, in_line, is_text


@dataclass(frozen=True)
class Sources:
    """`anywhere`: any place that this user can read (a server on loopback); else only what lies in `folders`, links followed."""

    anywhere: bool
    folders: tuple[Path, ...] = ()

    @property
    def sentence(self) -> str:
        """What the page says of them; empty where no path is taken."""
        if self.folders:
            return f"It must lie in {' or '.join(in_line(str(folder)) for folder in self.folders)}."
        return "It is only read; the restored files go into the batch." if self.anywhere else ""

    def checked(self, text: str) -> Path:
        """The place.

        Raises:
            AudioRestorerError: not allowed, no folder and no zip, or a name that is not UTF-8.
        """
        if not self.sentence:
            raise AudioRestorerError("This server takes no path: it was not started with --allow-folder.")
        shown = in_line(text)
        if "\0" in text or not os.path.isabs(os.path.expanduser(text)):
            raise AudioRestorerError(f"{shown}: write the whole path, from / on.")
        try:
            path = Path(os.path.realpath(os.path.expanduser(text)))
            inside = not self.folders or any(path.is_relative_to(os.path.realpath(folder)) for folder in self.folders)
            found = inside and (path.is_dir() or (path.is_file() and zipped.is_zip(path)))
        except (OSError, ValueError):
            inside, found = True, False
        if not inside:
            raise AudioRestorerError(f"{shown}: is not in a folder that this server may read. {self.sentence}")
        if not found:
            raise AudioRestorerError(f"{shown}: no such folder or zip on this machine.")
        if not is_text(str(path)):
            raise AudioRestorerError(f"{in_line(str(path))}: {NOT_TEXT}.")
        return path
