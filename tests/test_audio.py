import hashlib
import time

import numpy as np
import pytest
import soundfile as sf

from audiorestorer import audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.formats.writing import Writer


def tone(hz: float, rate: int, seconds: float, channels: int = 1) -> np.ndarray:
    time_axis = np.arange(int(rate * seconds)) / rate
    return np.tile(0.5 * np.sin(2 * np.pi * hz * time_axis), (channels, 1)).astype(np.float32)


def test_round_trip_keeps_every_bit_even_beyond_full_scale(tmp_path):
    x = np.random.default_rng(0).normal(0, 2, (2, 12345)).astype(np.float32)
    audio.write(tmp_path / "x.wav", x, 44100)
    y, rate = audio.read(tmp_path / "x.wav")
    assert rate == 44100 and np.array_equal(x, y)


def test_equal_audio_gives_equal_bytes_at_any_time(tmp_path):
    x = tone(440, 16000, 0.1)
    audio.write(tmp_path / "a.wav", x, 16000)
    time.sleep(1.1)
    audio.write(tmp_path / "b.wav", x, 16000)
    a, b = (hashlib.sha256((tmp_path / name).read_bytes()).digest() for name in ("a.wav", "b.wav"))
    assert a == b


def test_blocks_do_not_change_the_samples(tmp_path):
    x = tone(300, 8000, 3.3)
    audio.write(tmp_path / "x.wav", x, 8000)
    parts = list(audio.blocks(tmp_path / "x.wav", block_sec=0.37))
    assert len(parts) > 5 and np.array_equal(np.concatenate(parts, axis=1), x)
    part = np.concatenate(list(audio.blocks(tmp_path / "x.wav", start=100, frames=50)), axis=1)
    assert np.array_equal(part, x[:, 100:150])


@pytest.mark.parametrize(("source", "target"), [(44100, 16000), (16000, 44100), (48000, 22050)])
def test_resampling_keeps_a_tone_in_place_and_kills_one_above_nyquist(source, target):
    x = tone(1000, source, 2.0)
    length = round(x.shape[1] * target / source)
    chunks = audio.rechunk(iter([x]), 4001)
    y = np.concatenate(list(audio.fit_length(audio.resample_blocks(chunks, source, target, 1), length)), axis=1)
    want = tone(1000, target, 2.0)[:, :length]
    middle = slice(target // 10, length - target // 10)
    assert y.shape[1] == length
    assert 10 * np.log10(np.mean((y - want)[:, middle] ** 2) / np.mean(want**2)) < -80
    if target < source:
        alias = np.concatenate(
            list(audio.resample_blocks(iter([tone(0.6 * target, source, 1)]), source, target, 1)), axis=1
        )
        assert np.abs(alias[:, middle.start : -middle.start]).max() < 1e-4


def test_rechunk_sizes():
    parts = [np.ones((1, n), np.float32) for n in (3, 10, 1, 6)]
    assert [b.shape[1] for b in audio.rechunk(parts, 8)] == [8, 8, 4]
    assert [b.shape[1] for b in audio.rechunk(parts, 20)] == [20]


def test_exception_leaves_no_file(tmp_path):
    with pytest.raises(ValueError), Writer(tmp_path / "x.wav", 8000, 1) as out:
        out.write(tone(10, 8000, 1))
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_large_files_become_rf64(tmp_path):
    with Writer(tmp_path / "x.wav", 8000, 2, expected_frames=600_000_000) as out:
        out.write(tone(10, 8000, 1, 2))
    assert sf.info(str(tmp_path / "x.wav")).format == "RF64"


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not audio at all", b"fLaC" + b"\0" * 40])
def test_garbage_is_refused_by_name(tmp_path, content):
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(AudioRestorerError, match=r"x\.wav: "):
        audio.probe(tmp_path / "x.wav")
        list(audio.blocks(tmp_path / "x.wav"))


def test_directories_and_fifos_are_no_audio(tmp_path):
    import os

    (tmp_path / "d.wav").mkdir()
    os.mkfifo(tmp_path / "f.wav")
    for name in ("d.wav", "f.wav"):
        with pytest.raises(AudioRestorerError, match="not a regular file"):
            audio.probe(tmp_path / name)
