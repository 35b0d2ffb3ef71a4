"""The output folder: copies of their own, and nobody's edit is ever lost without a word."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from audiorestorer import published, store
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import inside
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.stages import publish
from audiorestorer.store import Store, key_of

NAMES = ["a/b c.wav", "ünï/$(touch x).wav", "plain.wav"]


class Batch:
    """A store with a finished file for each name, and what `publish` makes of it; the working folder is its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.options = folder, Path("out"), {"ledger": Path("ledger"), "source": Path("in")}
        self.finish("one")

    def finish(self, version: str, names: list[str] = NAMES) -> None:
        """The loudness stage's manifest, as settings of this name leave it."""
        entries = Store("store", "loudness")
        rows = [Item(id="bad", noisy="bad.wav", status="rejected", reason="empty")]
        for number, name in enumerate(names):
            with entries.scratch() as scratch:
                (scratch / "x").write_text(f"{version} {number}")
                entry = entries.put(key_of(v=version, n=number), {"output.wav": scratch / "x"}, {})
            path = entry.files["output.wav"]
            rows.append(
                Item(
                    id=f"i{number}",
                    noisy=f"in/{name}",
                    relative=name,
                    output=name,
                    path=str(path),
                    sha256=entry.sha256["output.wav"],
                )
            )
        write_manifest("m.jsonl", rows)

    def publish(self, **more: object) -> dict[str, Item]:
        rows = publish.run(Path("m.jsonl"), Path("p.jsonl"), self.out, [], Path("store"), **{**self.options, **more})  # type: ignore[arg-type]
        assert rows == read_manifest("p.jsonl")
        return {str(row.output): row for row in rows if row.ok}

    def texts(self) -> dict[str, str]:
        return {str(p.relative_to(self.out)): p.read_text() for p in sorted(self.out.rglob("*")) if p.is_file()}

    def states(self) -> dict[Path, tuple[int, int]]:
        return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in self.out.rglob("*") if p.is_file()}


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    monkeypatch.chdir(tmp_path)
    return Batch(tmp_path)


def test_the_tree_is_mirrored_in_files_of_their_own_and_mended(batch: Batch):
    rows = batch.publish()
    assert batch.texts() == {name: f"one {number}" for number, name in enumerate(NAMES)}
    for name, row in rows.items():
        info = (batch.out / name).stat()
        assert not (batch.out / name).samefile(str(row.path)) and info.st_nlink == 1 and info.st_mode & 0o200
        assert row.published == str(batch.out / name) and row.published_kept is None
    before = batch.states()
    batch.publish()
    assert batch.states() == before, "what is there as it should be is not written again"
    (batch.out / "plain.wav").unlink()
    batch.publish()
    assert batch.texts()["plain.wav"] == "one 2"
    batch.finish("two")
    batch.publish()
    assert set(batch.texts().values()) == {"two 0", "two 1", "two 2"}


