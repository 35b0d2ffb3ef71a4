import os
import shutil
import subprocess
from pathlib import Path

import pytest

from audiorestorer import store as store_module
from audiorestorer.errors import AudioRestorerError
from audiorestorer.store import Source, Store, key_of


def put(store: Store, key: str, text: str = "sound"):
    with store.scratch() as scratch:
        (scratch / "x").write_text(text)
        return store.put(key, {"vocals.wav": scratch / "x"}, {"gain_db": 1})


def test_round_trip_and_key():
    assert key_of(a=1, b=[2]) == key_of(b=[2], a=1) != key_of(a=1, b=[3])


def test_entry_comes_back(tmp_path):
    store = Store(tmp_path, "fuse")
    key = key_of(x=1)
    assert store.get(key) is None
    put(store, key)
    entry = store.get(key)
    assert entry and entry.row == {"gain_db": 1} and entry.files["vocals.wav"].read_text() == "sound"
    assert list(store.keys()) == [key] and store.damaged(key) is None


def test_nothing_stays_behind_but_the_entry(tmp_path):
    store = Store(tmp_path, "fuse")
    put(store, key_of(x=1))
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 2


def test_exception_while_making_leaves_nothing(tmp_path):
    store = Store(tmp_path, "fuse")
    with pytest.raises(ValueError), store.scratch() as scratch:
        (scratch / "x").write_text("half")
        raise ValueError
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@pytest.mark.parametrize("harm", ["json", "file", "short"])
def test_damaged_entries_do_not_count(tmp_path, harm):
    store = Store(tmp_path, "fuse")
    key = key_of(x=1)
    entry = put(store, key)
    path = entry.files["vocals.wav"]
    if harm == "json":
        path.with_name(f"{key}.json").write_text('{"files": ')
    elif harm == "file":
        path.unlink()
    else:
        path.write_text("so")
    assert store.get(key) is None
    put(store, key)
    assert store.get(key) is not None


def test_an_entry_that_another_program_changes_as_it_is_written_is_one_message(tmp_path, monkeypatch):
    """Met by the fault campaign: an assertion failed, and the message was empty."""
    store, key = Store(tmp_path, "fuse"), key_of(x=1)
    write = store_module.write_text_atomic

    def written_and_damaged(path, text):
        write(path, text)
        next(Path(path).parent.glob("*vocals.wav")).unlink()

    monkeypatch.setattr(store_module, "write_text_atomic", written_and_damaged)
    with pytest.raises(AudioRestorerError, match=rf"{key}\.json: something else changed .* run the same command again"):
        put(store, key)


def test_changed_content_of_the_same_size_is_found(tmp_path):
    store = Store(tmp_path, "fuse")
    key = key_of(x=1)
    path = put(store, key).files["vocals.wav"]
    times = path.stat()
    path.write_text("sOund")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert store.get(key) is None and "content changed" in (store.damaged(key) or "")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as bit rot leaves it: only reading finds it
    assert store.get(key) is not None and "content changed" in (store.damaged(key) or "")


@pytest.mark.skipif(shutil.which("mkfs.btrfs") is None or os.geteuid() != 0, reason="needs mkfs.btrfs and root")
def test_a_copy_on_btrfs_shares_its_blocks_and_is_a_file_of_its_own(tmp_path):
    disk, folder = tmp_path / "disk", tmp_path / "mounted"
    with open(disk, "wb") as file:
        file.truncate(200_000_000)
    folder.mkdir()
    subprocess.run(["mkfs.btrfs", "-q", disk], check=True)
    if subprocess.run(["mount", "-o", "loop", disk, folder], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        content = os.urandom(20_000_000)
        (folder / "a").write_bytes(content)
        os.sync()
        before = shutil.disk_usage(folder).used
        store_module.place(folder / "a", folder / "b")
        os.sync()
        assert shutil.disk_usage(folder).used - before < 2_000_000
        with open(folder / "b", "r+b") as file:
            file.write(b"tags")
        assert (folder / "a").read_bytes() == content and not (folder / "a").samefile(folder / "b")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_an_entry_knows_the_recording_that_it_was_made_from(tmp_path):
    store, key = Store(tmp_path, "fuse"), key_of(x=1)
    put(store, key)
    assert store.get(key) is not None and store.source_of(key) is None, "as entries of earlier versions are"
    with store.scratch() as scratch:
        (scratch / "x").write_text("sound")
        store.put(key, {"vocals.wav": scratch / "x"}, {}, Source("ab12", ("a.wav", "a")))
    assert store.source_of(key) == Source("ab12", ("a", "a.wav")) and store.get(key) is not None
    record = next(tmp_path.rglob("*.json"))
    record.write_text(record.read_text().replace("ab12", "ab13"))
    assert store.get(key) is None


def test_a_copied_store_is_hashed_once_and_then_believed(tmp_path):
    store = Store(tmp_path, "fuse")
    key = key_of(x=1)
    path = put(store, key).files["vocals.wav"]
    written = path.stat().st_mtime_ns
    os.utime(path)
    assert store.get(key) is not None and path.stat().st_mtime_ns == written


def test_a_changed_figure_in_a_record_is_noticed(tmp_path):
    store = Store(tmp_path, "fuse")
    key = key_of(x=1)
    put(store, key)
    record = next(tmp_path.rglob("*.json"))
    record.write_text(record.read_text().replace('"gain_db": 1', '"gain_db": 7'))
    assert store.get(key) is None


def test_a_second_put_of_the_same_content_leaves_the_file_to_who_reads_it(tmp_path):
    """Met by the fault campaign: of two runs on one folder, one saw its input replaced by the other's, and threw the entry away."""
    store, key = Store(tmp_path, "fuse"), key_of(x=1)
    path = put(store, key).files["vocals.wav"]
    before = path.stat()
    again = put(store, key)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert again == store.get(key) and store.damaged(key) is None
