"""data/pilot is what the docs say: formats, rates, exact references at delay 0, the ratios written beside them, two bad files."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer import audio
from audiorestorer.datasets.levels import snr_db

PILOT = Path(__file__).parents[1] / "data" / "pilot"
with (PILOT / "transcripts.tsv").open(encoding="utf-8", newline="") as table:
    ROWS = list(csv.DictReader(table, delimiter="\t"))


def test_the_table_covers_the_batch() -> None:
    listed = {row["path"] for row in ROWS}
    found = {path.relative_to(PILOT / "input").as_posix() for path in (PILOT / "input").rglob("*") if path.is_file()}
    assert found == listed | {"broken/silent.wav", "broken/truncated.flac"}
    assert {Path(path).suffix for path in listed} == {".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus"}
    assert sorted(row["snr_db"] for row in ROWS) == ["0"] * 4 + ["10"] * 4 + ["5"] * 4
    assert all(row["transcript"].endswith(".") for row in ROWS)
    assert sum(path.stat().st_size for path in PILOT.rglob("*") if path.is_file()) < 6_000_000


def test_rates_and_channels_vary() -> None:
    infos = [audio.probe(PILOT / "input" / row["path"]) for row in ROWS]
    assert {info.sample_rate for info in infos} == {16000, 22050, 24000, 44100, 48000}
    assert sorted(info.channels for info in infos) == [1] * 10 + [2, 6]
    assert all(4 <= info.duration_sec <= 7 for info in infos)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["path"])
def test_reference_is_aligned_and_at_its_ratio(row: dict[str, str]) -> None:
    given, rate = audio.read(PILOT / "input" / row["path"])
    mixture = (given[2:3] if len(given) == 6 else given).T  # of 5.1 the centre
    clean, clean_rate = sf.read((PILOT / "clean" / row["path"]).with_suffix(".flac"), dtype="float32", always_2d=True)
    assert rate == clean_rate and mixture.shape == clean.shape
    size = 1 << (2 * len(mixture)).bit_length()
    spectrum = np.fft.rfft(mixture[:, 0], size) * np.conj(np.fft.rfft(clean[:, 0], size))
    assert int(np.argmax(np.fft.irfft(spectrum, size))) == 0
    measured = snr_db(clean.reshape(-1), (mixture - clean).reshape(-1), rate * clean.shape[1])
    lossy = row["path"].endswith((".ogg", ".mp3", ".m4a", ".opus"))
    assert measured == pytest.approx(float(row["snr_db"]), abs=0.3 if lossy else 0.05)
    assert np.abs(mixture).max() < 0.95


def test_the_bad_files_are_bad() -> None:
    silent, _ = sf.read(PILOT / "input" / "broken" / "silent.wav")
    assert len(silent) and not silent.any()
    with pytest.raises(sf.LibsndfileError), sf.SoundFile(PILOT / "input" / "broken" / "truncated.flac") as file:
        assert len(file.read()) == file.frames
