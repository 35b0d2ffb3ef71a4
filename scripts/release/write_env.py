"""Write the conda environment file (`--sdm conda`) from the locks: every package that the jobs need, at the locks' version.

    python -m scripts.release.write_env [envs/audiorestorer.yaml]

Run it after a lock changed, in the environment that the locks made. Snakemake copies an environment file before conda reads it, so
it cannot refer to a lock: it has to hold the versions itself. What only the developer and the engine need is left out.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from scripts.release.write_locks import BASE, MODELS, ROOT, needed, packages

ENGINE = {
    "snakemake",
    "snakemake-executor-plugin-slurm",
}  # the jobs are commands of this package; who runs snakemake has it
HEADER = """\
# For `snakemake --sdm conda`: made by scripts/release/write_env.py from the locks (tests/test_envs.py compares them).
# One environment for all rules, since every stage is a command of the same package.
channels:
  - conda-forge
dependencies:
  - python={python}
  - pip
  - pip:
"""


def environment() -> str:
    """The text of the environment file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = packages(BASE.read_text(encoding="utf-8")) | packages(MODELS.read_text(encoding="utf-8"))
    versions = {name: re.match(r"\S+==([^\s;\\]+)", entry)[1] for name, entry in entries.items()}  # type: ignore[index]
    extras = project["optional-dependencies"]
    names = needed(project["dependencies"] + extras["models"] + extras["training-audio"], ENGINE)
    python = re.search(r">=(\d+\.\d+)", project["requires-python"]).group(1)  # type: ignore[union-attr]
    return HEADER.format(python=python) + "".join(f"      - {name}=={versions[name]}\n" for name in sorted(names))


if __name__ == "__main__":
    try:
        Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "envs/audiorestorer.yaml").write_text(
            environment(), encoding="utf-8"
        )
    except PackageNotFoundError as error:
        raise SystemExit(f"{error} is not installed here: run this in the environment that the locks made") from None
