"""The package's own code, read and not imported: the digest of what a stage runs, and what modules define.

A change to the code makes the stage's items stale, a comment or a docstring does not.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "audiorestorer"
ROOT = Path(__file__).parent
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

_made: dict[str, tuple[str, str, list[str]]] = {}  # module -> hash of its text, of its syntax tree, and what it imports
# Plumbing that carries rows and files but computes no sample: a change there must not recompute ten thousand files.
PLUMBING = frozenset(
    f"{PACKAGE}.{name}"
    for name in (
        "__main__",
        "chain",
        "checking",
        "config",
        "config_results",
        "config_sources",
        "config_text",
        "config_training",
        "config_values",
        "devices",
        "digest",
        "errors",
        "files",
        "folders",
        "left_out",
        "licences",
        "locks",
        "manifest",
        "memory",
        "names",
        "places",
        "progress",
        "resources",
        "store",
        "tables",
        "temporaries",
        "workflow",
        "workflow_run",
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


def kept_file() -> Path:
    """Where the digests of modules are kept, by the hash of their text: beside the bytecode, and as little missed."""
    return ROOT / "__pycache__" / f"digests-{sys.implementation.cache_tag}.json"


def kept_elsewhere() -> Path:
    """Where they are kept if this package lies in a folder that only an administrator writes: the user's cache."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return folder / PACKAGE / kept_file().name


@cache
def _kept() -> dict[str, list[Any]]:
    kept: dict[str, list[Any]] = {}
    for file in (kept_elsewhere(), kept_file()):
        with suppress(OSError, ValueError):
            found = json.loads(file.read_text(encoding="utf-8"))
            kept |= found if isinstance(found, dict) else {}
    return kept


def keep() -> None:
    """Write down the digests that were used, for the next process; where that is not possible it makes them again."""
    used = {text: [value, imports] for text, value, imports in _made.values()}
    if used.keys() <= _kept().keys():
        return
    for target in (kept_file(), kept_elsewhere()):
        with suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(f".{os.getpid()}.part")
            part.write_text(json.dumps(used), encoding="utf-8")
            part.replace(target)
            return


@cache
def _parsed(module: str) -> tuple[str, tuple[str, ...]]:
    """The hash of one module's syntax tree (without docstrings) and the modules of this package that it imports."""
    path = _path(module)
    assert path is not None
    content = path.read_bytes()
    text = hashlib.sha256(content).hexdigest()
    known = _kept().get(text)
    value, imports = known if isinstance(known, list) and len(known) == 2 else _read(content)
    _made[module] = (text, value, imports)
    own = tuple(sorted(name for name in imports if name.split(".")[0] == PACKAGE and _path(name) is not None))
    return value, own


def _read(content: bytes) -> tuple[str, list[str]]:
    """The hash of a module's syntax tree without docstrings, and all names that it imports of this package."""
    tree = ast.parse(content.decode("utf-8"))
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports.add(node.module)
            imports.update(f"{node.module}.{alias.name}" for alias in node.names)
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty pieces to some f-strings
            node.values = [one for one in node.values if not isinstance(one, ast.Constant) or one.value != ""]
    own = sorted(name for name in imports if name.split(".")[0] == PACKAGE)
    return hashlib.sha256(_dumped(tree).encode()).hexdigest(), own


def _dumped(tree: ast.AST) -> str:
    """The tree as Python 3.11 writes it: 3.12 has a field more, 3.13 leaves empty lists out. All Pythons can share a store."""
    newer: dict[str, Any] = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(tree, **newer).replace(", type_params=[]", "")


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


@cache
def constant_of(module: str, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A constant that a module (`separators.demucs`) defines at its top level as a literal; `default` where it defines none."""
    path = _path(f"{PACKAGE}.{module}")
    assert path is not None, module
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == name for one in node.targets):
            return tuple(ast.literal_eval(node.value))
    return default


def all_modules() -> list[str]:
    """The modules of this package."""
    paths = [path.relative_to(ROOT).with_suffix("") for path in sorted(ROOT.rglob("*.py"))]
    paths = [path for path in paths if path.parts[0] != "_workflow"]  # of an installed package: no modules
    return [".".join((PACKAGE, *path.parts)).removesuffix(".__init__") for path in paths]


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
