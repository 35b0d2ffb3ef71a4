"""Training manifests: every fault is named with line, field and file before anything is trained."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.datasets.training_manifest import check_manifest, check_noise_manifest
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_rows

RATE = 8000


def write(folder: Path, *changes: dict[str, Any]) -> Path:
    """A manifest of two good rows (train, valid), with changes to the first."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        sf.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(2 * RATE), RATE)
    rows: list[dict[str, Any]] = [
        {"id": name, "split": split, "clean": f"{name}.wav", "noisy": None, "sr": RATE, "duration": 2.0, "mood": "fine"}
        for name, split in (("a", "train"), ("b", "valid"))
    ]
    for change in changes:
        rows[0].update(change)
    path = folder / "m.jsonl"
    path.write_text("".join(json.dumps({k: v for k, v in row.items() if v != "LEAVE OUT"}) + "\n" for row in rows))
    return path


def test_a_good_manifest_is_read(tmp_path: Path) -> None:
    rows = check_manifest(write(tmp_path), sample_rate=RATE)
    assert [row.id for row in rows] == ["a", "b"] and rows[0].clean_path(tmp_path) == tmp_path / "a.wav"
    assert rows[0].noisy_path(tmp_path) is None and rows[0].model_extra == {"mood": "fine"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clean": "gone.wav"}, r"line 1 \(a\): clean: .*gone\.wav: No such file"),
        ({"clean": "LEAVE OUT"}, r"line 1: clean: Field required"),
        ({"noisy": "LEAVE OUT"}, r"line 1: noisy: Field required"),
        ({"sr": 16000}, r"clean: .*a\.wav: 8000 Hz, the row says sr 16000"),
        ({"duration": 3.0}, r"a\.wav: 2\.00 s, the row says duration 3\.00"),
        ({"split": "dev"}, r"line 1: split: .*'train', 'valid' or 'test'"),
        ({"split": "valid"}, r"split: no row in 'train'"),
        ({"id": "b"}, r"id: 'b' occurs twice"),
        ({"noisy": "gone.wav"}, r"noisy: .*gone\.wav"),
        ({"duration": -1}, r"duration: .*greater than 0"),
    ],
)
def test_each_fault_has_its_message(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(AudioRestorerError, match=message):
        check_manifest(write(tmp_path, change))


def test_rate_of_the_network_and_length(tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match="8000 Hz, the network wants 22050 Hz"):
        check_manifest(write(tmp_path), sample_rate=22050)
    with pytest.raises(AudioRestorerError, match="2.00 s, shorter than 3 s"):
        check_manifest(write(tmp_path), min_sec=3)


def test_nan_is_found_unless_somebody_has_looked(tmp_path: Path) -> None:
    path = write(tmp_path)
    bad = np.zeros(2 * RATE)
    bad[-1] = np.nan
    sf.write(tmp_path / "a.wav", bad, RATE, subtype="FLOAT")
    with pytest.raises(AudioRestorerError, match=r"clean: .*a\.wav: holds NaN"):
        check_manifest(path)
    sf.write(tmp_path / "keep.wav", bad, RATE, subtype="FLOAT")
    (tmp_path / "keep.wav").rename(tmp_path / "a.wav")
    text = path.read_text().replace('"id": "a"', '"finite": true, "id": "a"')
    path.write_text(text)
    assert check_manifest(path)


def test_all_faults_at_once_but_not_without_end(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text("{\n" + "[]\n" * 30)
    with pytest.raises(AudioRestorerError) as raised:
        check_manifest(path)
    text = str(raised.value)
    assert "line 1: not valid JSON" in text and "line 20" in text and "line 21:" not in text and "more" in text


def test_noise_manifest(tmp_path: Path) -> None:
    sf.write(tmp_path / "n.wav", 0.1 * np.ones(RATE), RATE)
    row = {"id": "n", "split": "train", "path": "n.wav", "class": "hum", "sr": RATE, "duration": 1.0}
    path = tmp_path / "n.jsonl"
    path.write_text(json.dumps(row))
    assert check_noise_manifest(path)[0].noise_class == "hum"
    path.write_text(json.dumps({k: v for k, v in row.items() if k != "class"}))
    with pytest.raises(AudioRestorerError, match="class: Field required"):
        check_noise_manifest(path)
    with pytest.raises(AudioRestorerError, match="cannot read"):
        check_noise_manifest(tmp_path / "absent.jsonl")


def test_a_name_with_a_line_separator_stays_one_row(tmp_path: Path) -> None:
    """U+2028 ends a line for Unicode, but not in JSON Lines."""
    rows = [json.loads(line) for line in write(tmp_path).read_text().splitlines()]
    write_rows(tmp_path / "m.jsonl", [*rows, {**rows[0], "id": "c\u2028d"}])
    assert [found.id for found in check_manifest(tmp_path / "m.jsonl")] == ["a", "b", "c\u2028d"]
