"""One lock for all environments: conda's file, the container's recipe and the cluster's packages against requirements.lock."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts.release import write_locks

ROOT = Path(__file__).parents[1]


def locked(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    heads = re.findall(r"^[a-z0-9._-]+(?:\[\S+\])?==", text, re.M)
    hashed = len(re.findall(r"==[^\\\n]*\\\n +--hash=sha256:", text))
    assert heads and hashed == len(heads), f"{name}: every package has a hash"
    return write_locks.pins(text)


LOCK = locked("requirements.lock") | locked("requirements-tests.lock") | locked("requirements-models.lock")


def test_the_conda_environment_is_the_lock_s(tmp_path: Path):
    made = tmp_path / "env.yaml"
    subprocess.run([sys.executable, "-m", "scripts.release.write_env", str(made)], cwd=ROOT, check=True)
    committed = ROOT / "envs/audiorestorer.yaml"
    assert made.read_text() == committed.read_text(), "run scripts/release/write_env.py"
    python, pip, packages = yaml.safe_load(committed.read_text())["dependencies"]
    assert python == "python=3.13" and pip == "pip"
    pins = write_locks.pins("\n".join(packages["pip"]))
    assert {"torch", "torchaudio", "demucs", "openvino", "lightning", "nbconvert"} <= pins.keys()
    assert not {"snakemake", "pytest", "ruff"} & pins.keys()
    assert pins == {name: LOCK[name] for name in pins}


def test_every_rule_names_an_environment_that_is_there():
    for path in sorted((ROOT / "rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        rules = re.split(r"^rule ", text, flags=re.M)[1:]
        for rule in rules:
            if "shell:" in rule:
                (name,) = re.findall(r'conda:\s+"([^"]+)"', rule)
                assert (path.parent / name).resolve().is_file()


def test_the_container_installs_the_locks():
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    assert re.search(r"^FROM \S+python:3\.13-", text, re.M)
    for name in re.findall(r"-r (\S+\.lock)", text):
        assert f"COPY {name} " in text or re.search(rf"^COPY .*\b{re.escape(name)} .*\./$", text, re.M)
        assert locked(name)
    assert "--require-hashes --no-deps -r requirements.lock -r requirements-models.lock" in text


@pytest.mark.parametrize("name", ["requirements-kubernetes.lock"])
def test_the_cluster_s_packages_fit_to_the_lock(name: str):
    assert not locked(name).keys() & LOCK.keys(), "only what requirements.lock lacks"


def make_python(folder: Path, *arguments: str) -> tuple[int, str]:
    """What `make python` says where the folder is first on PATH and there is no pyenv."""
    env = {"PATH": f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin", "HOME": str(folder)}
    done = subprocess.run(["make", "python", *arguments], cwd=ROOT, env=env, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_make_takes_the_newest_python_that_runs(tmp_path: Path):
    """A shim that answers nothing but an error is passed over, on PATH and in pyenv's folder."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    pyenv = tmp_path / f".pyenv/versions/3.13.{2**31}/bin"
    pyenv.mkdir(parents=True)
    for path, script in (
        (tmp_path / "python3.13", "exit 127"), (pyenv / "python3.13", "exit 1"),
        (tmp_path / "python3.12", f'exec {sys.executable} "$@"'),
    ):  # fmt: skip
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    code, text = make_python(tmp_path)
    assert code == 0 and re.search(rf"^Python {re.escape(own)}\.\d+ /", text, re.M)
    code, text = make_python(tmp_path, f"PYTHON={tmp_path}/python3.13")
    assert code and f"{tmp_path}/python3.13 is no Python 3.11, 3.12 or 3.13 that runs" in text
    code, text = make_python(tmp_path, "PYTHONS=3.13")
    assert code and "found no Python 3.13 that runs and has venv" in text
