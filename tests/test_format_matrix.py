"""Time stays: every format in and out, at several rates and channels: the output's first sample is the input's first one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from audiorestorer import audio
from audiorestorer.config import Config
from audiorestorer.formats import encoding
from audiorestorer.manifest import read_manifest
from audiorestorer.stages import ingest, loudness
from audiorestorer.stages.job import Job
from tests.coded import noise, write_coded
from tests.test_containers import lag_and_error

CODED = {
    ".m4a": ("aac", "ipod"), ".mp3": ("libmp3lame", "mp3"), ".mka": ("aac", "matroska"), ".wv": ("wavpack", "wv"),
    ".webm": ("libopus", "webm"),
}  # fmt: skip
OUT = ("keep", "wav", "flac", "mp3", "m4a", "opus")


def write_all(folder: Path, rate: int, channels: int) -> audio.Audio:
    """The same second in every format that has this rate."""
    folder.mkdir()
    given = noise(rate, rate + 77, channels)
    for suffix, format in audio.WRITTEN.items():
        if suffix not in (".wave", ".bwf", ".aif", ".aifc", ".snd"):
            sf.write(folder / f"x{suffix[1:]}{suffix}", given.T, rate, format=format, subtype="PCM_16")
    sf.write(folder / "ogg.ogg", given.T, rate, format="OGG", subtype="VORBIS")
    for suffix, (codec, muxer) in CODED.items():
        if codec != "libopus" or rate == 48_000:
            write_coded(folder / f"x{suffix[1:]}{suffix}", [(given, rate)], codec, muxer)
    if rate == 48_000:
        write_coded(folder / "opus.opus", [(given, rate)], "libopus", "opus")
    return given


@pytest.mark.parametrize(
    ("rate", "channels"), [(8_000, 1), (16_000, 2), (22_050, 1), (44_100, 2), (48_000, 1), (96_000, 2)]
)
def test_the_first_sample_stays_the_first(tmp_path: Path, rate: int, channels: int) -> None:
    given = write_all(tmp_path / "in", rate, channels) if rate <= 48_000 else None
    if given is None:
        (tmp_path / "in").mkdir()
        given = noise(rate, rate + 77, channels)
        sf.write(tmp_path / "in/x.wav", given.T, rate, subtype="PCM_24")
    for out in OUT:
        config = Config.model_validate(
            {"input": str(tmp_path / "in"), "shards": 1, "loudness": {"format": out, "bitrate": "320k"}}
        )
        ingest.run(tmp_path / "i.jsonl", config, 0, tmp_path / "store")
        loudness.run(tmp_path / "i.jsonl", tmp_path / "l.jsonl", config.loudness, Job(tmp_path / "store"))
        for row in read_manifest(tmp_path / "l.jsonl"):
            assert row.ok, (row.relative, out, row.reason)
            made, made_rate = audio.read(row.path or "")
            assert made_rate in (rate, *(encoding.rate_for(name, rate) for name in encoding.CODINGS)), (
                row.relative,
                out,
            )
            back = np.asarray(soxr.resample(made.T, made_rate, rate), np.float32).T.reshape(len(made), -1)
            lag, error = lag_and_error(given, back * np.sqrt(np.square(given).mean() / np.square(back).mean()))
            assert abs(lag) <= (made_rate != rate) and len(made) == channels and error < 0.45, (
                row.relative,
                out,
                lag,
                error,
            )
            # a container that does not count them holds up to a frame more
            assert (
                -1
                <= back.shape[1] - given.shape[1]
                <= 1200 * (row.relative or "").endswith((".mka", ".mp3", ".m4a")) + 1
            )
