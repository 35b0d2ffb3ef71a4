"""Locks of files that the kernel drops with the process that holds them, `kill -9` included. No torch import.

A lock belongs to the open file. A child process that got the file holds it too, until the last of them has closed it.
"""

from __future__ import annotations

import fcntl
from typing import IO, Any

from audiorestorer.errors import AudioRestorerError


def taken(file: IO[Any] | int) -> bool:
    """Lock an open file, or its descriptor, for this process alone; False at once where another holds it.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take(file: IO[Any] | int, message: str) -> None:
    """Lock an open file for this process alone.

    Raises:
        AudioRestorerError: another holds it, with this message, or the file system has no locks, with the system's reason.
    """
    try:
        if taken(file):
            return
    except OSError as error:
        name = "" if isinstance(file, int) else f"{file.name}: "
        raise AudioRestorerError(
            f"{name}cannot be locked: {error.strerror}: choose a folder on another file system"
        ) from error
    raise AudioRestorerError(message)
