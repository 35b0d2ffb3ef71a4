"""The profiles against the rules and against Snakemake's own options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from audiorestorer.chain import CHAIN

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.name for path in (ROOT / "profiles").iterdir())
CLUSTERS = ("slurm", "kubernetes")
RULES = {
    name: text
    for path in (ROOT / "rules").glob("*.smk")
    for name, text in re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", path.read_text(encoding="utf-8"), re.M | re.S)
}
LOOPED = [stage for stage in CHAIN if not stage.has_own_rule]  # rules/clean.smk makes their rules
CARES = ("rerun-incomplete", "nolock", "keep-going", "max-checksum-file-size", "show-failed-logs", "scheduler")
PLUGINS = ("slurm", "kubernetes", "storage-s3")


def profile(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text(encoding="utf-8"))


def test_the_profiles_are_those_of_the_guide():
    guide = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \| .* \| `snakemake", guide, re.M)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_an_option_of_snakemake_or_of_an_installed_plugin(name: str):
    from snakemake.cli import get_argument_parser

    options = {option[2:] for action in get_argument_parser()._actions for option in action.option_strings}
    installed = tuple(plugin for plugin in PLUGINS if any(option.startswith(f"{plugin}-") for option in options))
    missing = tuple(set(PLUGINS) - set(installed))
    unknown = [key for key in profile(name) if key not in options and not key.startswith(missing or "\0")]
    assert not unknown


@pytest.mark.parametrize("name", NAMES)
def test_all_profiles_share_what_makes_a_run_safe(name: str):
    mine, default = profile(name), profile("default")
    assert {key: mine[key] for key in CARES} == {key: default[key] for key in CARES}
    named = {*mine.get("set-resources", {}), *mine.get("set-threads", {}), *mine.get("groups", {})}
    assert named <= RULES.keys() | {stage.name for stage in LOOPED}, "a rule of that name is there"


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_s_profile_names_gpu_rules_alone(name: str):
    """A rule that it does not name asks for its GPU by itself (`Workflow.gpus`)."""
    mine = profile(name)
    gpu_rules = {rule for rule, text in RULES.items() if re.search(r"^ +gpu=", text, re.M)}
    gpu_rules |= {stage.name for stage in LOOPED if stage.runs_network}
    assert mine["set-resources"].keys() <= gpu_rules
    assert all("gpu" in settings for settings in mine["set-resources"].values())
    assert "resources" not in mine, "a declared total would throttle the whole cluster"
    assert not {rule for rule, settings in mine["set-resources"].items() if settings["gpu"]} & mine["groups"].keys()
    assert mine["retries"] >= 1


def test_memory_and_time_of_rules_without_figures_grow_too():
    for name in CLUSTERS:
        assert all("attempt" in profile(name)["default-resources"][key] for key in ("mem_mb", "runtime"))
    fixed = [rule for rule, text in RULES.items() if re.search(r"^ +(mem_mb|runtime)=\d+,", text, re.M)]
    assert not fixed
