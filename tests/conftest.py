"""Shared by all tests: threads that suit a small machine, and the files that take longest first."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")

# Each file is one worker's: a long one that began last would keep a worker busy while the others have nothing left.
LONGEST = (
    "test_readme.py", "workflow/test_render.py", "workflow/test_training.py", "workflow/test_store.py", "workflow",
    "faults", "training", "separators", "stages",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.path))
    if find_spec("torch") is None:
        for item in items:
            if item.get_closest_marker("torch"):
                item.add_marker(pytest.mark.skip(reason="needs torch: make setup-models"))


def _rank(path: Path) -> int:
    name = path.relative_to(Path(__file__).parent).as_posix()
    return next((place for place, first in enumerate(LONGEST) if name.startswith(first)), len(LONGEST))
