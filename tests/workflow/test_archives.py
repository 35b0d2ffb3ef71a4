"""Archives in and out of the workflow, run by snakemake for real."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

from tests.workflow.conftest import Workspace, make_workspace


def packed(workspace: Workspace, *more: tuple[str, bytes]) -> None:
    """The workspace's input folder as batch/outputs.zip, with further members."""
    batch = workspace.folder / "batch"
    with zipfile.ZipFile(batch / "outputs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((batch / "input").rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(batch / "input"))
        for name, content in more:
            archive.writestr(name, content)


def test_a_zip_renders_as_its_folder_does_and_a_hostile_member_is_a_row(finished: Workspace, tmp_path: Path):
    workspace = make_workspace(tmp_path / "w")
    packed(workspace, ("../../escaped.wav", b"RIFF"), ("$(touch pwned).wav", b"RIFF"))
    workspace.config["input"] = str(workspace.folder / "batch/outputs.zip")
    workspace.render()
    assert workspace.outputs() == finished.outputs()
    result = workspace.metrics()
    rejected = {row["input"]: row["reason"] for row in result["rejected"]}
    assert set(rejected) == {"silent.wav", "cut.wav", "../../escaped.wav", "$(touch pwned).wav"}
    assert "leads out" in rejected["../../escaped.wav"] and "not readable" in rejected["$(touch pwned).wav"]
    assert all(
        "si_sdr_improvement_db" in row for row in result["items"] if row["status"] == "ok"
    )  # references beside the zip
    assert not list(tmp_path.rglob("escaped.wav")) and not list(tmp_path.rglob("pwned"))
    assert "Nothing to be done" in workspace.render()
    new = (workspace.folder / "batch/input/four.wav").read_bytes()
    before = workspace.computed("separate/a")
    packed(workspace, ("more/new.wav", new[:-2] + b"\1\0"))
    workspace.render()
    assert len(workspace.computed("separate/a") - before) == 1 and "more/new.wav" in workspace.outputs()


def test_a_bomb_ends_the_run_with_one_message(tmp_path: Path):
    workspace = make_workspace(tmp_path / "w", items=1)
    packed(workspace, *((f"{k}.wav", bytes(30_000_000)) for k in range(10)))
    workspace.config["input"] = str(workspace.folder / "batch/outputs.zip")
    text = workspace.run(ok=False)
    assert "times its size when unpacked" in text and "max_ratio" in text and "Traceback" not in text
    assert not (workspace.folder / "artifacts/store").exists()


def test_deliver_packs_the_tree_once_and_again_where_an_archive_is_gone(copy: Workspace):
    copy.run("deliver")
    folder = copy.folder / "artifacts/delivery"
    with zipfile.ZipFile(folder / "cleaned.zip") as archive:
        names = set(archive.namelist())
        archive.extractall(copy.folder / "x")
    wanted = {
        "sub/ünï/three.flac",
        "SHA256SUMS",
        "summary.md",
        "metrics.json",
        "manifest.jsonl",
        "rejected.jsonl",
        "LICENCES.md",
    }
    assert {f"cleaned/{name}" for name in wanted} <= names
    for place, sums in ((copy.folder / "x/cleaned", "SHA256SUMS"), (folder, "cleaned.sha256")):
        done = subprocess.run(["sha256sum", "-c", sums], cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny_a" in (copy.folder / "x/cleaned/LICENCES.md").read_text()
    before = (folder / "cleaned.zip").read_bytes()
    assert "Nothing to be done" in copy.run("deliver")
    (folder / "cleaned.zip").unlink()
    copy.run("deliver")
    assert (folder / "cleaned.zip").read_bytes() == before
    copy.config["deliver"] = {"format": "tar.zst", "max_size": "200kB"}
    copy.run("deliver")
    parts = sorted(path.name for path in folder.glob("cleaned.*"))
    assert len(parts) > 2 and all(name.endswith((".tar.zst", ".sha256")) for name in parts)
