"""Where the workflow lies: the clone that this package is part of, or the copy that an installed package carries. Imports nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from audiorestorer.errors import AudioRestorerError

PACKAGE = Path(__file__).parent
CARRIED = PACKAGE / "_workflow"  # of an installed package (pyproject.toml: force-include)


@cache
def in_clone() -> bool:
    """Whether this package is the one of a clone of the repository."""
    return (PACKAGE.parent / "Snakefile").is_file() and (PACKAGE.parent / "rules/common.smk").is_file()


@cache
def workflow_root() -> Path:
    """The folder that holds Snakefile, rules, config, profiles and the embedded models.

    Raises:
        AudioRestorerError: this package was copied without them.
    """
    if in_clone():
        return PACKAGE.parent
    if (CARRIED / "Snakefile").is_file():
        return CARRIED
    raise AudioRestorerError(f"{PACKAGE}: the workflow is missing beside this package: install it again with pip")


def shipped(relative: str) -> Path:
    """A file of the workflow: the working folder's of that name where there is one, else the one that came with this package."""
    here = Path(relative)
    if here.exists():
        return here
    try:
        carried = workflow_root() / relative
    except AudioRestorerError:
        return here
    return carried if carried.exists() else here
