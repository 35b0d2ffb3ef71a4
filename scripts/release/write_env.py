"""Write the conda environment file (`--sdm conda`) from the locks: every package that the jobs need, at the locks' version.

    python -m scripts.release.write_env [envs/audiorestorer.yaml]

Run it after a lock changed, in the environment that the locks made, of any Python. Snakemake copies an environment file before conda
reads it, so it cannot refer to a lock: it has to hold the versions itself. What only the developer and the engine need is left out.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from scripts.release.write_locks import BASE, EXTRAS, MODELS, PYPROJECT, PYTHONS, TESTS, needed, packages, text_of

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
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    everything = needed([*project["dependencies"], *(name for extra in EXTRAS for name in extras[extra])])
    ours = needed(project["dependencies"] + extras["models"] + extras["training-audio"], ENGINE)
    lines = []
    for name, entry in sorted(packages("".join(map(text_of, (BASE, TESTS, MODELS)))).items()):
        if (
            name in ours or name not in everything
        ):  # the latter: not installed here, since another platform or Python needs it
            heads = re.findall(r"^[^\s#]+?==([^\s;]+)( ;.*?)? *\\$", entry, re.MULTILINE)
            lines += [f"      - {name}=={version}{marker}\n" for version, marker in heads]
    return HEADER.format(python=PYTHONS[-1]) + "".join(lines)


if __name__ == "__main__":
    try:
        Path(sys.argv[1] if len(sys.argv) > 1 else "envs/audiorestorer.yaml").write_text(
            environment(), encoding="utf-8"
        )
    except PackageNotFoundError as error:
        raise SystemExit(f"{error} is not installed here: run this in the environment that the locks made") from None
