import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer import audio
from audiorestorer import listing as input_listing
from audiorestorer.config import Config
from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import read_json, write_manifest
from audiorestorer.metrics.context import Context
from audiorestorer.stages import collect, evaluate, ingest, left_out


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "input"
    x = np.random.default_rng(0).normal(0, 0.1, (1, 8000)).astype(np.float32)
    for name in ("good.wav", "a/b.wav", "a_b.wav", "ünï cödé/x y.flac", "skip/me.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(root / name, x.T, 16000)
    sf.write(root / "lossy.mp3", x.T, 16000)
    sf.write(root / "silent.wav", np.zeros((8000, 1)), 16000)
    sf.write(root / "short.wav", x.T[:100], 16000)
    sf.write(root / "empty.wav", x.T[:0], 16000)
    bad = x.T.copy()
    bad[77] = np.nan
    sf.write(root / "nan.wav", bad, 16000, subtype="FLOAT")
    sf.write(root / "many.wav", np.repeat(x.T, 6, 1), 16000)
    (root / "cut.wav").write_bytes((root / "good.wav").read_bytes()[:5000])
    (root / "cut.flac").write_bytes((root / "ünï cödé/x y.flac").read_bytes()[:3000])
    (root / "text.wav").write_text("hello")
    (root / "notes.txt").write_text("no audio")
    (root / ".hidden.wav").write_text("left out")
    (tmp_path / "secret.wav").write_bytes((root / "good.wav").read_bytes())
    (root / "link.wav").symlink_to(tmp_path / "secret.wav")
    return root


def rows_of(config, tmp_path, **kwargs):
    rows = {}
    for shard in range(config.shards):
        for row in ingest.run(tmp_path / f"m{shard}.jsonl", config, shard, tmp_path / "store", **kwargs):
            rows[row.relative] = row
    return rows


def test_every_file_is_a_row_and_bad_ones_say_why(folder, tmp_path):
    rows = rows_of(Config(input=str(folder), shards=3, exclude=["skip/*"]), tmp_path)
    reasons = {
        "silent.wav": "silent", "short.wav": "too short", "empty.wav": "empty", "nan.wav": "NaN",
        "many.wav": "6 channels", "cut.wav": "truncated", "cut.flac": "", "text.wav": "not readable",
        "link.wav": "a link out of the input folder",
    }  # fmt: skip
    good = {"good.wav", "a/b.wav", "a_b.wav", "ünï cödé/x y.flac", "lossy.mp3"}
    assert set(rows) == good | set(reasons)
    for name in good:
        assert rows[name].ok, rows[name].reason
        assert rows[name].sr == 16000 and rows[name].channels == 1 and rows[name].sha256 == rows[name].noisy_sha256
    for name, reason in reasons.items():
        assert not rows[name].ok and reason in (rows[name].reason or ""), (name, rows[name].reason)
    assert len({row.id for row in rows.values()}) == len(rows)
    assert rows["lossy.mp3"].output == "lossy.flac" and rows["a/b.wav"].output == "a/b.wav"


def test_an_unchanged_file_is_not_read_again(folder, tmp_path, monkeypatch):
    config = Config(input=str(folder), shards=1)
    rows_of(config, tmp_path)
    monkeypatch.setattr(audio, "blocks", lambda *a, **k: pytest.fail("read again"))
    monkeypatch.setattr(ingest, "_reject_misleading", lambda *a: None)
    for name in ("silent.wav", "short.wav", "nan.wav", "cut.wav", "cut.flac"):
        (folder / name).unlink()
    assert rows_of(config, tmp_path)["good.wav"].ok


def test_companions_beside_the_input(folder, tmp_path):
    clean = tmp_path / "clean"
    clean.mkdir()
    (clean / "good.flac").write_bytes((folder / "ünï cödé/x y.flac").read_bytes())
    (tmp_path / "transcripts.tsv").write_text('path\ttranscript\tvoice\tsnr_db\ngood.wav\tHello "there"\tslt\t5\n')
    row = rows_of(Config(input=str(folder), shards=1), tmp_path)["good.wav"]
    assert row.clean == str(clean / "good.flac") and row.clean_sha256
    assert row.transcript == 'Hello "there"' and row.conditions == {"voice": "slt", "snr_db": "5"}


def test_partners_that_contradict_each_other_are_a_note_and_the_reason_of_the_figure(folder, tmp_path):
    (tmp_path / "transcripts.tsv").write_text(
        "path\ttranscript\tvoice\ngood.wav\tone\tslt\n./good.wav\ttwo\tslt\na_b\tx\n"
    )
    for name in ("LOSSY.mp3", "Lossy.mp3"):
        (tmp_path / "clean").mkdir(exist_ok=True)
        (tmp_path / "clean" / name).write_bytes((folder / "lossy.mp3").read_bytes())
    rows = rows_of(Config(input=str(folder), shards=1), tmp_path)
    good = rows["good.wav"]
    assert good.transcript is None and good.conditions == {"voice": "slt"} and rows["a_b.wav"].transcript == "x"
    assert good.notes == {"transcript": "no transcript: two different ones in transcripts.tsv, lines 2 and 3"}
    assert rows["lossy.mp3"].notes == {"reference": "no reference: LOSSY.mp3 and Lossy.mp3 fit its name alike"}
    (measured,) = evaluate.measure_group("wer", [good], tmp_path / "store", Context())
    assert measured.field("missing")["wer_in"] == good.notes["transcript"]


def test_what_is_left_out_reaches_the_metrics_and_the_log(folder, tmp_path, caplog):
    (folder / "v.m4a").write_bytes(b"x")
    config = Config(input=str(folder), shards=1, exclude=["skip/*"])
    caplog.set_level("INFO")
    left_out.run(tmp_path / "left_out.json", config)
    log = [record.getMessage() for record in caplog.records]
    rows = rows_of(config, tmp_path)
    write_manifest(tmp_path / "e.jsonl", rows.values())
    collect.run([tmp_path / "e.jsonl"], tmp_path / "m.json", tmp_path / "m.csv", tmp_path / "left_out.json")
    found = read_json(tmp_path / "m.json")["left_out"]
    assert [(entry["kind"], entry["count"], entry["first"]) for entry in found] == [
        ("format", 1, ["v.m4a"]),
        ("other", 1, ["notes.txt"]),
    ]
    assert [f"left out: {entry['text']}" for entry in found] == log[:2] and log[
        2
    ] == "1 recording does not match pattern and exclude (skip/me.wav)"
    collect.run([tmp_path / "e.jsonl"], tmp_path / "m.json", tmp_path / "m.csv")
    assert read_json(tmp_path / "m.json")["left_out"] == []


def test_output_names_never_collide():
    names = input_listing.output_names(["x.wav", "x.flac", "x.mp3", "d/x.ogg", "X.WAV"], "keep")
    assert len({name.casefold() for name in names.values()}) >= 4
    assert names["x.wav"] == "x.wav" and names["x.flac"] == "x.flac" and names["d/x.ogg"] == "d/x.flac"
    assert names["x.mp3"] not in ("x.flac", "x.wav")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"input": "nowhere"}, "no such folder"),
        ({"pattern": "*.xyz"}, "no WAV, FLAC, OGG or MP3 file matches"),
        ({"references": "nowhere"}, "references: nowhere: no such folder"),
        ({"transcripts": "nowhere.tsv"}, "transcripts: nowhere.tsv: no such file"),
    ],
)
def test_wrong_folders_are_named(folder, tmp_path, values, message):
    with pytest.raises(AudioRestorerError, match=message):
        rows_of(Config(**{"input": str(folder), "shards": 1, **values}), tmp_path)


