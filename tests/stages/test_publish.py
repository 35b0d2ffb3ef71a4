import pytest

from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import Item, inside, write_manifest
from audiorestorer.stages import publish

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
