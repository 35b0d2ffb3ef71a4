import subprocess
import zipfile

import pytest

from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, inside, write_manifest
from audiorestorer.stages import deliver, publish

NAMES = ["a/b c.wav", "ünï/$(touch x).wav", "plain.wav"]


@pytest.fixture
def manifest(tmp_path):
    rows = [Item(id="bad", noisy="bad.wav", status="rejected", reason="empty")]
    for number, name in enumerate(NAMES):
        path = tmp_path / "store" / "loudness" / "ab" / f"ab{number}.output.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"sound %d" % number)
        rows.append(Item(id=f"i{number}", noisy=name, output=name, path=str(path)))
    write_manifest(tmp_path / "m.jsonl", rows)
    return tmp_path / "m.jsonl"


def test_the_tree_is_mirrored_and_mended(manifest, tmp_path):
    out = tmp_path / "out"
    publish.run(manifest, tmp_path / "p.jsonl", out, [], tmp_path / "store")
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()) == sorted(NAMES)
    (out / "plain.wav").unlink()
    (out / "a/b c.wav").unlink()
    (out / "a/b c.wav").write_text("somebody's edit")
    publish.run(manifest, tmp_path / "p.jsonl", out, [], tmp_path / "store")
    assert (out / "plain.wav").read_bytes() == b"sound 2" and (out / "a/b c.wav").read_bytes() == b"sound 0"


@pytest.mark.parametrize("name", ["../x.wav", "/tmp/x.wav", "a/../../x.wav"])
def test_nothing_is_written_outside(tmp_path, name):
    with pytest.raises(AudioRestorerError, match="outside"):
        inside(tmp_path, name)


def test_sweep_deletes_store_files_only(manifest, tmp_path):
    outside = tmp_path / "input.wav"
    outside.write_text("mine")
    inside = tmp_path / "store" / "fuse" / "cd" / "cd1.speech.wav"
    inside.parent.mkdir(parents=True)
    inside.write_text("temporary")
    inside.with_name("cd1.json").write_text("{}")
    rows = [Item(id="x", noisy="x", path=str(outside)), Item(id="y", noisy="y", path=str(inside))]
    write_manifest(tmp_path / "fuse.jsonl", rows)
    publish.run(manifest, tmp_path / "p.jsonl", tmp_path / "out", [tmp_path / "fuse.jsonl"], tmp_path / "store")
    assert outside.exists() and not inside.exists() and not inside.with_name("cd1.json").exists()
    assert (tmp_path / "out" / "plain.wav").exists()


def test_zip_is_reproducible_and_its_checksums_hold(manifest, tmp_path):
    extra = tmp_path / "summary.md"
    extra.write_text("# summary")
    deliver.run([manifest], tmp_path / "a.zip", [extra], "cleaned")
    deliver.run([manifest], tmp_path / "b.zip", [extra], "cleaned")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    zipfile.ZipFile(tmp_path / "a.zip").extractall(tmp_path / "x")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "x/cleaned", capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": OK") == 4, done.stdout + done.stderr


def test_deliver_names_what_is_missing(manifest, tmp_path):
    (tmp_path / "store/loudness/ab/ab1.output.wav").unlink()
    with pytest.raises(AudioRestorerError, match="ab1"):
        deliver.run([manifest], tmp_path / "a.zip", [], "cleaned")
    assert not (tmp_path / "a.zip").exists()
