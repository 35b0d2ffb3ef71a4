"""Every package that is installed is pinned by hash; the licences' list and the bill of materials say what is there."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker

from audiorestorer.models import registry
from scripts.release import supply_chain, write_locks

ROOT = Path(__file__).parents[1]
KUBERNETES = ROOT / "requirements-kubernetes.lock"


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", each)[0].lower().replace("_", "-") for each in requirements}


@pytest.mark.parametrize("lock", supply_chain.LOCKS)
def test_every_locked_package_has_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text()
    packages = supply_chain.locked(lock)
    assert (
        len(packages)
        == len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE))
        == len({(each.name, each.version) for each in packages})
    )
    assert all(each.sha256 for each in packages)
    assert "://" not in text and "--index" not in text and "--trusted-host" not in text


def test_what_pyproject_names_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = {lock: {each.name.replace("_", "-") for each in supply_chain.locked(lock)} for lock in supply_chain.LOCKS}
    extras = project["optional-dependencies"]
    assert names(project["dependencies"]) <= locked["requirements.lock"]
    wanted = names([*extras.pop("models"), *extras.pop("dev"), *extras.pop("tests"), *extras.pop("training-audio")])
    base, tests, models = (locked[lock] for lock in supply_chain.LOCKS[:3])
    assert wanted <= base | tests | models and not base & tests and not (base | tests) & models
    heavy = {"torch", "pandas", "librosa", "numba", "scikit-learn", "openvino", "nbconvert", "lightning", "ruff"}
    assert heavy <= locked["requirements-models.lock"]
    clusters = names(extras.pop("kubernetes"))  # each in the lock that its place installs
    assert clusters <= locked["requirements.lock"] | set(
        re.findall(r"^([a-z0-9-]+)==", KUBERNETES.read_text(), re.MULTILINE)
    )
    assert names([each for extra in extras.values() for each in extra]) <= locked["requirements-extras.lock"]


@pytest.mark.parametrize("lock", supply_chain.LOCKS[:3])
def test_the_environment_is_the_lock_s(lock: str) -> None:
    for name, version in write_locks.pins((ROOT / lock).read_text()).items():
        assert importlib.metadata.version(name) == version, name


def test_the_locks_are_split_as_pyproject_says() -> None:
    """The base is what its packages ask for, and nothing else; so is what the tests of the core need on top."""
    project = write_locks.PYPROJECT["project"]
    base, tests = (write_locks.pins(lock.read_text()).keys() for lock in (write_locks.BASE, write_locks.TESTS))
    assert base == write_locks.needed(project["dependencies"])
    assert tests == write_locks.needed(project["optional-dependencies"]["tests"]) - base


def test_an_entry_keeps_of_its_marker_what_not_every_place_fulfils() -> None:
    places = "(platform_machine == 'arm64' and sys_platform == 'darwin') or sys_platform == 'linux' or sys_platform == 'win32'"
    everywhere = f"python_full_version < '3.14' and ({places})"
    rest = " \\\n    --hash=sha256:00\n"
    assert write_locks.plain(f"a==1 ; {everywhere}{rest}") == f"a==1{rest}"
    some = everywhere.replace("< '3.14'", "== '3.13.*'")
    assert write_locks.plain(f"a==1 ; {some}{rest}") == f"a==1 ; python_full_version == '3.13.*'{rest}"
    assert write_locks.plain(f"a==1 ; sys_platform == 'win32'{rest}") == f"a==1 ; sys_platform == 'win32'{rest}"


def test_a_package_has_one_version_in_each_environment() -> None:
    for lock in supply_chain.LOCKS[:3]:
        for name, entry in write_locks.packages((ROOT / lock).read_text()).items():
            markers = [head.partition(";")[2].rstrip(" \\") for head in entry.splitlines() if head.startswith(name)]
            for environment in write_locks.ENVIRONMENTS:
                assert sum(not each or Marker(each).evaluate(environment) for each in markers) <= 1, name


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
        "BSD-2-Clause": "BSD",
        "BSD License": "BSD",
        "PSF-2.0": "PSF",
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
    libraries = {(part["name"], part["version"]): part for part in parts if part["type"] == "library"}
    for package in [each for lock in supply_chain.LOCKS for each in supply_chain.locked(lock)]:
        part = libraries[package.name, package.version]
        assert part["purl"] == f"pkg:pypi/{package.name}@{package.version}" and part["licenses"][0]["license"]["name"]
        assert {each["content"] for each in part["externalReferences"][0]["hashes"]} == set(package.sha256)
    models = {part["name"]: part for part in parts if part["type"] == "machine-learning-model"}
    assert models["pilot_denoiser"]["hashes"][0]["content"].startswith("cec6ff0b") and "dns64" in models
