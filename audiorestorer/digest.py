"""The package's own code, read and not imported: the digest of what a stage runs, and which modules of a folder define a function.

A change to the code makes the stage's items stale, a comment or a docstring does not.
"""

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
        "chain",
        "checking",
        "config",
        "config_text",
        "config_training",
        "config_values",
        "devices",
        "digest",
        "errors",
        "files",
        "folders",
        "left_out",
        "manifest",
        "memory",
        "names",
        "progress",
        "resources",
        "store",
        "tables",
        "workflow",
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


@cache
def modules_defining(function: str, folder: str) -> tuple[str, ...]:
    """The modules of a folder of this package that define a function at their top level, by name; `__init__` is none of them."""
    trees = {
        path.stem: ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / folder).glob("*.py"))
        if path.stem != "__init__"
    }
    return tuple(
        name
        for name, tree in trees.items()
        if any(isinstance(node, ast.FunctionDef) and node.name == function for node in tree.body)
    )


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
