"""The packages that only a part of this project needs: whether they are installed, and what installs them. Imports none of them.

`make setup` installs what rendering with the embedded networks needs; `make setup-models` adds torch and all else. An installed
package has extras instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import util

from audiorestorer.errors import AudioRestorerError
from audiorestorer.places import in_clone


def how(target: str, extra: str = "") -> str:
    """The command that installs what is missing: of a clone a target of make, of an installed package pip with an extra."""
    if in_clone() and target:
        return f"make {target}"
    return f"pip install 'audiorestorer[{extra}]'" if extra else "pip install audiorestorer"


SETUP_MODELS = how("setup-models", "models")
TRAINING = ("torch", "lightning")
NOTEBOOK = ("nbconvert", "ipykernel", "pandas")


def absent(packages: Iterable[str]) -> list[str]:
    """Those of the packages that are not installed."""
    return [name for name in packages if util.find_spec(name) is None]


def check(packages: Iterable[str], what: str, setup: str = SETUP_MODELS) -> None:
    """Raises AudioRestorerError: a package that `what` needs is not installed; says the command that installs it."""
    if names := absent(packages):
        raise AudioRestorerError(f"{what} needs {', '.join(names)}, not installed yet: run `{setup}`")


def of_import(error: ModuleNotFoundError) -> AudioRestorerError | None:
    """What to tell a user of a package that is not installed; None where a module of our own is missing."""
    name = (error.name or "").partition(".")[0]
    if not name or name == "audiorestorer":
        return None
    return AudioRestorerError(f"the package {name} is needed and not installed: run `{SETUP_MODELS}`")