def test_an_edit_in_place_touches_neither_the_store_nor_is_it_lost(batch: Batch, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    batch.publish()
    with open(batch.out / "plain.wav", "a") as file:
        file.write(" and tags")
    entries = Store("store", "loudness")
    assert [entries.damaged(path.stem) for path in Path("store").rglob("*.json")] == [None] * len(NAMES)
    rows = batch.publish()
    assert batch.texts()["plain.wav"] == "one 2 and tags" and not caplog.messages[:-1]
    assert rows["plain.wav"].published_kept is None, "there is nothing newer to offer"
    assert "1 files were changed after they were published, and stay so: plain.wav" in caplog.messages[-1]
    batch.finish("two")
    for _ in range(2):
        caplog.clear()
        rows = batch.publish()
        assert batch.texts()["plain.wav"] == "one 2 and tags" and batch.texts()["a/b c.wav"] == "two 0"
        (message,) = caplog.messages
        assert (
            "out/plain.wav: it was changed after it was published: kept" in message and "move or delete it" in message
        )
        assert "--config replace_edited=true" in message
        assert rows["plain.wav"].published_kept == published.EDITED
    (batch.out / "plain.wav").unlink()
    assert batch.publish()["plain.wav"].published_kept is None and batch.texts()["plain.wav"] == "two 2"


def test_an_edit_that_keeps_size_and_time_is_seen(batch: Batch):
    """As tag editors do that keep a file's time: the tags take the place of padding."""
    batch.publish()
    target, info = batch.out / "plain.wav", (batch.out / "plain.wav").stat()
    target.write_text("oNe 2")
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
    batch.finish("two")
    assert batch.publish()["plain.wav"].published_kept and batch.texts()["plain.wav"] == "oNe 2"


def state_of(path: Path) -> tuple[int, int, int, int]:
    """What tells that a name leads to something else, or that it was written; reading it does not change this."""
    info = os.lstat(path)
    return info.st_ino, info.st_mode, info.st_size, info.st_mtime_ns


@pytest.mark.parametrize("kind", ["file", "folder", "link", "broken link", "its folder"])
def test_what_was_never_published_is_kept_and_named(batch: Batch, caplog: pytest.LogCaptureFixture, kind: str):
    target = batch.out / "a/b c.wav"
    if kind == "its folder":
        batch.out.mkdir()
        target = target.parent
        target.write_text("mine")
    else:
        target.parent.mkdir(parents=True)
    if kind == "file":
        target.write_text("mine")
    elif kind == "folder":
        target.mkdir()
    elif kind != "its folder":
        Path("mine").write_text("mine") if kind == "link" else None
        target.symlink_to(Path("mine").resolve())
    before = state_of(target)
    row = batch.publish()["a/b c.wav"]
    assert state_of(target) == before and row.published_kept and "a/b c.wav" in caplog.text
    assert os.path.lexists(row.published), "so that the next run has nothing to do"
    assert batch.texts()["plain.wav"] == "one 2"


def test_ours_is_taken_where_it_is_asked_for(batch: Batch, caplog: pytest.LogCaptureFixture):
    batch.out.mkdir()
    (batch.out / "plain.wav").write_text("mine")
    rows = batch.publish(replace_edited=True)
    assert batch.texts()["plain.wav"] == "one 2" and rows["plain.wav"].published_kept is None
    assert "out/plain.wav: it is not a file that was published here: replaced, as asked for" in caplog.text


@pytest.mark.parametrize("options", [{}, {"replace_edited": True}])
@pytest.mark.parametrize("output", ["in", "in/clean", "link", "linked"])
def test_no_recording_of_the_input_is_ever_replaced(batch: Batch, options: dict, output: str):
    for name in NAMES:
        (batch.folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (batch.folder / "in" / name).write_text("the original")
    Path("link").symlink_to("in")
    Path("linked").mkdir()
    Path("linked/a").symlink_to(batch.folder / "in/a")
    batch.out = Path(output)
    with pytest.raises(AudioRestorerError, match="choose another output folder"):
        batch.publish(**options)
    assert {(batch.folder / "in" / name).read_text() for name in NAMES} == {"the original"}
    assert len([path for path in Path("in").rglob("*") if path.is_file()]) == len(NAMES), "and nothing lies beside them"


def test_outputs_of_an_earlier_version_are_links_and_become_files(batch: Batch):
    """There is no ledger of these; one is of older settings, which the store still has, one was edited, and the store with it."""
    for name in NAMES:
        (batch.out / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(str({row.output: row for row in read_manifest("m.jsonl")}[name].path), batch.out / name)
    batch.publish()
    assert all(path.stat().st_nlink == 1 for path in batch.out.rglob("*.wav")) and batch.texts()["plain.wav"] == "one 2"
    shutil.rmtree("ledger")
    batch.finish("two")
    (batch.out / "plain.wav").write_text("edited")
    rows = batch.publish()
    assert batch.texts() == {"a/b c.wav": "two 0", "plain.wav": "edited", "ünï/$(touch x).wav": "two 1"}
    assert rows["plain.wav"].published_kept == published.FOREIGN


def test_a_job_killed_before_the_rename_or_after_leaves_nothing_that_looks_like_a_stranger_s(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
):
    batch.publish()
    batch.finish("two")
    replace = os.replace

    def killed(source: object, target: object) -> None:
        if str(target).endswith(".wav"):
            if after:
                replace(source, target)  # type: ignore[arg-type]
            raise KeyboardInterrupt
        replace(source, target)  # type: ignore[arg-type]

    for after in (False, True):
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                batch.publish()
        shutil.rmtree("store/loudness")  # pruned meanwhile: only the records tell
        batch.finish(f"three {after}")
        rows = batch.publish()
        assert not any(row.published_kept for row in rows.values())
        batch.finish("two")
    assert not list(batch.out.rglob(".*"))


@pytest.mark.parametrize("harm", ["{", "", '{"output": 1}', "gone"])
def test_a_damaged_ledger_costs_nothing(batch: Batch, harm: str):
    batch.publish()
    for path in Path("ledger").glob("*.json"):
        path.unlink() if harm == "gone" else path.write_text(harm)
    before = batch.states()
    assert not any(row.published_kept for row in batch.publish().values()) and batch.states() == before
    assert len(list(published.Ledger(Path("ledger")).records())) == len(NAMES)


def test_a_moved_or_copied_project_is_known_by_content(batch: Batch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    batch.publish()
    shutil.copytree(tmp_path, tmp_path / "copy", copy_function=shutil.copyfile)  # as cp -r: other times
    monkeypatch.chdir(tmp_path / "copy")
    batch.finish("two")
    assert not any(row.published_kept for row in batch.publish().values())
    assert set(batch.texts().values()) == {"two 0", "two 1", "two 2"}


def test_another_input_s_file_of_the_same_name_is_replaced_with_a_word(batch: Batch, caplog: pytest.LogCaptureFixture):
    batch.publish()
    batch.finish("two", ["plain.wav"])
    batch.publish(source=Path("other"))
    assert "out/plain.wav: what was made of plain.wav in in: replaced" in caplog.text


def test_damage_of_the_store_does_not_take_the_output_along(batch: Batch):
    rows = batch.publish()
    Path(str(rows["plain.wav"].path)).write_text("damaged")
    with pytest.raises(AudioRestorerError, match="1 files are damaged"):
        batch.publish()
    assert batch.texts()["plain.wav"] == "one 2"


def test_a_copy_shares_blocks_where_the_file_system_can_and_is_plain_where_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a").write_bytes(bytes(100_000))
    asked = []

    def ioctl(target: int, request: int, source: int) -> int:
        asked.append(request)
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(store.fcntl, "ioctl", ioctl)
    assert store.copied(tmp_path / "a", tmp_path / "b") is False
    assert asked == [0x40049409] and (tmp_path / "b").read_bytes() == bytes(100_000)

    def clone(target: int, request: int, source: int) -> int:
        return os.write(target, os.pread(source, 1 << 20, 0)) * 0

    monkeypatch.setattr(store.fcntl, "ioctl", clone)
    monkeypatch.setattr(store.shutil, "copyfile", lambda *_: pytest.fail("copied"))
    assert store.copied(tmp_path / "a", tmp_path / "c") is True and (tmp_path / "c").read_bytes() == bytes(100_000)


@pytest.mark.parametrize("name", ["../x.wav", "/tmp/x.wav", "a/../../x.wav"])
def test_nothing_is_written_outside(tmp_path, name):
    with pytest.raises(AudioRestorerError, match="outside"):
        inside(tmp_path, name)


def test_sweep_deletes_store_files_only(batch: Batch, tmp_path: Path):
    outside = tmp_path / "input.wav"
    outside.write_text("mine")
    inside = tmp_path / "store" / "fuse" / "cd" / "cd1.speech.wav"
    inside.parent.mkdir(parents=True)
    inside.write_text("temporary")
    inside.with_name("cd1.json").write_text("{}")
    rows = [Item(id="x", noisy="x", path=str(outside)), Item(id="y", noisy="y", path=str(inside))]
    write_manifest("fuse.jsonl", rows)
    publish.run(Path("m.jsonl"), Path("p.jsonl"), batch.out, [Path("fuse.jsonl")], Path("store"))
    assert outside.exists() and not inside.exists() and not inside.with_name("cd1.json").exists()
    assert (batch.out / "plain.wav").exists()


def test_sweep_spares_the_decoded_recording_that_a_stage_left_as_it_was(batch: Batch, tmp_path: Path):
    decoded = tmp_path / "store" / "ingest" / "cd" / "cd1.decoded.wav"
    decoded.parent.mkdir(parents=True)
    decoded.write_text("samples of an MP3")
    rows = [row.updated(noisy=str(decoded)) if row.id == "i2" else row for row in read_manifest("m.jsonl")]
    write_manifest("m.jsonl", rows)
    write_manifest("declip.jsonl", [Item(id="i2", noisy=str(decoded), path=str(decoded))])
    publish.run(Path("m.jsonl"), Path("p.jsonl"), batch.out, [Path("declip.jsonl")], Path("store"))
    assert decoded.exists(), "the figures are measured on it"
