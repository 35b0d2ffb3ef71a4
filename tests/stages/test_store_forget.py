"""A withdrawn recording goes by its name, with all that was made of it and nothing else."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from audiorestorer.config import DeliverSettings
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_json
from audiorestorer.manifest import Item, write_manifest
from audiorestorer.published import Ledger
from audiorestorer.stages import publish
from audiorestorer.stages.batch import deliver, store_forget
from audiorestorer.stages.shard import ItemResult, Stage, run_items
from audiorestorer.store import Store, join, sha256_file

STAGES = ("ingest", "fuse", "loudness", "evaluate/signal")


class Project:
    """Recordings through stages that copy, by the loop that all stages share; published, with snippets and tables."""

    def __init__(self, artifacts: str = "art", store: str = "art/store") -> None:
        self.art, self.store = Path(artifacts), Path(store)

    def run(self, files: dict[str, str], settings: str = "one") -> None:
        """Recordings by name, with their content."""
        rows = []
        for name, content in files.items():
            path = self.art.parent / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            rows.append(Item(id=name.replace("/", "_"), noisy=str(path), relative=name, output=name))
        for stage in STAGES:
            rows = run_items(self.stage(stage, settings), rows, self.store)
            write_manifest(self.art / f"manifests/{stage}/0.jsonl", rows)
        publish.run(
            self.art / "manifests/loudness/0.jsonl", self.art / "manifests/publish/0.jsonl", self.art / "out", [], self.store,
            ledger=self.art / "published", source=Path("in"),
        )  # fmt: skip
        for row in rows:
            (self.art / "eval/snippets" / row.id).mkdir(parents=True, exist_ok=True)
            (self.art / "eval/snippets" / row.id / "after.mp3").write_text("sound")
        write_json(self.art / "eval/metrics.json", {"items": [{"id": row.id} for row in rows]})
        (self.art / "report").mkdir(exist_ok=True)
        (self.art / "report/results.html").write_text("players")

    def stage(self, name: str, settings: str) -> Stage[Any]:
        def process(_: Any, item: Item, scratch: Path) -> ItemResult:
            content = Path(item.noisy).read_text()
            found = (
                {"noisy_sha256": sha256_file(item.noisy), "sha256": sha256_file(item.noisy)} if name == "ingest" else {}
            )
            if name in ("ingest", "evaluate/signal"):
                return ItemResult({}, found)
            (scratch / "x").write_text(f"{name} {settings} {content}" if content != "silence" else "silence")
            return ItemResult({"speech.wav": scratch / "x"}, {})

        def describe(entry: Any, item: Item) -> Item:
            if not entry.files:
                return item.updated(**entry.row, path=item.path or item.noisy)
            return item.updated(**entry.row, path=str(entry.files["speech.wav"]), sha256=entry.sha256["speech.wav"])

        own = [name, settings] if name in ("loudness", "evaluate/signal") else name
        return Stage(
            name,
            own,
            "",
            lambda: None,
            process,
            describe,
            inputs=lambda i: [i.noisy, sha256_file(i.noisy)] if name == "ingest" else i.sha256,
        )

    def entries(self) -> dict[str, int]:
        return {stage: len(list((self.store / stage).glob("??/*.json"))) for stage in STAGES}

    def holds(self, content: str) -> list[str]:
        return [str(p) for p in self.art.rglob("*") if p.is_file() and content.encode() in p.read_bytes()]

    def forget(self, *names: str, **options: Any) -> str:
        return "\n".join(store_forget.run(names, self.store, self.art, **options))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project()


def test_all_settings_outputs_snippets_and_pages_go_and_the_rest_stays(project: Project):
    project.run({"a.wav": "voice A", "sub/b.wav": "voice B"}, "old")
    project.run({"a.wav": "voice A", "sub/b.wav": "voice B"}, "new")
    before, left = project.entries(), sorted(path for path in Path(".").rglob("[!.]*") if path.is_file())
    assert before == {"ingest": 2, "fuse": 2, "loudness": 4, "evaluate/signal": 4}
    said = project.forget("sub/b.wav", dry_run=True)
    assert (
        sorted(path for path in Path(".").rglob("[!.]*") if path.is_file()) == left
        and "art/out/sub/b.wav: deleted" in said
    )
    assert project.forget("sub/b.wav") == said
    assert project.entries() == {stage: number // 2 for stage, number in before.items()}
    assert not project.holds("voice B") and not project.holds("b.wav") and len(project.holds("voice A")) == 4
    assert not Path("art/out/sub").exists() and not Path("art/eval/snippets/sub_b.wav").exists()
    assert not Path("art/report/results.html").exists() and not Path("art/eval/metrics.json").exists()
    assert "in/sub/b.wav: is still in the input: the next run makes it again" in said
    assert [record.target for record in Ledger(Path("art/published")).records()] == ["a.wav"]


def test_one_that_left_the_input_long_ago_is_known_by_its_entries(project: Project):
    """No manifest and no record names it any more; it had another content once."""
    project.run({"a.wav": "voice A", "b.wav": "voice B, first take"})
    project.run({"a.wav": "voice A", "b.wav": "voice B, second take"})
    project.run({"a.wav": "voice A"})
    Path("in/b.wav").unlink()
    records = Ledger(Path("art/published"))
    records.drop(next(record for record in records.records() if record.relative == "b.wav"))
    Path("art/out/b.wav").unlink()
    said = project.forget("b.wav")
    assert not project.holds("voice B") and set(project.entries().values()) == {1} and "still in the input" not in said
    assert Path("art/report/results.html").exists() and Path("art/manifests/fuse/0.jsonl").exists()
    with pytest.raises(AudioRestorerError, match="'b.wav': no such recording"):
        project.forget("b.wav")


def test_entries_of_earlier_versions_are_found_through_the_manifests(project: Project):
    project.run({"a.wav": "voice A", "b.wav": "voice B"})
    for path in Path("art/store").rglob("*.json"):
        record = json.loads(path.read_text())
        del record["source"]
        stage = Store("art/store", str(path.parents[1].relative_to("art/store")))
        record.pop("check")
        from audiorestorer import store

        path.write_text(json.dumps({**record, "check": store._check(record)}))
        assert stage.get(path.stem)
    project.forget("b.wav")
    assert not project.holds("fuse one voice B") and project.entries()["loudness"] == 1


def test_content_that_another_recording_has_stays(project: Project):
    project.run({"a.wav": "voice A", "same.wav": "voice A"})
    before = project.entries()
    said = project.forget("same.wav")
    assert (
        "same.wav: a.wav of art has the same content" in said
        and Path("art/out/a.wav").exists()
        and not Path("art/out/same.wav").exists()
    )
    assert {stage: number for stage, number in project.entries().items() if stage != "ingest"} == {
        stage: number for stage, number in before.items() if stage != "ingest"
    }
    project.run({"a.wav": "voice A", "same.wav": "voice A"})
    project.forget("same.wav", "a.wav")
    assert set(project.entries().values()) == {0} and not list(Path("art/out").rglob("*.wav"))


def test_a_file_that_another_recording_s_row_names_stays(project: Project):
    """Two recordings may come to the same intermediate, digital silence: the entry says whose it was first."""
    project.run({"a.wav": "voice A", "b.wav": "voice B"})
    rows = [json.loads(line) for line in Path("art/manifests/loudness/0.jsonl").read_text().splitlines()]
    rows[0]["path"] = rows[1]["path"]
    write_manifest("art/manifests/loudness/0.jsonl", [Item(**row) for row in rows])
    said = project.forget("b.wav")
    assert "stays: a.wav of" in said and Path(rows[1]["path"]).exists() and project.entries()["fuse"] == 1


def test_what_was_changed_is_named_and_archives_are_too(project: Project, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    project.run({"a.wav": "voice A", "b.wav": "voice B"})
    for kind in ("zip", "tar.zst"):
        settings = DeliverSettings(name=f"for_{kind[:3]}", format=kind)
        deliver.run([Path("art/manifests/loudness/0.jsonl")], Path("art/delivery"), settings, [], [])
    Path("art/delivery/other.zip").write_text("no zip")
    Path("art/out/b.wav").write_text("edited")
    said = project.forget("b.wav")
    assert "art/out/b.wav: was changed after it was published: delete it yourself" in said
    assert "for_zip.zip: holds it" in said and "for_tar.tar.zst: holds it" in said
    assert Path("art/out/b.wav").read_text() == "edited" and "other.zip: cannot tell" in caplog.text
    project.run({"a.wav": "voice A", "c.wav": "voice C"})
    assert "holds it" not in project.forget("c.wav")


def test_on_a_shared_store_the_other_project_s_recording_of_that_name_stays(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = Project("one/art", "shared"), Project("two/art", "shared")
    for project, content in ((one, "voice of one"), (two, "voice of two")):
        project.run({"a.wav": content, "b.wav": "both have it"})
        join("shared", project.art)
    said = one.forget("a.wav", "b.wav")
    shared = [path.read_text() for path in Path("shared").rglob("*.wav")]
    assert (
        not [text for text in shared if "one voice of one" in text]
        and len([t for t in shared if "voice of two" in t]) == 2
    )
    assert (
        len([text for text in shared if "both have it" in text]) == 2
        and "b.wav: b.wav of two/art has the same content" in said
        and said.count("same content") == 1
    )
    assert Path("two/art/out/a.wav").exists() and Path("two/art/manifests/fuse/0.jsonl").exists()
    assert not Path("one/art/out/a.wav").exists()
    with pytest.raises(AudioRestorerError, match="no run there uses shared"):
        store_forget.run(["a.wav"], Path("shared"), Path("elsewhere"))
