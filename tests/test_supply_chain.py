"""Every package that is installed is pinned by hash; the licences' list and the bill of materials say what is there."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

from audiorestorer.models import registry
from scripts.release import supply_chain, write_locks

ROOT = Path(__file__).parents[1]
KUBERNETES = ROOT / "requirements-kubernetes.lock"


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", each)[0].lower().replace("_", "-") for each in requirements}


@pytest.mark.parametrize("lock", supply_chain.LOCKS)
def test_every_locked_package_has_one_version_and_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text()
    packages = supply_chain.locked(lock)
    assert (
        len(packages) == len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE)) == len({each.name for each in packages})
    )
    assert all(each.sha256 for each in packages)
    assert "://" not in text and "--index" not in text and "--trusted-host" not in text


def test_what_pyproject_names_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = {lock: {each.name.replace("_", "-") for each in supply_chain.locked(lock)} for lock in supply_chain.LOCKS}
    extras = project["optional-dependencies"]
    assert names(project["dependencies"]) <= locked["requirements.lock"]
    wanted = names([*extras.pop("models"), *extras.pop("dev"), *extras.pop("training-audio")])
    assert wanted - locked["requirements.lock"] <= locked["requirements-models.lock"]
    assert not locked["requirements.lock"] & locked["requirements-models.lock"]
    heavy = {"torch", "pandas", "librosa", "numba", "scikit-learn", "openvino", "nbconvert", "lightning", "pytest"}
    assert heavy <= locked["requirements-models.lock"]
    clusters = names(extras.pop("kubernetes"))  # each in the lock that its place installs
    assert clusters <= locked["requirements.lock"] | set(
        re.findall(r"^([a-z0-9-]+)==", KUBERNETES.read_text(), re.MULTILINE)
    )
    assert names([each for extra in extras.values() for each in extra]) <= locked["requirements-extras.lock"]


@pytest.mark.parametrize("lock", supply_chain.LOCKS[:2])
def test_the_environment_is_the_lock_s(lock: str) -> None:
    for package in supply_chain.locked(lock):
        assert importlib.metadata.version(package.name) == package.version, package.name


def test_the_locks_are_split_as_pyproject_says() -> None:
    """The base is what its packages ask for, and nothing else."""
    both = "".join((ROOT / lock).read_text() for lock in supply_chain.LOCKS[:2])
    assert write_locks.split(both) == tuple((ROOT / lock).read_text() for lock in supply_chain.LOCKS[:2])


def test_the_licences_are_those_of_this_lock_and_registry() -> None:
    text = (ROOT / "docs/licences.md").read_text()
    assert text == supply_chain.licences(), "run: make sbom"
    assert "| unknown |" not in text and "not installed here" not in text
    for name in registry.load(ROOT / "config/models.yaml").models:
        assert f"| {name} |" in text
    restricted = text.split("**Not for commercial use:**")[1].split("\n")[0]
    assert all(name in restricted for name in ("`denoiser`", "`diffq`", "`dns64`"))


def test_the_tables_of_extras_agree_with_what_is_installed() -> None:
    said = {
        "not stated (its weights: MIT)": "",
        "CC-BY-NC-4.0": "NonCommercial",
        "BSD-3-Clause": "BSD",
        "MIT": "MIT",
        "Apache-2.0": "Apache",
    }
    for name, licence in supply_chain.EXTRAS.items():
        try:
            data = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found = " ".join(
            [data.get("License-Expression") or "", data.get("License") or "", *data.get_all("Classifier", [])]
        )
        assert said[licence] in found, name


def test_the_bill_of_materials_is_whole() -> None:
    """CycloneDX 1.6: unique references, a purl and a licence each, all hashes of the lock, the committed weights' hashes."""
    bill = supply_chain.sbom()
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6") and bill == supply_chain.sbom()
    parts = bill["components"]
    assert len({part["bom-ref"] for part in parts}) == len(parts)
    libraries = {part["name"]: part for part in parts if part["type"] == "library"}
    for package in [each for lock in supply_chain.LOCKS for each in supply_chain.locked(lock)]:
        part = libraries[package.name]
        assert part["purl"] == f"pkg:pypi/{package.name}@{package.version}" and part["licenses"][0]["license"]["name"]
        assert {each["content"] for each in part["externalReferences"][0]["hashes"]} == set(package.sha256)
    models = {part["name"]: part for part in parts if part["type"] == "machine-learning-model"}
    assert models["pilot_denoiser"]["hashes"][0]["content"].startswith("cec6ff0b") and "dns64" in models
