"""The how-tos of docs/architecture.md as a program follows them: its code blocks go into a copy of the project.

A block whose info string is `LANGUAGE PATH` is a new file; ```` ```diff PATH ```` is an edit: each hunk's unchanged and removed lines
must stand in that file one after another, exactly once. ```` ```sh ```` blocks are commands for the reader and the test to run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PARTS = ("audiorestorer", "rules", "config", "profiles", "envs", "report", "scripts", "Snakefile")
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    language: str
    path: str
    text: str


def blocks(heading: str, page: Path = PAGE) -> list[Block]:
    """The code blocks below a heading of the page, up to the next heading of its level or above."""
    text = page.read_text(encoding="utf-8")
    match = re.search(rf"^(#+) {re.escape(heading)}\n", text, re.M)
    assert match, f"{page.name} has no section {heading!r}"
    end = re.search(rf"^#{{1,{len(match[1])}}} ", text[match.end() :], re.M)
    section = text[match.end() : match.end() + end.start() if end else None]
    return [Block(*(part or "" for part in found)) for found in FENCE.findall(section)]


def copy_of_the_project(target: Path) -> Path:
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target / name)
    (target / "data").symlink_to(ROOT / "data")
    (target / "models").symlink_to(ROOT / "models")
    return target


def edited(text: str, diff: str, name: str) -> str:
    """The text after the hunks of a diff without line numbers."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.M):
        if not hunk.strip():
            continue
        lines = hunk.splitlines()
        assert all(line[:1] in (" ", "+", "-", "") for line in lines), (
            f"{name}: a diff's lines begin with a space, + or -"
        )
        before = "".join(line[1:] + "\n" for line in lines if line[:1] != "+")
        after = "".join(line[1:] + "\n" for line in lines if line[:1] != "-")
        assert text.count(before) == 1, f"{name}: stands {text.count(before)} times, not once:\n{before}"
        text = text.replace(before, after)
    return text


def follow(heading: str, house: Path) -> list[str]:
    """Do in a copy what a how-to says; the files that it touches, the generated config.yaml among them where config.py is one."""
    touched = []
    for language, path, text in blocks(heading):
        if not path:
            continue
        target = house / path
        assert target.resolve().is_relative_to(house.resolve())
        if language == "diff":
            target.write_text(edited(target.read_text(encoding="utf-8"), text, path), encoding="utf-8")
        else:
            assert not target.exists(), f"{path} is there already"
            target.write_text(text, encoding="utf-8")
        touched.append(path)
    if "audiorestorer/config.py" in touched:
        python(house, "config", house / "config/config.yaml")
        if (house / "config/config.yaml").read_bytes() != (ROOT / "config/config.yaml").read_bytes():
            touched.append("config/config.yaml")
    return sorted(set(touched))


def python(house: Path, *arguments: object) -> str:
    """A command of the copy, by this interpreter; what it printed."""
    done = run(house, [sys.executable, "-m", "audiorestorer", *map(str, arguments)])
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def run(house: Path, command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(house),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.run(command, cwd=folder or house, env=environment, capture_output=True, text=True)
