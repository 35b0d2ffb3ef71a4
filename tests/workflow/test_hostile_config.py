"""A configuration that cannot be meant stops snakemake before its first job: one message, no traceback, nothing made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.workflow.conftest import ROOT, Workspace, environment
from tests.workflow.test_render import copy_of_the_house

SHIPPED = {"registry": str(ROOT / "config/models.yaml"), "input": str(ROOT / "data/pilot/input")}
PILOT: dict[str, Any] = {"separators": [{"name": "a", "model": "pilot_sep_a"}], "denoise": {"model": None}}
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "key": ({"postmask": {"betta": 2}}, ("config: postmask.betta: unknown key", "'beta'", "(got 2)", "n_fft, hop_length")),
    "value": ({"denoise": {"wet": 80}}, ("config: denoise.wet:", "(got 80)", "at least 0, at most 1")),
    "segment": (
        {**SHIPPED, "separators": [{"name": "a", "model": "htdemucs_ft", "segment_sec": 12}]},
        ("config: separators.0.segment_sec", "(got 12)", "at most 7.8", "htdemucs_ft"),
    ),
    "model": ({**SHIPPED, **PILOT, "denoise": {"enabled": True, "model": "nobody"}}, ("no model 'nobody'; it has",)),
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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'input: "\xff"\n', "line 1: the byte 0xff is not UTF-8: save the file as UTF-8"),
        (b"shards: [1\n", "not valid YAML: while parsing a flow sequence at line 1"),
        (b"shards: 2026-13-45\n", "not valid YAML: month must be in 1..12 at line 1"),
        (b"shards: 1\nshards: 2\n", "the key 'shards' is there twice at line 2"),
        (b"a: " + b"[" * 3000, "not valid YAML"),
        (b"- 1\n", "settings are needed, one `key: value` per line"),
        (b"", "settings are needed"),
        (None, "cannot read: not a file"),
    ],
)
def test_a_damaged_file_of_defaults_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    """config/config.yaml, which people edit; what they give with `--configfile` Snakemake reads before us."""
    house = copy_of_the_house(tmp_path / "house")
    path = house / "config/config.yaml"
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    (tmp_path / "w").mkdir()
    arguments = ("-n", "-s", str(house / "Snakefile"), "--directory", str(tmp_path / "w"), "--cores", "1")
    done = warm.run("-m", "snakemake", *arguments, cwd=house, env=environment())
    text = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in text and len(text.splitlines()) < 9
    assert f"{path}: {said}" in text or f"{path}: not valid YAML: {said}" in text, text


def test_a_variable_that_is_no_number_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIORESTORER_PROGRESS", "often")
    workspace = Workspace(tmp_path)
    workspace.config |= {**SHIPPED, **PILOT}
    stopped(workspace, tmp_path, ("AUDIORESTORER_PROGRESS: 'often' is no number of seconds",))


def stopped(workspace: Workspace, folder: Path, parts: tuple[str, ...], command: list[str] | None = None) -> None:
    done = warm.run(*(command or workspace.command("-n"))[1:], env=environment())
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said
    assert all(part in said for part in parts), said
    assert not (folder / "artifacts/manifests").exists()
