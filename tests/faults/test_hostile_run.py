"""Snakemake for real, in folders whose names a shell, a format string or a pattern would read as something else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.names import HOSTILE_FOLDERS
from tests.workflow.conftest import Workspace, make_workspace

NAMES = {
    "work": "w $(touch pwned) 'q' \"d\"",
    "input": "in `touch pwned`;|&>x {shard} {input} {{y}} %s\nline -- é\u202e",
    "output": "-out $HOME {wildcards.shard} \\ '*' #!~",
    "artifacts": 'art\'i "$(touch pwned)" [a]*? =1+1 é',
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished run in hostile folders, of which `output` and `artifacts` lie in the working folder."""
    base = tmp_path_factory.mktemp("hostile") / NAMES["work"]
    workspace = make_workspace(base, items=2)
    hostile = base / NAMES["input"] / "input"
    hostile.parent.mkdir()
    (base / "batch/input").rename(hostile)
    (base / "batch/clean").rename(hostile.parent / "clean")
    shutil.copy(hostile / "x one.wav", hostile / "$(touch pwned)'\"{shard}\n.wav")
    workspace.config |= {"input": str(hostile), "output": NAMES["output"], "artifacts": NAMES["artifacts"]}
    workspace.run("all", "deliver")
    return workspace


def test_the_run_is_complete_and_nothing_else_ran(finished: Workspace) -> None:
    output = finished.folder / NAMES["output"]
    found = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    assert found == {"x one.wav", "sub/tw'o.wav", "$(touch pwned)'\"{shard}\n.wav"}
    assert not list(finished.folder.parent.rglob("pwned")) and not Path("pwned").exists()
    assert {path.name for path in finished.folder.iterdir() if not path.name.startswith(".")} == {
        *NAMES.values(), "batch", "models.yaml", "run.json", *(f"tiny_{x}.safetensors" for x in ("a", "b", "denoiser")),
    } - {NAMES["work"]}  # fmt: skip


def test_what_it_made_is_where_it_should_be(finished: Workspace) -> None:
    artifacts = finished.folder / NAMES["artifacts"]
    for name in ("report/summary.md", "report/results.html", "eval/metrics.csv", "eval/metrics.json"):
        assert (artifacts / name).stat().st_size > 100
    assert list((artifacts / "delivery").iterdir())


def test_a_second_run_has_nothing_to_do(finished: Workspace) -> None:
    assert "Nothing to be done" in finished.run()


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE_FOLDERS)
def test_each_name_as_input_and_output(tmp_path: Path, name: str) -> None:
    workspace = make_workspace(tmp_path / "w", items=1)
    (tmp_path / "w" / name).mkdir()
    shutil.move(tmp_path / "w/batch", tmp_path / "w" / name / "batch")
    workspace.config |= {"input": f"{name}/batch/input", "output": f"{name}/out", "shards": 1}
    workspace.run("--", "all")
    assert (tmp_path / "w" / name / "out/x one.wav").exists() and not list(tmp_path.rglob("pwned"))
