"""Hidden names for what is being written, and the removal of what killed processes left under such names. No torch import.

A process that ends with `kill -9`, or with the machine, removes nothing. Whoever next writes into the same folder does it: a file that
was not finished is written again, into the same folder. A name tells whose it is: the number of its process, and a hash of what that
number counts in (the machine's boot and its PID namespace: a container has its own numbers).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from audiorestorer.names import short_hash

SCRATCH = ".tmp-"  # what folders begin with
NAME = re.compile(r"\.(?:[0-9a-f]{8}\.|tmp-)([0-9a-f]{8})\.(\d+)(?:\.tmp|-\w+)")
LEFT_SEC = 86_400.0  # after which a file that no process of this machine wrote, and nobody went on with, was left


def temporary_beside(path: Path) -> Path:
    """A hidden name in the same folder for a file that is being written; short, whatever the length of the final name."""
    if not any(part.startswith(SCRATCH) for part in path.parent.parts):  # a scratch folder is new
        _sweep_once(str(path.parent), os.getpid())
    return path.with_name(f".{short_hash(path.name)}.{_numbers()}.{os.getpid()}.tmp")


def scratch_folder(folder: Path) -> Path:
    """A new hidden folder in a folder that is there."""
    _sweep_once(str(folder), os.getpid())
    made = tempfile.mkdtemp(prefix=f"{SCRATCH}{_numbers()}.{os.getpid()}-", dir=folder)
    # by its name: the path that Python 3.12 makes of a relative one has no `..` left, which behind a link is another folder
    return folder / Path(made).name


@lru_cache(maxsize=32)  # folders that are left and come again are looked at again
def _sweep_once(folder: str, process: int) -> None:
    """`process`: this one; a fork looks again."""
    sweep(Path(folder))


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder. What cannot be removed or looked at stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (name := NAME.fullmatch(entry.name)) and _is_left(entry, name[1], int(name[2])):
                with suppress(OSError):
                    shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)


def _is_left(entry: os.DirEntry[str], numbers: str, process: int) -> bool:
    if numbers == _numbers():
        return not _is_running(process)
    with suppress(OSError):
        # another machine's, or from before a reboot. The time of a folder says nothing of the files in it: `store prune` has those.
        is_file = entry.is_file(follow_symlinks=False)
        return is_file and time.time() - entry.stat(follow_symlinks=False).st_mtime > LEFT_SEC
    return False


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


@lru_cache(maxsize=1)
def _numbers() -> str:
    """A hash of what this process's number counts in."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return short_hash(boot + os.readlink("/proc/self/ns/pid"))
    except OSError:
        return short_hash(platform.node())
