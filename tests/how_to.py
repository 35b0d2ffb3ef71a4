"""The how-tos of docs/architecture.md as a program follows them: their code blocks go into a copy of the project.

"New file `PATH`:" before a block makes a file. "In `PATH`, before `TEXT`:" puts the block before the one line that begins with TEXT.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests import warm

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PARTS = ("audiorestorer", "config", "docs", "envs", "notebooks", "profiles", "report", "rules", "scripts", "Snakefile")
EDIT = re.compile(r"^(?:New file|In) `([^`]+)`(?:, before `([^`]+)`)?:\n\n```(?:\w+)?\n(.*?)```$", re.M | re.S)


def edits(heading: str) -> list[tuple[str, str, str]]:
    """Of a section: the file, the text before which the block goes (empty: a new file), and the block."""
    text = PAGE.read_text(encoding="utf-8")
    start = text.index(f"\n### {heading}\n")
    end = re.search(r"^#{1,3} ", text[start + 5 :], re.M)
    return EDIT.findall(text[start : start + 5 + end.start() if end else None])


def copy_of_the_project(folder: Path) -> Path:
    for name in PARTS:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for name in ("data", "models"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def follow(heading: str, house: Path, skipped: int | None = None) -> set[str]:
    """Do in a copy what a section says; the files that change, the generated ones among them.

    Args:
        skipped: the number of an edit that is forgotten; then nothing is generated.
    """
    touched = set()
    for number, (name, anchor, block) in enumerate(edits(heading)):
        if number == skipped:
            continue
        path = house / name
        touched.add(name)
        if not anchor:
            assert not path.exists(), f"{name} is there already"
            path.write_text(block, encoding="utf-8")
            continue
        block += "" if block.startswith(" ") or path.suffix != ".py" or block.count("\n") == 1 else "\n\n"
        text = path.read_text(encoding="utf-8")
        assert text.count(f"\n{anchor}") == 1, (
            f"{name}: {anchor!r} begins {text.count(chr(10) + anchor)} lines, not one"
        )
        path.write_text(text.replace(f"\n{anchor}", f"\n{block}{anchor}"), encoding="utf-8")
    if skipped is None:
        command(house, "config", "config/config.yaml")
        generated = ("config/config.yaml", "config/config.schema.yaml")
        touched |= {name for name in generated if (house / name).read_bytes() != (ROOT / name).read_bytes()}
    return touched


def python(house: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the copy's package."""
    environment = {**os.environ, "PYTHONPATH": str(house)}
    return subprocess.run([sys.executable, *arguments], cwd=house, env=environment, capture_output=True, text=True)


def run(house: Path, *arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command of the copy, to its end."""
    environment = {**os.environ, "PYTHONPATH": str(house)}
    return warm.run("-m", "audiorestorer", *map(str, arguments), cwd=folder or house, env=environment)


def command(house: Path, *arguments: object, folder: Path | None = None) -> str:
    """A command of the copy, which must end well; its output."""
    done = run(house, *arguments, folder=folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr
