"""Manifests from stems, folders and pairs: no track in two splits, sums rendered once, leaks found."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.datasets.training_manifest import check_manifest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.stages import build_manifest
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


def test_pairs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        for kind in ("clean", "noisy"):
            path = tmp_path / "db" / kind / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, 0.1 * rng.standard_normal(2 * RATE), RATE)
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
