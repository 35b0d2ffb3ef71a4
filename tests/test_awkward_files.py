"""Files as people really have them: what once destroyed a picture, permuted channels or ended a whole batch."""

from __future__ import annotations

import subprocess
import zlib
from pathlib import Path

import av
import mutagen
import numpy as np
import pytest
from mutagen.flac import FLAC, Picture
from mutagen.id3 import ID3, TXXX

from audiorestorer import audio
from audiorestorer.config import Config, LoudnessSettings
from audiorestorer.formats import encoding, metadata
from audiorestorer.manifest import Item, read_manifest
from audiorestorer.stages import ingest, loudness
from audiorestorer.stages.job import Job
from tests.coded import noise, write_coded
from tests.test_containers import lag_and_error
from tests.test_video import pictures

RATE = 48_000


def through(folder: Path, **changes: object) -> dict[str, Item]:
    """Ingest and loudness of a folder `in`; the rows by name."""
    config = Config.model_validate({"input": str(folder / "in"), "shards": 1, **changes})
    ingest.run(folder / "i.jsonl", config, 0, folder / "store")
    loudness.run(folder / "i.jsonl", folder / "l.jsonl", config.loudness, Job(folder / "store"))
    return {row.relative or "": row for row in read_manifest(folder / "l.jsonl")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_reordered_frames_are_all_copied(folder: Path, suffix: str) -> None:
    """Matroska gives the first packets of such a picture no decoding time."""
    muxer = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov"}[suffix]
    film = write_coded(folder / f"in/film{suffix}", [(noise(RATE, RATE), RATE)], "aac", muxer, video="libx264")
    made = Path(through(folder)[film.name].path or "")
    assert sorted(pictures(made)) == sorted(pictures(film)) and len(pictures(made)) == 25
    with av.open(str(made)) as container:
        assert len(list(container.decode(container.streams.video[0]))) == 25


def test_containers_of_videos_without_a_picture(folder: Path) -> None:
    given = noise(RATE, RATE)
    for name, codec, muxer in (
        ("voice.webm", "libopus", "webm"),
        ("call.mp4", "aac", "mp4"),
        ("a.mkv", "aac", "matroska"),
    ):
        write_coded(folder / "in" / name, [(given, RATE)], codec, muxer)
    audio.write(folder / "in/wave.mp4", given, RATE)
    rows = through(folder)
    for name in ("voice.webm", "call.mp4", "a.mkv"):
        assert rows[name].ok and rows[name].output == name
        assert lag_and_error(given, audio.read(rows[name].path or "")[0])[0] == 0
    assert "its name is that of a video and it holds none" in (rows["wave.mp4"].reason or "")
    alone = through(folder, loudness={"video": "audio"})
    assert {row.output for row in alone.values() if row.ok} == {
        "voice.opus",
        "call.m4a",
        "a.m4a",
        "wave.m4a",
    } and alone["a.mkv"].ok


def tones(channels: int) -> audio.Audio:
    time = np.arange(RATE) / RATE
    hertz = [200, 300, 400, 60, 600, 700, 800, 900][:channels]
    return np.stack([0.1 * np.sin(2 * np.pi * f * time) for f in hertz]).astype(np.float32)


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize(
    ("format", "suffix"), [("AAC", ".m4a"), ("ALAC", ".m4a"), ("OPUS", ".opus"), ("AAC in Matroska", ".mka")]
)
def test_every_channel_comes_back_where_it_was(tmp_path: Path, format: str, suffix: str, channels: int) -> None:
    given, path = tones(channels), tmp_path / f"x{suffix}"
    if channels not in encoding.CODINGS[format].channels:
        with pytest.raises(audio.AudioRestorerError, match=f"{format} takes no recordings of {channels} channels"):
            audio.write_blocks(path, [given], RATE, channels, format=format, subtype="keep")
        return
    audio.write_blocks(path, [given], RATE, channels, format=format, subtype="keep", bit_rate=128_000 * channels)
    got, _ = audio.read(path)
    found = [int(np.argmax(np.abs(np.fft.rfft(channel[:RATE])))) for channel in got]
    assert found == [int(np.argmax(np.abs(np.fft.rfft(channel)))) for channel in given]


@pytest.mark.parametrize(
    ("codec", "muxer", "suffix"), [("libopus", "opus", ".opus"), ("flac", "ogg", ".oga"), ("aac", "ipod", ".m4a")]
)
def test_surround_of_other_programs_is_read_in_its_order(tmp_path: Path, codec: str, muxer: str, suffix: str) -> None:
    path = write_coded(tmp_path / f"x{suffix}", [(tones(6), RATE)], codec, muxer)
    got, _ = audio.read(path)
    assert [int(np.argmax(np.abs(np.fft.rfft(channel[:RATE])))) for channel in got] == [200, 300, 400, 60, 600, 700]


def test_a_format_that_takes_no_surround_is_a_rejected_row(folder: Path) -> None:
    audio.write(folder / "in/film.wav", tones(6), RATE)
    (row,) = through(folder, loudness={"format": "mp3"}).values()
    assert "MP3 takes no recordings of 6 channels: choose another loudness.format" in (row.reason or "")


def test_holes_in_a_track_are_silence_and_late_tracks_are_whole(folder: Path) -> None:
    given = noise(RATE, 3 * RATE)
    write_coded(folder / "in/hole.mkv", [(given, RATE)], "libopus", "matroska", hole=(RATE, 38_400))
    write_coded(folder / "in/late.mka", [(given, RATE)], "libopus", "matroska", start=5 * RATE)
    rows = through(folder)
    assert rows["late.mka"].ok and audio.probe(rows["late.mka"].noisy).frames == 3 * RATE
    assert "holes of 0.8" in (rows["hole.mkv"].notes or {})["header"]
    heard, _ = audio.read(rows["hole.mkv"].noisy)
    lag, _ = lag_and_error(given[:, 2 * RATE :], heard[:, 2 * RATE + 38_400 :])
    assert abs(lag) <= 60 and np.abs(heard[:, RATE + 2_000 : RATE + 36_000]).max() < 1e-3


@pytest.mark.parametrize("count", [96_000, 400_000])
def test_a_stale_count_of_samples_cuts_nothing(tmp_path: Path, count: int) -> None:
    path = write_coded(tmp_path / "x.m4a", [(noise(RATE, 6 * RATE), RATE)], "aac", "ipod")
    tagged = mutagen.File(path)
    tagged["----:com.apple.iTunes:iTunSMPB"] = [f" 00000000 00000400 000001C0 {count:016X} 00000000".encode()]
    tagged.save()
    assert abs(audio.probe(path).frames - 6 * RATE) <= 48


def test_no_tag_ends_a_batch(folder: Path) -> None:
    write_coded(folder / "in/cyrillic.mp3", [(noise(RATE, RATE), RATE)], "libmp3lame", "mp3")
    tags = ID3()
    tags.add(TXXX(encoding=3, desc="Настроение", text=["грусть"]))
    tags.save(folder / "in/cyrillic.mp3")
    for name in ("number", "picture", "chapter", "large"):
        audio.write(folder / f"in/{name}.flac", noise(RATE, RATE), RATE, format="FLAC", subtype="PCM_16")
        file = FLAC(folder / f"in/{name}.flac")
        file["title"] = ["T"]
        if name == "number":
            file["tracknumber"], file["bpm"] = ["9" * 5000], ["²"]
        if name == "chapter":
            file["CHAPTER001"], file["CHAPTER002"] = ["00:00:00.000"], ["99999999999999999999:00:00"]
        if name == "picture":
            picture = Picture()
            picture.type, picture.mime, picture.data = 1000, "image/пнг", b"x"
            file.add_picture(picture)
        file.save()
    write_coded(folder / "in/cover.mp3", [(noise(RATE, RATE), RATE)], "libmp3lame", "mp3")
    tags.delall("TXXX")
    tags.add(mutagen.id3.APIC(encoding=3, mime="image/jpeg", type=3, desc="", data=bytes(17_000_000)))
    tags.save(folder / "in/cover.mp3")
    for format in ("m4a", "mp3", "flac", "wav", "opus"):
        rows = through(folder, loudness={"format": format})
        assert all(row.ok for row in rows.values()), {name: row.reason for name, row in rows.items()}
        assert metadata.read(Path(rows["picture.flac"].path or ""))[0].texts == {"title": ["T"]}
        if format == "flac":
            assert "a picture of more than 16 MB" in (rows["cover.mp3"].notes or {})["tags"]


def test_a_tag_that_inflates_is_a_sentence(tmp_path: Path) -> None:
    """400 MB of zeros in 0.4 MB: it is read in a process of its own, with a bound."""
    body = zlib.compress(bytes(1 << 30), 9)
    size = bytes(len(body) + 4 >> shift & 0x7F for shift in (21, 14, 7, 0))
    frame = b"APIC" + size + b"\0\x09" + b"\x04\0\0\0" + body
    whole = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    sound = write_coded(tmp_path / "x.mp3", [(noise(RATE, 4800), RATE)], "libmp3lame", "mp3").read_bytes()
    (tmp_path / "x.mp3").write_bytes(b"ID3\4\0\0" + whole + frame + sound[sound.index(b"\xff\xfb") :])
    found, problem = metadata.read(tmp_path / "x.mp3")
    assert not found.pictures and problem and "tags could not" in problem


def test_old_windows_texts_are_read(tmp_path: Path) -> None:
    assert metadata._decoded("Tést".encode("cp1252")) == metadata._decoded("Tést".encode()) == "Tést"


def test_ffmpeg_is_the_judge(tmp_path: Path) -> None:
    """The command line, where it is installed, hears the same samples."""
    try:
        subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no ffmpeg here")
    for format, suffix in (("MP3", ".mp3"), ("ALAC", ".m4a")):
        path = tmp_path / f"x{suffix}"
        audio.write_blocks(path, [noise(RATE, RATE + 99)], RATE, 1, format=format, subtype="PCM_24", bit_rate=128_000)
        subprocess.run(
            ["ffmpeg", "-loglevel", "error", "-y", "-i", path, "-c:a", "pcm_f32le", tmp_path / "o.wav"], check=True
        )
        theirs, ours = audio.read(tmp_path / "o.wav")[0], audio.read(path)[0]
        assert theirs.shape == ours.shape and np.abs(theirs - ours).max() < 1e-3
    assert LoudnessSettings().format == "keep"


def test_sound_that_changes_its_rate_is_a_rejected_row(folder: Path) -> None:
    parts = [
        write_coded(folder / f"{rate}.aac", [(noise(rate, rate), rate)], "aac", "adts").read_bytes()
        for rate in (48_000, 16_000)
    ]
    (folder / "in/joined.aac").write_bytes(b"".join(parts))
    (row,) = through(folder).values()
    assert "from 48000 Hz, 1 channels to 16000 Hz, 1 channels: split it" in (row.reason or ""), row.reason