def test_listing_changes_only_where_a_file_changed(folder):
    config = Config(input=str(folder), shards=50)
    before = input_listing.listing(config)
    sf.write(folder / "new.wav", np.ones((8000, 1)) * 0.1, 16000)
    after = input_listing.listing(config)
    assert len({shard for shard in after if after[shard] != before.get(shard)}) == 1


def zip_of(folder, path, hostile=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.is_symlink():
                archive.write(file, file.relative_to(folder))
        for name in hostile:
            archive.write(folder / "good.wav", name)
    return path


def test_a_zip_gives_the_rows_that_its_folder_gives(folder, tmp_path):
    archive = zip_of(folder, tmp_path / "outputs.zip", ["../out.wav", "__MACOSX/._good.wav"])
    plain = rows_of(Config(input=str(folder), shards=3), tmp_path)
    rows = rows_of(Config(input=str(archive), shards=3), tmp_path)
    bad = rows.pop("../out.wav")
    assert not bad.ok and "../out.wav: its path leads out" in (bad.reason or "") and bad.output is None
    assert set(rows) == set(plain) - {"link.wav"}  # a zip has no links
    for name, row in rows.items():
        assert (row.id, row.status, row.output, row.sha256) == (
            plain[name].id,
            plain[name].status,
            plain[name].output,
            plain[name].sha256,
        )
        if row.ok:
            assert Path(row.noisy).is_relative_to(tmp_path / "store") and row.noisy == row.path
            assert Path(row.noisy).read_bytes() == (folder / name).read_bytes()
    assert not (tmp_path / "out.wav").exists() and not (tmp_path.parent / "out.wav").exists()


def test_a_member_more_unpacks_one(folder, tmp_path):
    config = Config(input=str(zip_of(folder, tmp_path / "outputs.zip")), shards=1)
    rows_of(config, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.input.*")}
    zip_of(folder, tmp_path / "outputs.zip", ["new.wav"])
    rows_of(config, tmp_path)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.input.*")}
    assert len(before) == 6 and len(after) == 7 and before.items() <= after.items()


def test_listing_of_a_zip_changes_only_where_a_member_changed(folder, tmp_path):
    config = Config(input=str(zip_of(folder, tmp_path / "outputs.zip")), shards=50)
    before = input_listing.listing(config)
    zip_of(folder, tmp_path / "outputs.zip", ["new.wav"])
    after = input_listing.listing(config)
    assert len({shard for shard in after if after[shard] != before.get(shard)}) == 1
