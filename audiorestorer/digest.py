"""Digest of the code that a stage runs: a change to it makes the stage's items stale, a comment or a docstring does not."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "audiorestorer"
ROOT = Path(__file__).parent
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

# Plumbing that carries rows and files but computes no sample: a change there must not recompute ten thousand files.
PLUMBING = frozenset(
    f"{PACKAGE}.{name}"
    for name in (
        "__main__",
        "checking",
        "config",
        "devices",
        "digest",
        "errors",
        "files",
        "folders",
        "left_out",
        "manifest",
        "names",
        "progress",
        "resources",
        "store",
        "tables",
        "stages.shard",
        "stages.inputs",
        "stages.job",
        "stages.network",
        "stages.folder",
    )  # fmt: skip
)


def _path(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split(".")[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _parsed(module: str) -> tuple[str, tuple[str, ...]]:
    """The hash of one module's syntax tree (without docstrings) and the modules of this package that it imports."""
    path = _path(module)
    assert path is not None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports.add(node.module)
            imports.update(f"{node.module}.{alias.name}" for alias in node.names)
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    own = tuple(sorted(name for name in imports if name.split(".")[0] == PACKAGE and _path(name) is not None))
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), own


def modules_of(*roots: str) -> list[str]:
    """All modules of this package that the given ones import, themselves included, without the plumbing."""
    todo, seen = list(roots), set[str]()
    while todo:
        module = todo.pop()
        if module in seen or module in PLUMBING:
            continue
        seen.add(module)
        todo.extend(_parsed(module)[1])
    return sorted(seen)


def code_digest(*modules: str) -> str:
    """Digest over the modules given (names below `audiorestorer.`, as `stages.fuse`) and all that they import."""
    digest = hashlib.sha256()
    for name in modules_of(*(f"{PACKAGE}.{module}" for module in modules)):
        digest.update(f"{name}={_parsed(name)[0]}\n".encode())
    return digest.hexdigest()[:16]
