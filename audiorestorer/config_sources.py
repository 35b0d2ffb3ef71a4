"""Where a workflow's settings come from: Snakemake's configuration files, its command line, another workflow. No torch import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from audiorestorer.config import Config, read_yaml
from audiorestorer.errors import AudioRestorerError


def texts(value: Any) -> set[str]:
    """All texts in a configuration, in its lists and sections too."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return {value} if isinstance(value, str) else set().union(*map(texts, inner))


def located(path: str, root: str, *, is_own: bool) -> str:
    """Where a file lies: a relative path that the working folder lacks is looked up in `root` (`snakemake --directory`).

    Args:
        root: the folder of the Snakefile.
        is_own: the file in `root` is meant whatever the working folder has of that name: another workflow that uses this one did
            not name it.
    """
    beside = os.path.join(root, path)
    return beside if os.path.exists(beside) and (is_own or not os.path.exists(path)) else path


def check_settings_file(path: str) -> None:
    """Refuse a configuration file that Snakemake's own reader would let pass (a repeated key), or end with a traceback at.

    Raises:
        AudioRestorerError: not UTF-8, no YAML, no file, or no settings.
    """
    settings = read_yaml(path)
    if not isinstance(settings, dict) or not settings:
        raise AudioRestorerError(
            f"{path}: settings are needed, one `key: value` per line (`audiorestorer config` writes all)"
        )


def known_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that are ours: a module without `config:` gets all of the other workflow's command line."""
    return {key: value for key, value in values.items() if key in Config.model_fields}
