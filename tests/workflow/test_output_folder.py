"""What people do to the output folder and the input between runs: one project, run by snakemake for real, step by step."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests import warm
from tests.workflow.conftest import ROOT, Workspace, environment, make_workspace

NAMES = {"x one.wav", "sub/tw'o.wav", "sub/ünï/three.flac"}


def forget(workspace: Workspace, *arguments: str) -> str:
    env = {**environment(), "PYTHONPATH": str(ROOT)}
    done = warm.run("-m", "audiorestorer", "store", "forget", *arguments, cwd=workspace.folder, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def state(workspace: Workspace) -> dict:
    return json.loads((workspace.folder / "artifacts/eval/output.json").read_text())


def holds(folder: Path, content: bytes) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and content in path.read_bytes()]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("project"), items=3)
    (workspace.folder / "batch/input/silent.wav").unlink()
    (workspace.folder / "batch/input/cut.wav").unlink()
    workspace.config |= {
        "input": "batch/input", "shards": 1, "separators": [{"name": "a", "model": "tiny_a"}], "denoise": {"model": None},
        "evaluate": {"metrics": ["loudness"]}, "snippets": {"count": 3, "seconds": 0.5},
    }  # fmt: skip
    return workspace


def test_edits_stay_and_are_named(project: Workspace):
    output = project.folder / "artifacts/output"
    output.mkdir(parents=True)
    (output / "x one.wav").write_bytes(b"not of this pipeline")
    text = project.run("--", "all", "deliver")
    assert (
        text.count("x one.wav: kept: it is not a file that was published here") == 1 and "replace_edited=true" in text
    )
    assert project.outputs()["x one.wav"] == b"not of this pipeline" and set(project.outputs()) == NAMES
    (output / "x one.wav").unlink()  # the remedy that the message names
    project.run()
    for name in NAMES:
        info = (output / name).stat()
        assert info.st_nlink == 1 and info.st_mode & 0o200
    with open(output / "x one.wav", "ab") as file:  # as a tag editor does
        file.write(b"LIST\4\0\0\0INFO")
    edited = project.outputs()["x one.wav"]
    assert "Nothing to be done" in project.run()
    project.config["loudness"] = {"target_lufs": -27.0}
    text = project.run()
    assert project.outputs()["x one.wav"] == edited and "x one.wav: kept: it was changed after it was published" in text
    assert [Path(entry["file"]).name for entry in state(project)["kept"]] == ["x one.wav"]
    assert "Nothing to be done" in project.run()


def test_left_recordings_leave_output_snippets_pages_and_archives(project: Workspace):
    """One deleted, one excluded, the third in another format."""
    output, art = project.folder / "artifacts/output", project.folder / "artifacts"
    (output / "mine.txt").write_text("mine")
    for root in ("input", "clean"):
        (project.folder / f"batch/{root}/sub/ünï/three.flac").unlink()
    project.config |= {"exclude": ["x*"], "loudness": {"target_lufs": -27.0, "format": "flac"}}
    text = project.run("--", "all", "deliver")
    assert set(project.outputs()) == {"sub/tw'o.flac", "mine.txt", "x one.wav", "sub/ünï/three.flac"}
    assert "three.flac: kept: sub/ünï/three.flac is no longer of the input; the recording is gone" in text
    project.config["stale_outputs"] = "remove"
    project.run("--", "all")
    assert set(project.outputs()) == {"sub/tw'o.flac", "mine.txt", "x one.wav"}
    assert not (output / "sub/ünï").exists(), "the folder that it left empty"
    assert (
        len(state(project)["removed"]) == 1
        and "x one.wav: kept: x one.wav is no longer of the input; it was changed" in text
    )
    assert {path.name for path in (art / "eval/snippets").iterdir()} == {"sub_tw_o"}
    for name in (
        "eval/metrics.json",
        "eval/metrics.csv",
        "report/results.html",
        "report/listening.html",
        "report/summary.md",
    ):
        assert "three" not in (art / name).read_text(), name
    with zipfile.ZipFile(art / "delivery/cleaned.zip") as archive:
        assert not [name for name in archive.namelist() if "three" in name or "x one" in name]
    assert "Nothing to be done" in project.run()


def test_a_withdrawn_recording_is_forgotten_with_all_that_was_made_of_it(project: Workspace):
    store = project.folder / "artifacts/store"
    entries = {path for path in store.rglob("*.json") if "three.flac" in path.read_text()}
    assert len(entries) > 6, "of both loudness settings"
    assert "would" in forget(project, "sub/ünï/three.flac", "--dry-run") and all(path.exists() for path in entries)
    text = forget(project, "sub/ünï/three.flac")
    assert not any(path.exists() for path in entries) and "entries" in text
    assert "Nothing to be done" in project.run(), "it had left the input"
    text = forget(project, "sub/tw'o.wav")
    assert "still in the input" in text and "cleaned.zip: holds it" in text
    assert not holds(project.folder / "artifacts/store", b"tw'o") and set(project.outputs()) == {
        "mine.txt",
        "x one.wav",
    }
    assert not list((project.folder / "artifacts/eval/snippets").iterdir())
    assert not (project.folder / "artifacts/report/results.html").exists()
    project.run()
    assert set(project.outputs()) == {"sub/tw'o.flac", "mine.txt", "x one.wav"}
