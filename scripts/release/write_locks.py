"""Split a lock of everything in two: what rendering with the embedded networks needs, and the rest.

    python -m scripts.release.write_locks COMPILED

COMPILED is what `uv pip compile pyproject.toml --extra models --extra dev --extra training-audio ...` wrote (CONTRIBUTING.md). Run
this in an environment that holds it: which packages belong together is read from their metadata. Both locks are complete and are
installed with `--no-deps`, so that a package may be left out that another one asks for and we never run (`UNUSED`).
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Collection
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
BASE, MODELS = ROOT / "requirements.lock", ROOT / "requirements-models.lock"
# speechmos makes one mel spectrogram with librosa (numba, scikit-learn) and reads tables with pandas: metrics/dnsmos.py needs its
# networks alone
UNUSED = {"speechmos"}


def packages(text: str) -> dict[str, str]:
    """The entries of a lock, with their hashes, by name."""
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    return {canonicalize_name(re.split(r"[=\[]", entry)[0]): entry for entry in entries if "==" in entry}


def needed(names: Collection[str], without: Collection[str] = ()) -> set[str]:
    """The installed packages that these requirements bring, themselves included, on this platform.

    Args:
        without: packages that are left out with all that only they bring.

    Raises:
        PackageNotFoundError: one is not installed: run this in the lock's environment.
    """
    todo, seen = [Requirement(name) for name in names], set[tuple[str, str]]()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen or name in without:
                continue
            seen.add((name, extra))
            for line in [] if name in UNUSED else requires(name) or []:
                below = Requirement(line)
                if below.marker is None or below.marker.evaluate({"extra": extra}):
                    todo.append(below)
    return {name for name, _ in seen}


def split(text: str) -> tuple[str, str]:
    """The two locks of a lock of everything."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base, entries = needed(project["dependencies"]), packages(text)
    return (
        "".join(entry for name, entry in entries.items() if name in base),
        "".join(entry for name, entry in entries.items() if name not in base),
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    for lock, content in zip((BASE, MODELS), split(Path(sys.argv[1]).read_text(encoding="utf-8")), strict=True):
        lock.write_text(content, encoding="utf-8")
        print(f"{lock.name}: {len(packages(content))} packages")
