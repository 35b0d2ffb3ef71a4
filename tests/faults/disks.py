"""Small disks that can be filled, and folders in which nothing can be made. Both need root on Linux; each says where it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def can_mount(folder: Path) -> bool:
    """Whether a tmpfs can be mounted here."""
    try:
        with small_disk(folder, 1):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A tmpfs of so many MB on `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


def clear(folder: Path) -> None:
    """Remove a folder that a killed campaign left behind: its disks are unmounted, its rights given back."""
    for line in reversed(Path("/proc/mounts").read_text().splitlines()):
        place = Path(line.split()[1].encode().decode("unicode_escape"))
        if place.is_relative_to(folder):
            subprocess.run(["umount", "-l", str(place)], capture_output=True)
    thaw(folder)
    shutil.rmtree(folder, ignore_errors=True)


def freezing() -> str | None:
    """How rights are taken away here: `chattr +i` for root (whom modes do not bind), `chmod` else; None where neither works."""
    if os.geteuid() != 0:
        return "chmod 500"
    if shutil.which("chattr") is None:
        return None
    trial = Path(f"/var/tmp/.freeze-{os.getpid()}")
    trial.mkdir(exist_ok=True)
    try:
        done = subprocess.run(["chattr", "+i", str(trial)], capture_output=True).returncode == 0
        subprocess.run(["chattr", "-i", str(trial)], capture_output=True)
        return "chattr +i" if done else None
    finally:
        trial.rmdir()


def freeze(folder: Path) -> None:
    _change(folder, "+i", 0o500)


def thaw(folder: Path) -> None:
    _change(folder, "-i", 0o755)


def _change(folder: Path, flag: str, mode: int) -> None:
    folders = [folder, *(path for path in sorted(folder.rglob("*")) if path.is_dir())] if folder.is_dir() else []
    for path in folders if mode == 0o755 else reversed(folders):
        if os.geteuid() == 0:
            subprocess.run(["chattr", flag, str(path)], capture_output=True)
        else:
            path.chmod(mode)
