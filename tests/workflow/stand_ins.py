"""A `python` of the test's own for the jobs of a run, so that real rules run with stand-in commands.

`rules/common.smk` puts the folder of the Python that runs snakemake first on a job's PATH. Here that is a folder with the real
interpreter as `python3` (the same packages) and a script as `python`, which is what the rules call.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def stand_in_python(folder: Path, script: str) -> Path:
    """Make the folder; the path of its `python3`, to run snakemake with. `{python}` in the script is that path."""
    python = folder / "bin/python3"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    shutil.copy2(Path(sys.prefix) / "pyvenv.cfg", folder / "pyvenv.cfg")
    packages = Path("lib") / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (folder / packages).parent.mkdir(parents=True)
    (folder / packages).symlink_to(Path(sys.prefix) / packages)
    tool(folder, "python", script.replace("{python}", str(python)))
    return python


def tool(folder: Path, name: str, script: str) -> None:
    """A program that the jobs find before any other of that name."""
    path = folder / "bin" / name
    path.write_text(script)
    path.chmod(0o755)
