"""Manifests from stems, folders and pairs: no track in two splits, sums rendered once, leaks found."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.datasets.training_manifest import check_manifest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.stages.training import build_manifest
from tests.datasets.test_stems import NAMES, RATE, write_track


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def musdb(tmp_path: Path) -> Path:
    for number in range(8):
        write_track(tmp_path / "db" / ("test" if number > 5 else "train") / f"t{number}", seed=number)
    return tmp_path / "db"


def test_sums_are_rendered_once_and_equal_numpy(musdb: Path, tmp_path: Path) -> None:
    summary = build_manifest.run(musdb, tmp_path / "out/m.jsonl")
    rows = rows_of(tmp_path / "out/m.jsonl")
    assert list(rows[0])[:6] == ["id", "split", "clean", "noisy", "sr", "duration"]
    assert (
        {row["id"]: row["split"] for row in rows}["test_t6"]
        == "test"
        == {row["id"]: row["split"] for row in rows}["test_t7"]
    )
    assert summary["splits"]["test"] == 2 and summary["splits"]["train"] + summary["splits"]["valid"] == 6
    assert summary["splits"]["valid"] >= 1  # a small set still has one
    for row in rows:
        folder = musdb / ("test" if row["track"] in ("t6", "t7") else "train") / row["track"]
        wanted = sum(sf.read(folder / f"{name}.wav", dtype="float32")[0] for name in NAMES)
        path = tmp_path / "out" / row["clean"]
        assert np.abs(sf.read(path)[0] - wanted).max() < 1e-6 and row["noisy"] is None and row["stems"]
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/clean").iterdir()}
    first = (tmp_path / "out/m.jsonl").read_bytes()
    build_manifest.run(musdb, tmp_path / "out/m.jsonl")
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "out/clean").iterdir()}
    assert first == (tmp_path / "out/m.jsonl").read_bytes()
    assert check_manifest(tmp_path / "out/m.jsonl", sample_rate=RATE)


def test_one_stem_needs_no_copy_and_failed_tracks_are_left_out(musdb: Path, tmp_path: Path) -> None:
    (tmp_path / "audit.csv").write_text("track,subset,status,reasons\nt0,train,failed,residual\nt1,train,ok,\n")
    summary = build_manifest.run(musdb, tmp_path / "o/m.jsonl", target="vocals", audit_csv=tmp_path / "audit.csv")
    rows = rows_of(tmp_path / "o/m.jsonl")
    assert summary["left_out"] == 1 and len(rows) == 7 and not (tmp_path / "o/clean").exists()
    assert all(row["clean"].endswith("vocals.wav") for row in rows) and "t0" not in {row["track"] for row in rows}
    with pytest.raises(AudioRestorerError, match="no stem 'banjo'"):
        build_manifest.run(musdb, tmp_path / "o/m.jsonl", target="banjo")


def test_speakers_go_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(30):
        path = tmp_path / "in" / f"clip{number:02d}.wav"
        path.parent.mkdir(exist_ok=True)
        sf.write(path, 0.1 * rng.standard_normal(2 * RATE), RATE)
    (tmp_path / "who.json").write_text(json.dumps({f"clip{k:02d}": f"s{k % 6}" for k in range(30)}))
    build_manifest.run(
        tmp_path / "in", tmp_path / "m.jsonl", layout="folder", speakers=tmp_path / "who.json", shares=(0.6, 0.2, 0.2)
    )
    places: dict[str, set[str]] = {}
    for row in rows_of(tmp_path / "m.jsonl"):
        places.setdefault(row["speaker"], set()).add(row["split"])
    assert len(places) == 6 and all(len(splits) == 1 for splits in places.values())


def test_a_leak_between_the_data_sets_own_splits_is_an_error(musdb: Path, tmp_path: Path) -> None:
    write_track(musdb / "test/copy", seed=0)  # the content of train/t0
    with pytest.raises(
        AudioRestorerError, match=r"leak between splits: .*copy.*test.*t0.*train.* share content|t0.*copy"
    ):
        build_manifest.run(musdb, tmp_path / "m.jsonl")


def noise_file(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, 0.1 * np.random.default_rng(seed).standard_normal(2 * RATE), RATE)


@pytest.mark.parametrize("seed", range(4))
def test_what_has_no_subset_follows_its_twin_in_the_test_set(tmp_path: Path, seed: int) -> None:
    for number in range(4):
        noise_file(tmp_path / "in" / f"c{number}.wav", number)
    noise_file(tmp_path / "in/test/x.wav", 0)  # c0 once more
    build_manifest.run(tmp_path / "in", tmp_path / "m.jsonl", layout="folder", seed=seed)
    splits = {row["id"]: row["split"] for row in rows_of(tmp_path / "m.jsonl")}
    assert splits["test_x"] == splits["c0"] == "test"


def test_a_leak_between_test_and_valid_is_an_error(tmp_path: Path) -> None:
    for number, name in enumerate(("train/a", "train/b", "test/x", "valid/y")):
        noise_file(tmp_path / "in" / f"{name}.wav", min(number, 2))  # x and y are the same
    with pytest.raises(AudioRestorerError, match=r"x\.wav \(test\) and .*y\.wav \(valid\) share content"):
        build_manifest.run(tmp_path / "in", tmp_path / "m.jsonl", layout="folder")


@pytest.mark.parametrize("first", (0, 100, 200))
def test_one_more_track_of_a_speaker_moves_no_other(tmp_path: Path, first: int) -> None:
    for number in range(12):
        noise_file(tmp_path / "in" / f"c{number:02d}.wav", first + number)
    (tmp_path / "who.json").write_text(json.dumps({f"c{k:02d}": f"s{k % 4}" for k in range(13)}))
    before, after = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    chosen: dict[str, Any] = {"layout": "folder", "speakers": tmp_path / "who.json", "shares": (0.5, 0.4, 0.1)}
    build_manifest.run(tmp_path / "in", before, **chosen)
    noise_file(tmp_path / "in/c12.wav", first + 12)
    build_manifest.run(tmp_path / "in", after, **chosen)
    old, new = ({row["id"]: row["split"] for row in rows_of(path)} for path in (before, after))
    assert len(new) == 13 and old == {name: new[name] for name in old}


def test_silent_stems_are_no_leak(musdb: Path, tmp_path: Path) -> None:
    for track in ("train/t0", "test/t6"):  # instrumentals of equal length
        sf.write(musdb / track / "vocals.wav", np.zeros((2 * RATE, 2)), RATE)
    assert build_manifest.run(musdb, tmp_path / "m.jsonl", target="vocals")["splits"]["test"] == 2


def test_arguments_that_cannot_be_used_are_named(musdb: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    for shares in ((0.0, 0.0, 0.0), (1.0, -0.5, 0.1)):
        with pytest.raises(AudioRestorerError, match="shares"):
            build_manifest.run(musdb, out, shares=shares)
    (tmp_path / "other.csv").write_text("track,ok\nt0,1\n")
    with pytest.raises(AudioRestorerError, match=r"other\.csv: subset, status: no such column"):
        build_manifest.run(musdb, out, audit_csv=tmp_path / "other.csv")
    for text, message in (('{"t0": 3}', "t0: 3 is no speaker's name"), ('{"song": "a"}', "names no track")):
        (tmp_path / "who.json").write_text(text)
        with pytest.raises(AudioRestorerError, match=rf"who\.json: {message}"):
            build_manifest.run(musdb, out, speakers=tmp_path / "who.json")
    assert not out.exists()


def test_a_share_of_zero_stays_empty_and_hidden_files_are_no_recordings(tmp_path: Path) -> None:
    for number in range(6):
        noise_file(tmp_path / "in" / f"c{number}.wav", number)
    (tmp_path / "in/._c0.wav").write_bytes(b"\0\5\x16\7")  # what macOS leaves beside a file
    summary = build_manifest.run(tmp_path / "in", tmp_path / "m.jsonl", layout="folder", shares=(1.0, 0.0, 0.0))
    assert summary["splits"] == {"train": 6, "valid": 0, "test": 0}


@pytest.mark.parametrize("seed", range(8))
def test_two_recordings_are_enough_to_train_and_validate(tmp_path: Path, seed: int) -> None:
    for number in range(2):
        noise_file(tmp_path / "in" / f"c{number}.wav", number)
    build_manifest.run(tmp_path / "in", tmp_path / "m.jsonl", layout="folder", shares=(0.5, 0.5, 0.0), seed=seed)
    assert len(check_manifest(tmp_path / "m.jsonl", splits=("train", "valid"))) == 2


def test_pairs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        for kind in ("clean", "noisy"):
            path = tmp_path / "db" / kind / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, 0.1 * rng.standard_normal(2 * RATE), RATE)
    (tmp_path / "db/noisy/c.wav").rename(tmp_path / "db/noisy/C.WAV")  # found all the same
    build_manifest.run(tmp_path / "db", tmp_path / "m.jsonl", layout="pairs")
    row = rows_of(tmp_path / "m.jsonl")[0]
    assert row["noisy"].endswith("noisy/a.wav") and row["clean"].endswith("clean/a.wav")
    (tmp_path / "db/noisy/b.wav").unlink()
    with pytest.raises(AudioRestorerError, match=r"noisy/b\.wav: the noisy half"):
        build_manifest.run(tmp_path / "db", tmp_path / "m.jsonl", layout="pairs")


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (np.zeros(RATE // 2), "duration: 0.50 s, shorter than 1 s"),
        (np.full(2 * RATE, np.inf), "clean: holds NaN or infinite"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, signal: np.ndarray, message: str) -> None:
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in/x.wav", signal, RATE, subtype="FLOAT")
    with pytest.raises(AudioRestorerError, match=rf"x\.wav: {message}"):
        build_manifest.run(tmp_path / "in", tmp_path / "m.jsonl", layout="folder")
    with pytest.raises(AudioRestorerError, match="no recordings"):
        build_manifest.run(tmp_path / "nowhere", tmp_path / "m.jsonl", layout="folder")


def test_a_stem_one_sample_longer_is_summed(tmp_path: Path) -> None:
    stems = write_track(tmp_path / "db/t")
    write_track(tmp_path / "db/t", drums=np.pad(stems["drums"], ((0, 1), (0, 0))))
    build_manifest.run(tmp_path / "db", tmp_path / "m.jsonl", min_sec=0.5)
    (row,) = rows_of(tmp_path / "m.jsonl")
    found, _ = sf.read(tmp_path / row["clean"], dtype="float32")
    np.testing.assert_allclose(found, sum(stems[name] for name in sorted(NAMES)), atol=1e-6)
