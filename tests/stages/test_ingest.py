import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer import audio
from audiorestorer.config import Config
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import read_json
from audiorestorer.intake import listing as input_listing
from audiorestorer.manifest import write_manifest
from audiorestorer.metrics.context import Context
from audiorestorer.stages import evaluate, ingest
from audiorestorer.stages.batch import collect, left_out


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
    sf.write(root / "many.wav", np.repeat(x.T, 9, 1), 16000)
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
        "many.wav": "9 channels", "cut.wav": "truncated", "cut.flac": "", "text.wav": "not readable",
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
    assert rows["lossy.mp3"].output == "lossy.mp3" and rows["a/b.wav"].output == "a/b.wav"


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
    assert measured.missing["wer_in"] == good.notes["transcript"]


def test_what_is_left_out_reaches_the_metrics_and_the_log(folder, tmp_path, caplog):
    (folder / "v.aax").write_bytes(b"x")
    config = Config(input=str(folder), shards=1, exclude=["skip/*"])
    caplog.set_level("INFO")
    left_out.run(tmp_path / "left_out.json", config)
    log = [record.getMessage() for record in caplog.records]
    rows = rows_of(config, tmp_path)
    write_manifest(tmp_path / "e.jsonl", rows.values())
    collect.run([tmp_path / "e.jsonl"], tmp_path / "m.json", tmp_path / "m.csv", tmp_path / "left_out.json")
    found = read_json(tmp_path / "m.json")["left_out"]
    assert [(entry["kind"], entry["count"], entry["first"]) for entry in found] == [
        ("format", 1, ["v.aax"]),
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
    assert names["x.wav"] == "x.wav" and names["x.flac"] == "x.flac" and names["d/x.ogg"] == "d/x.ogg"
    assert names["x.mp3"] not in ("x.flac", "x.wav")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"input": "nowhere"}, "no such folder"),
        ({"pattern": "*.xyz"}, "no recording matches"),
        ({"references": "nowhere"}, "references: nowhere: no such folder"),
        ({"transcripts": "nowhere.tsv"}, "transcripts: nowhere.tsv: no such file"),
    ],
)
def test_wrong_folders_are_named(folder, tmp_path, values, message):
    with pytest.raises(AudioRestorerError, match=message):
        rows_of(Config(**{"input": str(folder), "shards": 1, **values}), tmp_path)


def test_listing_changes_only_where_a_file_changed(folder):
    config = Config(input=str(folder), shards=50)
    before = input_listing.batch(config).shards(config.shards)
    sf.write(folder / "new.wav", np.ones((8000, 1)) * 0.1, 16000)
    after = input_listing.batch(config).shards(config.shards)
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
    before = input_listing.batch(config).shards(config.shards)
    zip_of(folder, tmp_path / "outputs.zip", ["new.wav"])
    after = input_listing.batch(config).shards(config.shards)
    assert len({shard for shard in after if after[shard] != before.get(shard)}) == 1


def test_names_and_headers_of_an_archive_are_notes_of_its_rows(folder, tmp_path):
    content = bytearray((folder / "good.wav").read_bytes())
    content[40:44] = bytes(4)
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        for name in ("表示.wav", "set\\ソ.wav"):
            archive.writestr(zipfile.ZipInfo(name.encode("cp932").decode("cp437")), bytes(content))
    raw = (tmp_path / "w.zip").read_bytes()
    for name in ("表示.wav", "set\\ソ.wav"):  # Python writes such names as UTF-8, and says so
        raw = raw.replace(name.encode("cp932").decode("cp437").encode(), name.encode("cp932"))
    assert len(raw) < (tmp_path / "w.zip").stat().st_size
    (tmp_path / "w.zip").write_bytes(zip_without_utf8(raw))
    rows = rows_of(Config(input=str(tmp_path / "w.zip"), shards=1), tmp_path)
    assert set(rows) == {"表示.wav", "set/ソ.wav"}
    for row in rows.values():
        note = (row.notes or {})["header"]
        assert row.ok and "read as Shift-JIS" in note and "the file holds 0.500 s" in note


def zip_without_utf8(raw: bytes) -> bytes:
    """The archive with its mark for UTF-8 taken away, and the lengths of its names made right."""
    content, place = bytearray(raw), 0
    starts = []
    while raw[place : place + 4] == b"PK\x03\x04":
        starts.append(place)
        size = int.from_bytes(raw[place + 18 : place + 22], "little")
        end = raw.index(b"RIFF", place)
        content[place + 6 : place + 8] = bytes(2)
        content[place + 26 : place + 28] = (end - place - 30).to_bytes(2, "little")
        place = end + size
    directory = place
    for start in starts:
        length = int.from_bytes(content[start + 26 : start + 28], "little")
        content[place + 8 : place + 10] = bytes(2)
        content[place + 28 : place + 30] = length.to_bytes(2, "little")
        content[place + 42 : place + 46] = start.to_bytes(4, "little")
        place += 46 + length
    content[place + 12 : place + 20] = (place - directory).to_bytes(4, "little") + directory.to_bytes(4, "little")
    return bytes(content)


