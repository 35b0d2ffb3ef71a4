"""Coded recordings: decoded from their first to their last sample and coded again so; what cannot be decoded is named."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer import audio
from audiorestorer.config import Config
from audiorestorer.errors import AudioRestorerError
from audiorestorer.formats import containers, encoding, mpeg
from audiorestorer.stages import ingest
from tests.coded import noise, write_coded

# suffix, codec, muxer; samples before the first one and behind the last that no figure of the container takes out
FORMATS = [
    (".m4a", "aac", "ipod", 0, 0), (".m4a", "alac", "ipod", 0, 0), (".mov", "aac", "mov", 0, 0), (".mp4", "aac", "mp4", 0, 0),
    (".mkv", "aac", "matroska", 0, 1024), (".webm", "libopus", "webm", 0, 0), (".aac", "aac", "adts", 1024, 1024),
    (".ac3", "ac3", "ac3", 256, 1536), (".wv", "wavpack", "wv", 0, 0), (".tta", "tta", "tta", 0, 0),
    (".mp3", "libmp3lame", "mp3", 0, 38), (".opus", "libopus", "opus", 0, 0), (".aiff", "pcm_s16be", "aiff", 0, 0),
    (".caf", "pcm_s16le", "caf", 0, 0), (".au", "pcm_s16be", "au", 0, 0), (".w64", "pcm_s16le", "w64", 0, 3),
]  # fmt: skip


def lag_and_error(given: audio.Audio, got: audio.Audio) -> tuple[int, float]:
    """By how many samples the second comes later, and the error over the level where both are."""
    size = given.shape[1] + got.shape[1]
    product = np.fft.irfft(np.fft.rfft(got[0], size) * np.conj(np.fft.rfft(given[0], size)), size)
    lag = int(np.argmax(product))
    lag -= size if lag > size // 2 else 0
    here = got[:, lag:] if lag >= 0 else got
    there = given if lag >= 0 else given[:, -lag:]
    length = min(here.shape[1], there.shape[1])
    error = np.square(here[:, :length] - there[:, :length]).mean() / np.square(given).mean()
    return lag, float(np.sqrt(error))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("suffix", "codec", "muxer", "before", "behind"), FORMATS)
def test_first_and_last_sample_are_those_that_were_coded(
    tmp_path: Path, suffix: str, codec: str, muxer: str, before: int, behind: int, channels: int
) -> None:
    rate, frames = 48_000, 2 * 48_000 + 777
    given = noise(rate, frames, channels)
    path = write_coded(tmp_path / f"x{suffix}", [(given, rate)], codec, muxer)
    got, got_rate = audio.read(path)
    lag, error = lag_and_error(given, got)
    # FFmpeg's own muxer counts the edit list of MP4 in milliseconds
    slack = 48 if suffix in (".m4a", ".mov", ".mp4") else 0
    assert got_rate == rate and got.shape[0] == channels and lag == before and error < 0.12
    assert frames <= got.shape[1] <= frames + before + behind + slack
    assert audio.probe(path).frames == got.shape[1]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(("format", "suffix"), [("MP3", ".mp3"), ("AAC", ".m4a"), ("ALAC", ".m4a"), ("OPUS", ".opus")])
def test_what_we_code_is_as_long_and_begins_where_it_was(tmp_path: Path, format: str, suffix: str, rate: int) -> None:
    coded = encoding.rate_for(format, rate)
    frames = coded + 777
    given = noise(coded, frames, 2)
    path = tmp_path / f"x{suffix}"
    for name in ("x", "again"):
        with encoding.Encoder(tmp_path / f"{name}{suffix}", coded, 2, format=format, bit_rate=256_000, bits=24) as out:
            for begin in range(0, frames, 5000):
                out.write(given[:, begin : begin + 5000])
    got, got_rate = audio.read(path)
    lag, error = lag_and_error(given, got)
    assert (got.shape, got_rate, lag) == (given.shape, coded, 0) and error < (1e-5 if format == "ALAC" else 0.12)
    assert path.read_bytes() == (tmp_path / f"again{suffix}").read_bytes()


def test_the_mp3_tag_counts_the_samples_and_its_checksum_is_lames(tmp_path: Path) -> None:
    """48 kHz and 96,777 samples leave padding over two packets, of which FFmpeg counts one."""
    path = write_coded(tmp_path / "x.mp3", [(noise(48_000, 96_777, 2), 48_000)], "libmp3lame", "mp3")
    with open(path, "rb+") as file:
        stream = mpeg.walk(file, mpeg.after_id3(file))
        assert stream is not None and mpeg.encoded_samples(stream) == (96_815, 1681)
        place = mpeg._xing_place(stream.tag, stream.head)
        assert place is not None
        stated = int.from_bytes(stream.tag[place + mpeg.CRC_PLACE : place + mpeg.CRC_PLACE + 2], "big")
        assert mpeg._crc16(stream.tag[: place + mpeg.CRC_PLACE]) == stated
        mpeg.note_samples(file, 96_777)
        again = mpeg.walk(file, mpeg.after_id3(file))
        assert again is not None and mpeg.encoded_samples(again) == (96_777, 1719)


def test_an_aborted_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), encoding.Encoder(tmp_path / "x.mp3", 16_000, 1, format="MP3") as out:
        out.write(noise(16_000, 8000))
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def ingested(folder: Path, tmp_path: Path, **settings: object) -> dict[str, ingest.Item]:
    config = Config(input=str(folder), shards=1, ingest=settings)
    rows = ingest.run(tmp_path / "m.jsonl", config, 0, tmp_path / "store")
    return {row.relative or "": row for row in rows}


def test_ingest_keeps_a_decoded_copy_and_says_why_others_are_rejected(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    first, second = noise(44_100, 44_100), noise(44_100, 44_100, seed=1)
    write_coded(folder / "a.m4a", [(first, 44_100)], "aac", "ipod", title="T")
    write_coded(folder / "two.mkv", [(first, 44_100), (second, 44_100)], "aac", "matroska")
    write_coded(folder / "silent film.mp4", [], "aac", "mp4", video="mpeg4")
    write_coded(folder / "film.mov", [(first, 44_100)], "aac", "mov", video="mpeg4")
    whole = (folder / "a.m4a").read_bytes()
    (folder / "cut.m4a").write_bytes(whole[: len(whole) // 2])
    (folder / "locked.m4p").write_bytes(whole.replace(b"mp4a", b"drms"))
    webm = write_coded(folder / "talk.webm", [(noise(48_000, 96_000), 48_000)], "libopus", "webm").read_bytes()
    (folder / "cut.webm").write_bytes(webm[: len(webm) // 2])
    rows = ingested(folder, tmp_path)
    for name in ("a.m4a", "film.mov", "two.mkv", "talk.webm"):
        row = rows[name]
        assert row.ok and Path(row.noisy).is_relative_to(tmp_path / "store") and row.path == row.noisy, (
            name,
            row.reason,
        )
        assert sf.info(row.noisy).frames == row.frames
    assert rows["a.m4a"].frames == pytest.approx(44_100, abs=45) and rows["a.m4a"].codec == "aac"
    assert rows["a.m4a"].output == "a.m4a" and rows["film.mov"].output == "film.mov"
    assert (rows["two.mkv"].notes or {})["header"] == "it has 2 sound tracks: number 1 was taken"
    reasons = {name: row.reason or "" for name, row in rows.items() if not row.ok}
    assert reasons.keys() == {"silent film.mp4", "cut.m4a", "locked.m4p", "cut.webm"}, reasons
    assert "no sound in it: it has no audio track" in reasons["silent film.mp4"]
    assert "damaged or cut short" in reasons["cut.m4a"] and "truncated" in reasons["cut.webm"]
    assert "protected (DRM)" in reasons["locked.m4p"]
    taken, _ = audio.read(ingested(folder, tmp_path, track=2)["two.mkv"].noisy)
    assert lag_and_error(second, taken)[1] < 0.12 < lag_and_error(first, taken)[1]


def test_a_reference_is_decoded_too(tmp_path: Path) -> None:
    for name in ("in", "clean"):
        (tmp_path / name).mkdir()
        write_coded(tmp_path / name / "a.m4a", [(noise(16_000, 16_000), 16_000)], "aac", "ipod")
    config = Config(input=str(tmp_path / "in"), references=str(tmp_path / "clean"), shards=1)
    (row,) = ingest.run(tmp_path / "m.jsonl", config, 0, tmp_path / "store")
    assert row.clean and Path(row.clean).is_relative_to(tmp_path / "store") and row.clean_sha256
    assert sf.info(row.clean).samplerate == 16_000


@pytest.mark.parametrize("death", [signal.SIGSEGV, signal.SIGKILL, signal.SIGXCPU])
def test_a_decoder_that_dies_takes_nothing_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, death: signal.Signals
) -> None:
    path = write_coded(tmp_path / "a.m4a", [(noise(16_000, 16_000), 16_000)], "aac", "ipod")
    monkeypatch.setattr(containers, "_decode", lambda *_: os.kill(os.getpid(), death))
    words = "took too long" if death is signal.SIGXCPU else f"crashed on it \\({death.name}\\)"
    with pytest.raises(AudioRestorerError, match=words):
        containers.decoded(path, tmp_path / "out.wav", "M4A")


def test_a_container_opens_no_other_file(tmp_path: Path) -> None:
    """A playlist under the name of a recording is none: FFmpeg would open what it names."""
    write_coded(tmp_path / "secret.m4a", [(noise(16_000, 16_000), 16_000)], "aac", "ipod")
    (tmp_path / "list.m4a").write_text(f"ffconcat version 1.0\nfile {tmp_path / 'secret.m4a'}\n")
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{tmp_path / 'secret.m4a'}\n")
    for name in ("list.m4a", "list.mp4"):
        with pytest.raises(AudioRestorerError, match="not readable as audio: text"):
            audio.probe(tmp_path / name)


@pytest.mark.parametrize(("suffix", "codec", "muxer", "before", "behind"), FORMATS[:2] + FORMATS[4:10])
def test_a_file_with_wrong_bytes_is_sound_or_a_reason(
    tmp_path: Path, suffix: str, codec: str, muxer: str, before: int, behind: int
) -> None:
    whole = write_coded(tmp_path / f"whole{suffix}", [(noise(48_000, 12_000), 48_000)], codec, muxer).read_bytes()
    rng = np.random.default_rng(len(suffix) + len(codec))
    path = tmp_path / f"x{suffix}"
    for _ in range(12):
        content = bytearray(whole)
        for place in rng.integers(0, len(content), rng.integers(1, 30)):
            content[place] = rng.integers(0, 256)
        path.write_bytes(bytes(content[: rng.integers(1, len(content))]) if rng.random() < 0.3 else bytes(content))
        try:
            samples, _ = audio.read(path)
        except AudioRestorerError as error:
            assert str(path) in str(error)
        else:
            assert samples.shape[1] < 60 * 48_000


def test_decoded_copies_leave_nothing_behind_however_a_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    paths = [
        write_coded(tmp_path / f"{n}.m4a", [(noise(16_000, 16_000 + n), 16_000)], "aac", "ipod") for n in range(10)
    ]
    child = os.fork()
    if not child:
        for path in paths:
            first, second = audio.blocks(path, block_sec=0.1), audio.blocks(path, block_sec=0.1)
            same = all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
            if not same:
                os._exit(3)
        os._exit(0 if len(containers._copies) == containers.COPIES else 4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not list((tmp_path / "tmp").iterdir())
