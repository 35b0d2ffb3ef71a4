"""The store's upkeep, and what several jobs and kills do to it: real processes, real SIGKILL."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.stages.batch import store_upkeep
from audiorestorer.stages.shard import Stage, run_items
from audiorestorer.store import Store, join, key_of
from audiorestorer.temporaries import SCRATCH

ROOT = Path(__file__).parents[2]
# A stage whose items take a few ms and whose bytes differ from process to process, as a GPU's may
JOB = """
import os, sys
from pathlib import Path
from audiorestorer.manifest import Item
from audiorestorer.stages.shard import ItemResult, Stage, run_shard

def process(worker, item, scratch):
    with open(scratch / "x", "wb") as file:
        for _ in range(40):
            file.write(os.urandom(1) * 5_000)
            file.flush()
    return ItemResult({"out.bin": scratch / "x"}, {})

stage = Stage(name="slow", settings={}, code="", load=lambda: None, process=process,
              describe=lambda entry, item: item.updated(path=str(entry.files["out.bin"]), sha256=entry.sha256["out.bin"]))
items = [Item(id=f"i{k:02d}", noisy="x", sha256=str(k)) for k in range(30)]
run_shard(stage, items, Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture
def art(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifacts folder with four entries, two of them named by a manifest; the working folder is above it."""
    monkeypatch.chdir(tmp_path)
    store = Store("artifacts/store", "fuse")
    rows = []
    for number in range(4):
        with store.scratch() as scratch:
            (scratch / "x").write_bytes(bytes([number]) * 1000)
            entry = store.put(key_of(n=number), {"speech.wav": scratch / "x"}, {})
        used = time.time() - 86_400 * (10 - number)
        os.utime(store._base(entry.key).with_suffix(".json"), (used, used))
        if number < 2:
            path = str(entry.files["speech.wav"])
            rows.append(Item(id=f"i{number}", noisy="in.wav", path=path, stems={"vocals": path}))
    write_manifest("artifacts/manifests/fuse/0.jsonl", rows)
    write_manifest("artifacts/manifests/fuse/1.jsonl", [Item(id="other", noisy="in.wav", path="in.wav")])
    return tmp_path / "artifacts"


def keys(art: Path) -> list[int]:
    """The numbers of the entries that are left."""
    return [n for n in range(4) if Store(art / "store", "fuse").get(key_of(n=n))]


def test_stats_counts_entries_bytes_and_what_is_in_use(art):
    lines = store_upkeep.stats(Path("artifacts/store")).splitlines()
    fuse = next(line for line in lines if line.startswith("fuse")).split()
    assert fuse[1] == "4" and float(fuse[2]) == pytest.approx(2 * float(fuse[3]), abs=0.1)


def test_prune_deletes_the_longest_unused_first_and_never_what_a_manifest_names(art):
    size = store_upkeep.contents(art / "store").size
    assert "0 entries" in store_upkeep.prune(Path("artifacts/store"), size, 24)
    store_upkeep.prune(Path("artifacts/store"), size - 1, 24)
    assert keys(art) == [0, 1, 3]
    text = store_upkeep.prune(Path("artifacts/store"), 0, 24)
    assert keys(art) == [0, 1] and "manifests name it" in text


def test_prune_leaves_what_was_used_lately(art):
    path = art / "store/fuse"
    for file in path.glob("??/*.json"):
        os.utime(file)
    store_upkeep.prune(Path("artifacts/store"), 0, 24)
    assert keys(art) == [0, 1, 2, 3]


def test_a_hit_counts_as_use(art):
    stage = Stage("fuse", None, "", lambda: None, lambda *_: pytest.fail("computed again"), lambda entry, item: item)
    stage.key = lambda item: key_of(n=2)  # type: ignore[method-assign]
    run_items(stage, [Item(id="x", noisy="x")], art / "store")
    store_upkeep.prune(Path("artifacts/store"), 3 * 1500, 24)
    assert keys(art) == [0, 1, 2]


def test_prune_removes_what_killed_jobs_left_but_not_what_one_may_be_writing(art):
    old, new = art / "store/fuse/.tmp-old", art / f"store/fuse/{SCRATCH}new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "half.wav").write_bytes(b"x" * 500)
    orphan = art / "store/fuse/ab/ab12.01234567.speech.wav"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"x")
    for path in (old, orphan):
        os.utime(path, (1, 1))
    store_upkeep.prune(Path("artifacts/store"), 10**9, 24)
    assert not old.exists() and not orphan.exists() and new.exists() and keys(art) == [0, 1, 2, 3]


@pytest.mark.parametrize("harm", ["flip", "delete", "json", "short"])
def test_verify_finds_damage_and_deletes_the_manifests_that_name_it(art, harm):
    entry = Store(art / "store", "fuse").get(key_of(n=1))
    assert entry
    path = entry.files["speech.wav"]
    if harm == "flip":
        path.write_bytes(b"\xff" * 1000)
    elif harm == "delete":
        path.unlink()
    elif harm == "short":
        path.write_bytes(b"\x01" * 10)
    else:
        next(path.parent.glob(f"{entry.key}.json")).write_text("{")
    damaged, manifests = store_upkeep.verify(Path("artifacts/store"))
    assert len(damaged) == 1 and entry.key in damaged[0]
    assert [path.name for path in manifests] == ["0.jsonl"] and (art / "manifests/fuse/1.jsonl").exists()
    assert keys(art) == [0, 2, 3]
    assert store_upkeep.verify(Path("artifacts/store")) == ([], [])


def test_verify_deletes_a_manifest_that_cannot_be_read(art):
    (art / "manifests/fuse/1.jsonl").write_bytes(b"\0\0\0\n")
    assert [path.name for path in store_upkeep.verify(Path("artifacts/store"))[1]] == ["1.jsonl"]


def test_a_run_at_work_keeps_both_out(art):
    with open(art / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for call in (
            lambda: store_upkeep.verify(Path("artifacts/store")),
            lambda: store_upkeep.prune(Path("artifacts/store"), 0, 0),
        ):
            with pytest.raises(AudioRestorerError, match="a run is working"):
                call()


def test_what_another_folder_s_run_names_stays(art, tmp_path, monkeypatch):
    """A second workflow folder that shares the store through a link, by its own relative paths."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "shared").symlink_to(art / "store")
    monkeypatch.chdir(other)
    join("shared", "artifacts")
    entry = Store("shared", "fuse").get(key_of(n=3))
    assert entry
    write_manifest("artifacts/manifests/fuse/0.jsonl", [Item(id="a", noisy="x", path=str(entry.files["speech.wav"]))])
    monkeypatch.chdir(tmp_path)
    store_upkeep.prune(Path("artifacts/store"), 0, 0)
    assert keys(art) == [0, 1, 3]
    entry.files["speech.wav"].unlink() if entry.files["speech.wav"].is_absolute() else (
        other / entry.files["speech.wav"]
    ).unlink()
    assert store_upkeep.verify(Path("artifacts/store"))[1] == [other / "artifacts/manifests/fuse/0.jsonl"]


def start(manifest: Path, store: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(manifest), str(store)], cwd=ROOT, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def whole(store: Path) -> int:
    """How many entries there are; none is damaged."""
    entries = Store(store, "slow")
    keys = list(entries.keys())
    assert [entries.damaged(key) for key in keys] == [None] * len(keys)
    return len(keys)


def test_two_jobs_on_one_store_make_one_whole_store(tmp_path):
    """Both make the same items, with other bytes: each entry is one of the two, and what each manifest names is there."""
    jobs = [start(tmp_path / f"{k}.jsonl", tmp_path / "store") for k in range(2)]
    for job in jobs:
        _, text = job.communicate()
        assert job.returncode == 0, text.decode()
    assert whole(tmp_path / "store") == 30
    for k in range(2):
        for row in read_manifest(tmp_path / f"{k}.jsonl"):
            assert row.path and hashlib.sha256(Path(row.path).read_bytes()).hexdigest() == row.sha256


@pytest.mark.parametrize("seed", range(3))
def test_killed_jobs_leave_neither_locks_nor_damage(tmp_path, seed):
    rng = random.Random(seed)
    store = tmp_path / "store"
    for _ in range(6):
        jobs = [start(tmp_path / f"{k}.jsonl", store) for k in range(2)]
        before = len(list(store.glob("slow/??/*.json")))
        deadline = time.monotonic() + 60
        while len(list(store.glob("slow/??/*.json"))) < min(30, before + 1) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.02)
        os.killpg(jobs[0].pid, signal.SIGKILL)
        os.killpg(jobs[1].pid, signal.SIGKILL)
        for job in jobs:
            job.communicate()
        whole(store)
    kept = {path: path.stat().st_mtime_ns for path in store.glob("slow/??/*.json")}
    last = start(tmp_path / "0.jsonl", store)
    assert last.wait(60) == 0 and len(read_manifest(tmp_path / "0.jsonl")) == 30
    assert whole(store) == 30 and {path: path.stat().st_mtime_ns for path in kept} == kept
    store_upkeep.prune(store, 10**9, 0)
    left = [
        path
        for path in store.rglob("*")
        if path.is_file() and path.name.startswith(".") or path.name.startswith(SCRATCH)
    ]
    assert not left and json.loads(next(iter(kept)).read_text())["files"]
