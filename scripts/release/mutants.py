"""Does the suite bite? Change one line of the package at a time, run the tests, and say which test noticed.

A mutant is one small change that matters: a comparison's bound, a sign, an operator, a constant, a default. They are drawn at random
by a seed, each from another module, and applied to a copy of the repository. First the tests that name the changed module run, then,
where none of them failed and `--near` is not given, all of `make test`'s. A mutant that nothing notices asks for a test.

    python -m scripts.release.mutants --count 10 --seed 19 --out mutants.md
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "audiorestorer"
# mostly texts
SKIPPED = ("report/", "commands/", "__main__.py", "__init__.py", "models/export.py", "models/backends.py")
COMPARE = {"Lt": "<=", "LtE": "<", "Gt": ">=", "GtE": ">", "Eq": "!=", "NotEq": "=="}
OPERATOR = {"Add": ("+", "-"), "Sub": ("-", "+"), "Mult": ("*", "/"), "Div": ("/", "*")}
SYMBOL = {"Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">=", "Eq": "==", "NotEq": "!="}
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.M)


@dataclass(frozen=True)
class Mutant:
    """A change of one line; `start` and `end` are columns, in bytes of UTF-8."""

    path: str
    line: int
    start: int
    end: int
    old: str
    new: str

    def applied(self, text: str) -> str:
        lines = text.splitlines(keepends=True)
        raw = lines[self.line - 1].encode()
        assert raw[self.start : self.end].decode() == self.old
        lines[self.line - 1] = (raw[: self.start] + self.new.encode() + raw[self.end :]).decode()
        return "".join(lines)


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Every mutant of a module."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    name = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and (kind := type(node.ops[0]).__name__) in COMPARE:
            yield from _between(name, lines, node.left, node.comparators[0], SYMBOL[kind], COMPARE[kind])
        elif isinstance(node, ast.BinOp) and (kind := type(node.op).__name__) in OPERATOR:
            if not any(
                isinstance(side, ast.Constant) and isinstance(side.value, str) for side in (node.left, node.right)
            ):
                yield from _between(name, lines, node.left, node.right, *OPERATOR[kind])
        elif isinstance(node, ast.Constant) and node.lineno == node.end_lineno:
            old = ast.get_source_segment(text, node) or ""
            if isinstance(node.value, bool):
                yield Mutant(name, node.lineno, node.col_offset, node.end_col_offset or 0, old, str(not node.value))
            elif isinstance(node.value, int | float) and re.fullmatch(r"[\d._e-]+", old):
                new = repr(node.value + 1 if isinstance(node.value, int) else node.value * 1.5 + 0.1)
                yield Mutant(name, node.lineno, node.col_offset, node.end_col_offset or 0, old, new)


def _between(name: str, lines: list[str], left: ast.expr, right: ast.expr, old: str, new: str) -> Iterator[Mutant]:
    """The operator between two operands on one line."""
    if left.end_lineno != right.lineno:
        return
    start = left.end_col_offset or 0
    gap = lines[right.lineno - 1].encode()[start : right.col_offset].decode()
    if gap.count(old) == 1:
        at = start + len(gap[: gap.index(old)].encode())
        yield Mutant(name, right.lineno, at, at + len(old), old, new)


def drawn(count: int, seed: int) -> list[Mutant]:
    """Mutants by a seed, each of another module; modules by their number of mutants."""
    rng = random.Random(seed)
    modules = {
        path: mutants
        for path in sorted(PACKAGE.rglob("*.py"))
        if not any(part in str(path.relative_to(PACKAGE)) for part in SKIPPED) and (mutants := list(mutants_of(path)))
    }
    out: list[Mutant] = []
    while len(out) < count and modules:
        path = rng.choices(list(modules), [len(mutants) for mutants in modules.values()])[0]
        out.append(rng.choice(modules.pop(path)))
    return out


def tests_of(mutant: Mutant, house: Path) -> list[str]:
    """Test files that name the mutant's module."""
    module = mutant.path.removeprefix("audiorestorer/").removesuffix(".py").replace("/", ".")
    parent, _, base = module.rpartition(".")
    names = re.compile(
        rf"audiorestorer\.{re.escape(module)}\b|from audiorestorer\.?{re.escape(parent)} import [^\n]*\b{base}\b"
    )
    files = sorted((house / "tests").rglob("test_*.py"))
    return [str(path.relative_to(house)) for path in files if names.search(path.read_text(encoding="utf-8"))]


def noticed(mutant: Mutant, house: Path, jobs: int, *, near_only: bool) -> str | None:
    """The first test that fails with the mutant in place; None: no test does."""
    target = house / mutant.path
    original = target.read_text(encoding="utf-8")
    target.write_text(mutant.applied(original), encoding="utf-8")
    try:
        near = [name for name in tests_of(mutant, house) if "/workflow/" not in name]
        for files in filter(None, (near, [] if near_only else ["tests"])):
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-x",
                "-q",
                "-m",
                "not slow",
                "-p",
                "no:cacheprovider",
                "-n",
                str(jobs),
                *files,
            ]
            done = subprocess.run(command, cwd=house, capture_output=True, text=True)
            if done.returncode:
                failed = FAILED.search(done.stdout)
                return failed[1] if failed else f"the tests do not start: {done.stdout.strip()[-200:]}"
    finally:
        target.write_text(original, encoding="utf-8")
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10, help="number of mutants")
    parser.add_argument("--seed", type=int, default=19, help="seed of the draw")
    parser.add_argument("--jobs", type=int, default=2, help="test processes")
    parser.add_argument("--near", action="store_true", help="run only the tests that name the changed module")
    parser.add_argument("--out", type=Path, help="Markdown file for the table; standard output if left out")
    options = parser.parse_args()
    rows = ["| changed line | from | to | noticed by |", "| --- | --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as folder:
        house = Path(folder) / "house"
        shutil.copytree(
            ROOT, house, symlinks=True, ignore=shutil.ignore_patterns(".git", "artifacts", ".snakemake", ".venv")
        )
        (house / ".venv").symlink_to(ROOT / ".venv")
        for mutant in drawn(options.count, options.seed):
            test = noticed(mutant, house, options.jobs, near_only=options.near)
            rows.append(
                f"| `{mutant.path}:{mutant.line}` | `{mutant.old}` | `{mutant.new}` | {f'`{test}`' if test else 'nothing'} |"
            )
            print(rows[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
