"""The item store under the workflow: damage is found and made again by the same command, and two folders share one store."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests import warm
from tests.workflow.conftest import ROOT, Workspace, environment, make_workspace

STAGES = ("separate/a", "fuse", "denoise", "postmask", "loudness")


def store(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**environment(), "PYTHONPATH": str(ROOT)}
    return warm.run("-m", "audiorestorer", "store", *arguments, cwd=workspace.folder, env=env)


def computed(workspace: Workspace) -> dict[str, set[str]]:
    return {stage: workspace.computed(stage) for stage in STAGES}


def test_a_damaged_result_is_found_and_the_same_command_makes_it_again(copy: Workspace):
    outputs = copy.outputs()
    assert store(copy, "verify").returncode == 0
    row = copy.rows("loudness")["four"]
    path = copy.folder / row.path
    content = bytearray(path.read_bytes())
    content[3000] ^= 0xFF
    path.write_bytes(content)
    assert copy.outputs() == outputs, "the published file is one of its own"
    assert "Nothing to be done" in copy.render()
    done = store(copy, "verify")
    assert done.returncode == 1 and "loudness/" in done.stdout and "content changed" in done.stdout
    before = computed(copy)
    copy.render()
    assert copy.outputs() == outputs
    after = computed(copy)
    assert {stage: len(after[stage] - before[stage]) for stage in STAGES} == {**dict.fromkeys(STAGES, 0), "loudness": 1}
    assert store(copy, "verify").returncode == 0 and "Nothing to be done" in copy.render()


def test_a_damaged_intermediate_costs_nothing_until_it_is_needed(copy: Workspace):
    outputs = copy.outputs()
    Path(copy.folder / copy.rows("fuse")["four"].path).unlink()
    assert store(copy, "verify").returncode == 1
    before = computed(copy)
    assert "Nothing to be done" in copy.render()
    copy.config["denoise"]["wet"] = 0.5
    copy.render()
    after = computed(copy)
    assert len(after["fuse"] - before["fuse"]) == 1 and len(after["denoise"] - before["denoise"]) == 5
    assert set(copy.outputs()) == set(outputs)


def test_prune_leaves_a_finished_run_finished(copy: Workspace):
    copy.config["postmask"]["beta"] = 3.0
    copy.render()
    before = computed(copy)
    done = store(copy, "prune", "--max-size", "1", "--keep-hours", "0")
    assert done.returncode == 0 and "manifests name it" in done.stdout
    after = computed(copy)
    gone = {stage: len(before[stage] - after[stage]) for stage in STAGES}
    assert gone == {**dict.fromkeys(STAGES, 0), "postmask": 5, "loudness": 5}
    assert store(copy, "verify").returncode == 0 and "Nothing to be done" in copy.render()
    assert store(copy, "stats").stdout.count("\n") > 5


def test_two_folders_at_once_on_one_store(finished: Workspace, tmp_path: Path):
    """Two runs on the same batch, started together: each ends with the outputs of a run alone; a third computes nothing."""
    shared = tmp_path / "shared"
    workspaces = [make_workspace(tmp_path / name) for name in ("one", "two", "three")]
    for workspace in workspaces:
        workspace.config["store"] = str(shared)
    processes = [workspace.start(*workspace.rendered()) for workspace in workspaces[:2]]
    assert [process.wait() for process in processes] == [0, 0]
    entries = {path: path.stat().st_mtime_ns for path in shared.glob("[!.]*/**/*.json")}
    workspaces[2].render()
    for workspace in workspaces:
        assert workspace.outputs() == finished.outputs()
    new = set(shared.glob("[!.]*/**/*.json")) - set(entries)
    assert {path.relative_to(shared).parts[0] for path in new} <= {"ingest"}  # keyed by the files' times
    done = store(workspaces[0], "prune", "--store", str(shared), "--max-size", "1", "--keep-hours", "0")
    assert done.returncode == 0, done.stderr
    for workspace in workspaces:
        assert "Nothing to be done" in workspace.render()
        assert all((workspace.folder / row.path).is_file() for row in workspace.rows("separate/a").values() if row.ok)
