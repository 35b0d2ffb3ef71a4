"""A configuration that cannot be meant stops snakemake before its first job: one message, no traceback, nothing made."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.conftest import ROOT, Workspace, environment

SHIPPED = {"registry": str(ROOT / "config/models.yaml"), "input": str(ROOT / "data/pilot/input")}
PILOT: dict[str, Any] = {"separators": [{"name": "a", "model": "pilot_sep_a"}], "denoise": {"model": None}}
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "key": ({"postmask": {"betta": 2}}, ("config: postmask.betta: unknown key", "'beta'", "(got 2)", "n_fft, hop_length")),
    "value": ({"denoise": {"wet": 80}}, ("config: denoise.wet:", "(got 80)", "at least 0, at most 1")),
    "segment": (
        {**SHIPPED, "separators": [{"name": "a", "model": "htdemucs_ft", "segment_sec": 12}]},
        ("config: separators.0.segment_sec", "(got 12)", "at most 7.8", "htdemucs_ft"),
    ),
    "model": ({**SHIPPED, **PILOT, "denoise": {"model": "nobody"}}, ("no model 'nobody'; it has",)),
    "experiment": ({**SHIPPED, **PILOT, "training": {"experiment": "wrong.yaml"}},
                   ("wrong.yaml: network: a mapping of settings is needed (got [1])",)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_value_stops_the_run(name: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("network: [1]\n")
    workspace = Workspace(tmp_path)
    change, parts = CASES[name]
    workspace.config |= change
    stopped(workspace, tmp_path, parts)


def test_a_repeated_key_stops_the_run(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    command = workspace.command("-n")
    (tmp_path / "run.json").write_text('{"shards": 2,\n"shards": 3}')
    stopped(workspace, tmp_path, ("run.json: not valid YAML: the key 'shards' is there twice at line 2",), command)


def stopped(workspace: Workspace, folder: Path, parts: tuple[str, ...], command: list[str] | None = None) -> None:
    done = subprocess.run(command or workspace.command("-n"), capture_output=True, text=True, env=environment())
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said
    assert all(part in said for part in parts), said
    assert not (folder / "artifacts/manifests").exists()
