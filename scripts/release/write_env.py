"""Write the conda environment file (`--sdm conda`) from requirements.lock: every package that the jobs need, at the lock's version.

    python -m scripts.release.write_env [envs/audiorestorer.yaml]

Run it after the lock changed, in the environment that the lock made. Snakemake copies an environment file before conda reads it, so
it cannot refer to the lock: it has to hold the versions itself. What only the developer and the engine need is left out.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ENGINE = {"snakemake"}  # the jobs are commands of this package; who runs snakemake has it
HEADER = """\
# For `snakemake --sdm conda`: made by scripts/release/write_env.py from requirements.lock (tests/test_envs.py compares them).
# One environment for all rules, since every stage is a command of the same package.
channels:
  - conda-forge
dependencies:
  - python={python}
  - pip
  - pip:
"""


def locked(text: str) -> dict[str, str]:
    """Versions by name in a lock file."""
    return {
        canonicalize_name(name): version for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.M)
    }


def needed(names: list[str]) -> set[str]:
    """The installed packages that these requirements bring, themselves included, on this platform.

    Raises:
        PackageNotFoundError: one is not installed: run this in the lock's environment.
    """
    todo, seen = [Requirement(name) for name in names], set[tuple[str, str]]()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen or name in ENGINE:
                continue
            seen.add((name, extra))
            for line in requires(name) or []:
                below = Requirement(line)
                if below.marker is None or below.marker.evaluate({"extra": extra}):
                    todo.append(below)
    return {name for name, _ in seen}


def environment() -> str:
    """The text of the environment file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = locked((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    names = needed(project["dependencies"] + project["optional-dependencies"]["training-audio"])
    python = re.search(r">=(\d+\.\d+)", project["requires-python"]).group(1)  # type: ignore[union-attr]
    return HEADER.format(python=python) + "".join(f"      - {name}=={versions[name]}\n" for name in sorted(names))


if __name__ == "__main__":
    try:
        Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "envs/audiorestorer.yaml").write_text(
            environment(), encoding="utf-8"
        )
    except PackageNotFoundError as error:
        raise SystemExit(
            f"{error} is not installed here: run this in the environment that requirements.lock made"
        ) from None
