"""Real recordings: crops that follow from their numbers alone, read from the file; bad files are named and left out."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.datasets.real import RealRecordings
from audiorestorer.errors import AudioRestorerError
from tests.datasets.conftest import RATE


def test_crops_follow_from_their_numbers_alone(real_audio: Path) -> None:
    first, second = (RealRecordings.of(real_audio, RATE) for _ in range(2))
    crops = [first.crop(1, epoch, index, 3000) for epoch in range(2) for index in range(6)]
    again = [second.crop(1, epoch, index, 3000) for epoch in (1, 0) for index in reversed(range(6))]
    for crop, same in zip(crops, [*again[6:][::-1], *again[:6][::-1]], strict=True):
        assert crop.shape == (3000,) and crop.dtype == np.float32 and np.array_equal(crop, same)
    assert len({crop.tobytes() for crop in crops}) > 8
    assert not np.array_equal(first.crop(2, 0, 0, 3000), crops[0])


def test_other_rates_channels_and_short_ones(tmp_path: Path) -> None:
    time = np.arange(3 * 44100) / 44100
    sf.write(tmp_path / "x.wav", np.stack([np.sin(2 * np.pi * 500 * time), 0 * time], 1) * 0.5, 44100)
    crop = RealRecordings.of(tmp_path, RATE).crop(0, 0, 0, 2 * RATE)
    spectrum = np.abs(np.fft.rfft(crop * np.hanning(len(crop))))
    assert np.argmax(spectrum) / 2 == pytest.approx(500, abs=1)
    assert np.abs(crop[100:-100]).max() == pytest.approx(0.25, abs=0.01)  # the mean of a tone and of silence
    long = RealRecordings.of(tmp_path, RATE).crop(0, 0, 0, 7 * RATE)
    assert len(long) == 7 * RATE and np.array_equal(long[: 3 * RATE - 9], long[3 * RATE : 6 * RATE - 9])


def test_only_what_is_needed_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sf.write(tmp_path / "long.wav", 0.1 * np.random.default_rng(0).standard_normal(120 * RATE), RATE)
    real, read, counts = RealRecordings.of(tmp_path, RATE), sf.SoundFile.read, []

    def counted(self: sf.SoundFile, frames: int = -1, **options: object) -> np.ndarray:
        counts.append(frames)
        return read(self, frames, **options)

    monkeypatch.setattr(sf.SoundFile, "read", counted)
    real.crop(0, 0, 0, 4000)
    assert counts == [4000]


def test_bad_files_are_named_once_and_left_out(
    tmp_path: Path, real_audio: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(real_audio, tmp_path / "real")
    (folder / "deep/d.flac").write_bytes((folder / "deep/d.flac").read_bytes()[:5000])  # its header is whole
    sf.write(folder / "nan.wav", np.full(2 * RATE, np.nan), RATE, subtype="FLOAT")
    sf.write(folder / "quiet.wav", np.zeros(2 * RATE), RATE)
    with caplog.at_level(logging.WARNING):
        real = RealRecordings.of(folder, RATE)
        for index in range(60):
            assert np.abs(real.crop(0, 0, index, 2000)).max() > 1e-3
    for name in ("bad.wav", "blip.wav", "nan.wav"):
        assert sum(name in record.getMessage() for record in caplog.records) == 1, name
    assert "shorter than 1 s" in caplog.text


def test_nothing_that_can_be_used(tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match="no recordings"):
        RealRecordings.of(tmp_path, RATE)
    with pytest.raises(AudioRestorerError, match="no recordings"):
        RealRecordings.of(tmp_path / "absent", RATE)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioRestorerError, match="none of its 1 recordings can be used"):
        RealRecordings.of(tmp_path, RATE)
    sf.write(tmp_path / "quiet.wav", np.zeros(2 * RATE), RATE)
    with pytest.raises(AudioRestorerError, match="in a row cannot be read or are silent"):
        RealRecordings.of(tmp_path, RATE).crop(0, 0, 0, 1000)


def test_rows_of_a_manifest_without_a_clean_side(tmp_path: Path, real_audio: Path) -> None:
    rows = [
        {"id": "x", "noisy": str(real_audio / "a.wav")}, {"id": "y", "noisy": str(real_audio / "b.flac"), "clean": None},
        {"id": "z", "noisy": str(real_audio / "e.ogg"), "clean": "somewhere.wav"},
    ]  # fmt: skip
    manifest = tmp_path / "real.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    real = RealRecordings.of(manifest, RATE)
    assert {path.name for path in real.sample(0, 0, 9)} <= {"a.wav", "b.flac"}
    manifest.write_text('{"id": 3}\n')
    with pytest.raises(AudioRestorerError, match="JSON Lines with noisy"):
        RealRecordings.of(manifest, RATE)


def test_what_is_held_out_stays_out(tmp_path: Path) -> None:
    for number in range(20):
        sf.write(tmp_path / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(RATE), RATE)
    real = RealRecordings.of(tmp_path, RATE, hold_out=0.3)
    train, valid = (set(real.sample(0, 0, 99, split)) for split in ("train", "valid"))
    assert not train & valid and len(train | valid) == 20 and 1 <= len(valid) <= 12 and len(real) == len(train)
    assert real.sample(0, 0, 5) == real.sample(0, 0, 5) != real.sample(0, 1, 5)


def test_the_digest_is_of_the_recordings_not_of_the_folder(tmp_path: Path, real_audio: Path) -> None:
    moved = shutil.copytree(real_audio, tmp_path / "moved")
    first = RealRecordings.of(real_audio, RATE).digest
    assert RealRecordings.of(moved, RATE).digest == first
    shutil.copy(moved / "a.wav", moved / "e2.wav")
    assert RealRecordings.of(moved, RATE).digest != first
