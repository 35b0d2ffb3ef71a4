"""Videos: the picture is copied, the sound replaced, and both stay together."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from audiorestorer import audio
from audiorestorer.config import Config, LoudnessSettings
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.stages import ingest, loudness
from audiorestorer.stages.job import Job
from audiorestorer.store import sha256_file
from tests.coded import noise, write_coded
from tests.test_containers import lag_and_error

RATE = 48_000
VIDEOS = [(".mp4", "aac", "mp4"), (".mov", "aac", "mov"), (".mkv", "aac", "matroska"), (".webm", "libopus", "webm")]


def pictures(path: Path) -> list[tuple[float, bytes]]:
    """Time and content of each packet of the picture."""
    with av.open(str(path)) as container:
        return [
            (float((packet.pts or 0) * packet.time_base), bytes(packet))
            for packet in container.demux(container.streams.video[0])
            if packet.size
        ]


def heard_from(path: Path, track: int = 0) -> float:
    with av.open(str(path)) as container:
        frame: Any = next(container.decode(container.streams.audio[track]))
        return float(frame.pts * frame.time_base)


def halved(source: Path, folder: Path, **changes: object) -> Item:
    """Ingest and loudness of one file; between them the sound is halved, where the networks would stand."""
    config = Config.model_validate({"input": str(source), "shards": 1, **changes})
    (row,) = ingest.run(folder / "i.jsonl", config, 0, folder / "store")
    assert row.ok, row.reason
    sound, rate = audio.read(row.noisy)
    audio.write(folder / "half.wav", 0.5 * sound, rate)
    row = row.updated(path=str(folder / "half.wav"), sha256=sha256_file(folder / "half.wav"))
    write_manifest(folder / "r.jsonl", [row])
    settings = LoudnessSettings.model_validate(config.loudness.model_dump())
    loudness.run(folder / "r.jsonl", folder / "l.jsonl", settings, Job(folder / "store"))
    (done,) = read_manifest(folder / "l.jsonl")
    return done


@pytest.mark.parametrize(("suffix", "codec", "muxer"), VIDEOS)
@pytest.mark.parametrize("packed", [False, True])
def test_the_picture_is_copied_and_the_sound_stays_in_its_place(
    tmp_path: Path, suffix: str, codec: str, muxer: str, packed: bool
) -> None:
    given = noise(RATE, RATE + 333, 2)
    (tmp_path / "in").mkdir()
    film = write_coded(
        tmp_path / f"in/film{suffix}",
        [(given, RATE)],
        codec,
        muxer,
        video="libvpx" if suffix == ".webm" else "mpeg4",
        title="T",
    )
    source = tmp_path / "in"
    if packed:
        source = tmp_path / "in.zip"
        with zipfile.ZipFile(source, "w") as archive:
            archive.write(film, film.name)
    done = halved(source, tmp_path)
    assert done.output == f"film{suffix}" and not (done.notes or {}).get("tags")
    made = Path(done.path or "")
    assert made.suffix == suffix and pictures(made) == pictures(film)
    assert heard_from(made) == pytest.approx(heard_from(film), abs=1 / RATE)
    sound, rate = audio.read(made)
    lag, error = lag_and_error(0.5 * 10 ** ((done.gain_db or 0) / 20) * given, sound)
    assert (rate, lag) == (RATE, 0) and error < 0.25  # coded twice
    with av.open(str(made)) as container:
        assert container.metadata["title"] == "T"
    again = Path(halved(source, tmp_path / "again").path or "") if (tmp_path / "again").mkdir() is None else made
    assert again.read_bytes() == made.read_bytes()


def test_sound_that_begins_later_begins_as_late(tmp_path: Path) -> None:
    """FFmpeg's muxer counts the encoder's delay as sound then: what counts is when each sample is heard."""
    (tmp_path / "in").mkdir()
    film = write_coded(
        tmp_path / "in/film.mp4", [(noise(RATE, RATE), RATE)], "aac", "mp4", video="mpeg4", start=RATE // 5
    )
    assert heard_from(film) > 0.1
    made = Path(halved(tmp_path / "in", tmp_path).path or "")
    (before, _), (after, _) = audio.read(film), audio.read(made)
    lag, error = lag_and_error(before, after / np.abs(after).max() * np.abs(before).max())
    assert heard_from(made) + lag / RATE == pytest.approx(heard_from(film), abs=1 / RATE) and error < 0.25
    assert pictures(made) == pictures(film)


def test_of_several_sound_tracks_one_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    tracks = [(noise(RATE, RATE, seed=seed), RATE) for seed in (1, 2)]
    film = write_coded(tmp_path / "in/film.mkv", tracks, "aac", "matroska", video="mpeg4")
    done = halved(tmp_path / "in", tmp_path, ingest={"track": 2})
    made = Path(done.path or "")
    assert pictures(made) == pictures(film)
    with av.open(str(made)) as container:
        assert [stream.type for stream in container.streams] == ["audio", "audio", "video"]
        first = np.concatenate([frame.to_ndarray() for frame in container.decode(container.streams.audio[0])], axis=1)
    assert lag_and_error(tracks[0][0], first)[1] < 0.12
    sound, _ = audio.read(made)  # the marked one: the new sound
    assert lag_and_error(0.5 * 10 ** ((done.gain_db or 0) / 20) * tracks[1][0], sound)[1] < 0.12


def test_the_sound_alone_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_coded(tmp_path / "in/film.mp4", [(noise(RATE, RATE), RATE)], "aac", "mp4", video="mpeg4", title="T")
    done = halved(tmp_path / "in", tmp_path, loudness={"video": "audio"})
    assert done.output == "film.m4a" and done.source is None
    with av.open(done.path or "") as container:
        assert [stream.type for stream in container.streams] == ["audio"]