AAC = b"".join(
    b"\xff\xf1\x50\x80" + bytes([size >> 3, (size & 7) << 5 | 0x1F, 0xFC]) + bytes(size - 7) for size in [300] * 400
)
MISNAMED = {
    "meeting.wav": (AAC, "AAC (ADTS), not WAV: damaged or cut short"),
    "song.mp3": (AAC, "AAC (ADTS), not MP3: damaged or cut short"),
    "radio.mp3": (b"ID3\4\0\0\0\0\0\x10" + bytes(16) + AAC, "AAC (ADTS), not MP3"),
    "voice.mp3": (b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom" + AAC, "M4A (AAC or ALAC in MP4), not MP3"),
    "clip.flac": (b"\x1aE\xdf\xa3\x9fB\x86\x81\1" + AAC, "WebM or Matroska, not FLAC: damaged"),
    "windows.wav": (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + AAC, "WMA (ASF), not WAV"),
    "speex.ogg": (b"OggS\0\2" + bytes(20) + b"\1\x50Speex   1.2" + bytes(100), "Ogg Speex: damaged or cut short"),
    "coded.wav": (b"RIFF\xff\0\0\0WAVEfmt \x12\0\0\0\x61\1\1\0\x80>\0\0\0}\0\0\2\0\x10\0\0\0data\x64\0\0\0" + bytes(100),
                  "WAV whose sound is coded in a way that cannot be read (WMA (code 0x0161))"),
    "error.wav": (b"<!DOCTYPE html><html>404", "a web page (HTML), perhaps an error page of a download, not WAV"),
    "error.mp3": (b'{"error": "expired"}', "JSON text, not MP3"),
    "pointer.flac": (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
    "half.wav": (bytes(9000), "zeros where its header should be"),
    "zeros.mp3": (bytes(9000), "zeros where its header should be"),
    "nothing.wav": (b"", "an empty file (0 bytes)"),
    "packed.wav": (b"PK\3\4" + bytes(99), "a ZIP archive, not WAV: unpack it"),
    "notes.mp3": (b"MThd\0\0\0\6" + bytes(99), "MIDI (notes, no sound), not MP3"),
    "mac.wav": (b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(99), "an AppleDouble file"),
    "random.wav": (np.random.default_rng(0).bytes(50_000), "no format that is known here"),
    "random.mp3": (np.random.default_rng(1).bytes(50_000), "no MPEG audio frames"),
    "head.wav": (b"RIFF\xff\0\0\0WAVEfmt ", "its WAV header or its sound is damaged"),
    "head.flac": (b"fLaC" + bytes(30), "its FLAC header or its sound is damaged"),
    "head.ogg": (b"OggS" + bytes(9), "its Ogg header or its sound is damaged"),
}  # fmt: skip
WORDS_OF_THE_LIBRARY = (
    "Format not recognised",
    "possibly a pipe",
    "Error",
    "error opening",
    "malformed",
    "unimplemented",
    "psf_",
)


def test_what_a_file_really_is_stands_in_its_reason(folder, tmp_path):
    for name, (content, _) in MISNAMED.items():
        (folder / name).write_bytes(content)
    (folder / "flac.wav").write_bytes((folder / "ünï cödé/x y.flac").read_bytes())
    (folder / "wav.mp3").write_bytes((folder / "good.wav").read_bytes())
    sf.write(folder / "opus.ogg", np.random.default_rng(0).normal(0, 0.1, 48_000), 48_000, format="OGG", subtype="OPUS")
    rows = rows_of(Config(input=str(folder), shards=1), tmp_path)
    for name, (_, reason) in MISNAMED.items():
        assert not rows[name].ok and reason in (rows[name].reason or ""), (name, rows[name].reason)
    assert all(rows[name].ok for name in ("flac.wav", "wav.mp3", "opus.ogg")) and rows["opus.ogg"].sr == 48_000
    for row in rows.values():
        assert not any(word in (row.reason or "") for word in WORDS_OF_THE_LIBRARY), row.reason


def test_an_open_header_is_a_note_and_an_empty_file_is_empty(folder, tmp_path):
    content = bytearray((folder / "good.wav").read_bytes())
    content[4:8], content[40:44] = (4088).to_bytes(4, "little"), bytes(4)
    (folder / "crashed.wav").write_bytes(content)
    rows = rows_of(Config(input=str(folder), shards=1), tmp_path)
    assert rows["crashed.wav"].ok and rows["crashed.wav"].duration == 0.5
    assert "it counts 0 bytes of sound, the file holds 0.500 s" in (rows["crashed.wav"].notes or {})["header"]
    assert rows["good.wav"].notes is None and rows["empty.wav"].reason == "ingest: empty: no samples"
    assert "truncated: the header counts 16000 bytes of sound, the file holds 4956" in (rows["cut.wav"].reason or "")
