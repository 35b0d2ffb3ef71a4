"""What left the input leaves the output folder, or is named."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from audiorestorer.manifest import Item, write_manifest
from audiorestorer.published import Ledger
from audiorestorer.stages import publish
from audiorestorer.stages.batch import tidy
from audiorestorer.store import sha256_file

ALL = {"a.wav": "a.wav", "sub/deep/b.wav": "sub/deep/b.wav", "sub/c.wav": "sub/c.wav"}


class Project:
    """Publishes and tidies up. The working folder is its own."""

    def __init__(self) -> None:
        self.out, self.rejected = Path("out"), dict[str, str]()

    def run(self, files: dict[str, str] = ALL, source: str = "in", shards: int = 1, **options: Any) -> dict[str, Any]:
        """Recordings by name, with the name of their output, through both stages."""
        manifests = []
        for shard in range(shards):
            rows = [
                Item(id=name, noisy=name, relative=name, status="rejected", reason=why)
                for name, why in self.rejected.items()
            ]
            for name, output in list(files.items())[shard::shards]:
                path = Path("store/loudness/ab") / f"{name.replace('/', '_')}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{name.lower()} of {source}")
                rows.append(
                    Item(
                        id=name,
                        noisy=f"{source}/{name}",
                        relative=name,
                        output=output,
                        path=str(path),
                        sha256=sha256_file(path),
                        noisy_sha256=f"content of {name.lower().removeprefix('new ')}",
                    )
                )
            write_manifest(f"manifests/loudness/{shard}.jsonl", rows if not shard else rows[len(self.rejected) :])
            manifests.append(Path(f"manifests/publish/{shard}.jsonl"))
            publish.run(
                Path(f"manifests/loudness/{shard}.jsonl"), manifests[-1], self.out, [], Path("store"),
                ledger=Path("ledger"), source=Path(source),
            )  # fmt: skip
        options = {"stale": "remove", **options}
        result = tidy.run(manifests, Path("output.json"), self.out, Path("ledger"), Path(source), **options)
        assert result == json.loads(Path("output.json").read_text())
        return result

    def names(self) -> set[str]:
        return {str(path.relative_to(self.out)) for path in self.out.rglob("*") if path.is_file()}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Project:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    return Project()


def test_what_is_deleted_renamed_or_rejected_goes_with_the_folders_it_leaves_empty(project: Project, caplog):
    assert project.run()["removed"] == []
    Path("out/sub/notes.txt").write_text("mine")
    project.rejected = {"a.wav": "ingest: empty"}
    result = project.run({"sub/d.wav": "sub/d.wav"})
    assert project.names() == {"sub/d.wav", "sub/notes.txt"} and not Path("out/sub/deep").exists()
    assert {entry["file"]: entry["reason"] for entry in result["removed"]} == {
        "out/a.wav": "a.wav is rejected now: ingest: empty",
        "out/sub/deep/b.wav": "sub/deep/b.wav is no longer of the input",
        "out/sub/c.wav": "sub/c.wav is no longer of the input",
    }
    assert "out/sub/c.wav: removed" in caplog.text and "3 removed" in caplog.text
    assert len(list(Path("ledger").iterdir())) == 1 and project.run({"sub/d.wav": "sub/d.wav"})["removed"] == []


def test_another_format_takes_the_old_file_s_place(project: Project):
    project.run()
    result = project.run({name: name.replace(".wav", ".flac") for name in ALL})
    assert project.names() == {"a.flac", "sub/deep/b.flac", "sub/c.flac"}
    assert "a.wav goes to a.flac now" in {entry["reason"] for entry in result["removed"]}


def test_the_last_recording_s_folder_goes_but_never_the_output_folder(project: Project):
    project.run({"x/y.wav": "x/y.wav"})
    project.run({})
    assert list(project.out.iterdir()) == []


def test_what_was_changed_stays_and_is_named_until_somebody_deletes_it(project: Project, caplog):
    project.run()
    Path("out/a.wav").write_text("edited")
    for _ in range(2):
        result = project.run({"sub/c.wav": "sub/c.wav"})
        (entry,) = result["stale"]
        assert (
            entry["file"] == "out/a.wav"
            and "no longer of the input; it was changed after it was published" in entry["reason"]
        )
        assert Path("out/a.wav").read_text() == "edited" and "delete it yourself" in caplog.text
    Path("out/a.wav").unlink()
    assert project.run({"sub/c.wav": "sub/c.wav"})["stale"] == []


def test_files_without_a_record_and_of_other_inputs_and_folders_are_let_alone(project: Project):
    project.run()
    Path("out/foreign.wav").write_text("mine")
    project.run({"z.wav": "z.wav"}, source="another")
    assert project.names() == {*ALL, "foreign.wav", "z.wav"}
    project.out = Path("elsewhere")
    project.run({"a.wav": "a.wav"})
    assert len(list(Path("out").rglob("*.wav"))) == 5
    project.out = Path("out")
    project.run({"a.wav": "a.wav"})
    assert project.names() == {"a.wav", "foreign.wav", "z.wav"}


def test_only_what_can_be_made_again_goes_unasked(project: Project):
    """Renamed, excluded (its file is there) and in another format: removed. Deleted and now rejected: kept, for there is no other."""
    every = ("renamed.wav", "excluded.wav", "format.wav", "deleted.wav", "broken.wav")
    project.run({name: name for name in every})
    Path("in").mkdir()
    Path("in/excluded.wav").write_text("still here")
    project.rejected = {"broken.wav": "ingest: cut"}
    result = project.run({"new renamed.wav": "new renamed.wav", "format.wav": "format.flac"}, stale="auto")
    assert project.names() == {"new renamed.wav", "format.flac", "deleted.wav", "broken.wav"}
    assert {Path(entry["file"]).name for entry in result["stale"]} == {"deleted.wav", "broken.wav"}
    assert all(tidy.GONE in entry["reason"] and "stale_outputs=remove" in entry["reason"] for entry in result["stale"])


def test_stale_files_are_kept_where_that_is_asked_for(project: Project):
    project.run()
    result = project.run({"a.wav": "a.wav"}, stale="keep")
    assert project.names() == {*ALL} and result["removed"] == []
    assert all("stale_outputs is keep" in entry["reason"] for entry in result["stale"]) and len(result["stale"]) == 2
    assert len(project.run({"a.wav": "a.wav"})["removed"]) == 2


def test_the_number_of_shards_does_not_matter_and_those_without_files_go(project: Project):
    project.run(shards=3)
    for name in ("fuse/2.jsonl", "evaluate/2.work.json", "separate/a/2.signal.work.json"):
        (Path("manifests") / name).parent.mkdir(parents=True, exist_ok=True)
        (Path("manifests") / name).write_text("\n")
    Path("manifests/notes.txt").write_text("mine")
    assert project.run(shards=2)["removed"] == [] and project.names() == {*ALL}
    left = {str(path.relative_to("manifests")) for path in Path("manifests").rglob("*") if path.is_file()}
    assert left == {"notes.txt", *(f"{stage}/{n}.jsonl" for stage in ("loudness", "publish") for n in (0, 1))}


def test_killed_between_a_file_and_its_record_it_goes_on(project: Project):
    project.run()
    Path("out/a.wav").unlink()
    assert len(project.run({"sub/c.wav": "sub/c.wav"})["removed"]) == 1 and len(list(Path("ledger").iterdir())) == 1


def test_a_damaged_record_is_named_and_harms_nothing(project: Project, caplog):
    project.run()
    path = Ledger(Path("ledger")).file_of("out", "a.wav")
    path.write_text('{"output": "/", "target": "../etc/passwd"}')
    assert project.run({"sub/c.wav": "sub/c.wav"})["removed"][0]["file"] == "out/sub/deep/b.wav"
    assert project.names() == {"a.wav", "sub/c.wav"} and "damaged" in caplog.text and not path.exists()


def test_a_name_in_other_letter_case_on_a_disk_that_takes_both_for_one(project: Project):
    """As such a disk shows it: both names lead to one file."""
    project.run({"A.wav": "A.wav"})
    Path("out/a.wav").hardlink_to("out/A.wav")
    assert project.run({"a.wav": "a.wav"})["removed"] == [] and Path("out/a.wav").exists()
    assert [record.target for record in Ledger(Path("ledger")).records()] == ["a.wav"]
