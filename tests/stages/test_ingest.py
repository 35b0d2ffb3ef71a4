import numpy as np
import pytest
import soundfile as sf

from audiorestorer import audio
from audiorestorer.config import Config
from audiorestorer.errors import AudioRestorerError
from audiorestorer.stages import ingest


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


def test_output_names_never_collide():
    names = ingest.output_names(["x.wav", "x.flac", "x.mp3", "d/x.ogg", "X.WAV"], "keep")
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
    before = ingest.listing_digest(config)
    sf.write(folder / "new.wav", np.ones((8000, 1)) * 0.1, 16000)
    after = ingest.listing_digest(config)
    assert len({shard for shard in after if after[shard] != before.get(shard)}) == 1
