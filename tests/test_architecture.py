"""docs/architecture.md is true: its names exist, and each how-to, followed in a copy of the project, makes the new thing work."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from audiorestorer import digest
from tests.how_to import PAGE, ROOT

TEXT = re.sub(r"^```.*?^```$", "", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
CODE = set(re.findall(r"`([^`\n]+)`", TEXT))
DOTTED = sorted(
    name
    for name in CODE
    if re.fullmatch(r"[a-z_]+(\.\w+)+", name)
    and (digest.ROOT / name.split(".")[0]).exists()
    or (digest.ROOT / f"{name.split('.')[0]}.py").exists()
    and "." in name
)
PATHS = sorted(
    name
    for name in CODE
    if re.fullmatch(r"[\w./-]+", name) and "/" in name and not name.startswith(("artifacts/", "<"))
)


def definitions(tree: ast.AST) -> dict[str, ast.AST]:
    """The names that a module or class defines."""
    out: dict[str, ast.AST] = {}
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            out[node.name] = node
        elif isinstance(node, ast.Assign):
            out.update({target.id: node for target in node.targets if isinstance(target, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            out[node.target.id] = node
    return out


@pytest.mark.parametrize("name", DOTTED)
def test_every_name_of_the_map_exists(name: str):
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        base = digest.ROOT.joinpath(*parts[:count])
        path = next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)
        if path:
            break
    assert path, f"no module {name}"
    node: ast.AST = ast.parse(path.read_text(encoding="utf-8"))
    for part in parts[count:]:
        inside = definitions(node)
        assert part in inside, f"{path.relative_to(ROOT)} defines no {part}"
        node = inside[part]


@pytest.mark.parametrize("name", PATHS)
def test_every_path_of_the_map_exists(name: str):
    places = [root / name for root in (ROOT, digest.ROOT, ROOT / "rules")]
    assert any(place.exists() or list(place.parent.glob(Path(name).name)) for place in places), name
