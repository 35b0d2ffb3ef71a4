"""Headers are claims: what is on the disk is given in full, with a note; what was cut is refused with the true reason."""

from __future__ import annotations

import io
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer import audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.formats import flac, mending, mpeg
from audiorestorer.stages import folder
from tests.faults import containers as c

SOUND = c.pcm16(c.voice())
FULL = c.FRAMES
INFO = c.chunk(b"LIST", b"INFO" + c.chunk(b"INAM", b"title!"))


def voice(frames: int = FULL) -> np.ndarray:
    return np.frombuffer(SOUND, "<i2")[:frames] / np.float32(32768)


def given(path: Path) -> tuple[audio.AudioInfo, np.ndarray]:
    """What the product makes of a file, after a check that its length is the one announced and that it can be entered anywhere."""
    info = audio.probe(path)
    before = path.read_bytes()
    whole = np.concatenate(list(audio.blocks(path, block_sec=0.05)), axis=1)
    assert whole.shape == (info.channels, info.frames)
    for start in (1, info.frames // 2, info.frames - 1):
        part = np.concatenate(list(audio.blocks(path, start=start, frames=1000)), axis=1)
        assert part.shape[1] == min(1000, info.frames - start)
        np.testing.assert_allclose(part, whole[:, start : start + 1000], atol=1e-6)
    assert path.read_bytes() == before
    return info, whole


def wav_of(*chunks: bytes, size: int | None = None, form: bytes = b"RIFF") -> bytes:
    return c.riff(c.fmt(), *chunks, size=size, form=form)


OPEN = {
    "size_0": (wav_of(c.chunk(b"data", SOUND, 0), size=36), "not closed: it counts 0 bytes"),
    "core_audio": (wav_of(c.chunk(b"JUNK", bytes(28)), c.chunk(b"FLLR", bytes(3980)), c.chunk(b"data", SOUND, 0), size=4088),
                   "0 bytes"),
    "riff_0": (wav_of(c.chunk(b"data", SOUND, 0), size=0), "0 bytes"),
    "pipe_ffffffff": (wav_of(c.chunk(b"data", SOUND, 0xFFFFFFFF), size=0xFFFFFFFF), "does not say how long"),
    "pipe_7fffffff": (wav_of(c.chunk(b"data", SOUND, 0x7FFFFFFF), size=0x7FFFFFFF), "does not say how long"),
    "pipe_7ffff000": (wav_of(c.chunk(b"data", SOUND, 0x7FFFF000), size=0x7FFFF024), "does not say how long"),
    "pipe_80000000": (wav_of(c.chunk(b"data", SOUND, 0x80000000), size=0x80000024), "does not say how long"),
    "title_before": (wav_of(INFO, c.chunk(b"data", SOUND, 0), size=0), "0 bytes"),
    "title_behind": (wav_of(c.chunk(b"data", SOUND, 0), INFO, size=0), "0 bytes"),
    "pipe_title_behind": (wav_of(c.chunk(b"data", SOUND, 0xFFFFFFFF), INFO, size=0xFFFFFFFF), "does not say how long"),
    "too_large": (wav_of(c.chunk(b"data", SOUND, len(SOUND) + 44)), f"counts {len(SOUND) + 44} bytes"),
    "too_large_title_behind": (wav_of(c.chunk(b"data", SOUND, len(SOUND) + 4), INFO), f"counts {len(SOUND) + 4} bytes"),
    "too_small": (wav_of(c.chunk(b"data", SOUND, len(SOUND) - 4)), f"counts {len(SOUND) - 4} bytes"),
    "too_small_odd": (wav_of(c.chunk(b"data", SOUND, len(SOUND) - 5)), f"counts {len(SOUND) - 5} bytes"),
    "not_brought_up_to_date": (wav_of(c.chunk(b"data", SOUND, 8000), size=8036), "counts 8000 bytes"),
    "rf64_0": (c.rf64(SOUND, data_size=0, samples=0, riff_size=0), "0 bytes"),
    "rifx": (b"RIFX" + struct.pack(">I", 0) + b"WAVEfmt " + struct.pack(">IHHIIHHI", 16, 1, 1, c.RATE, 2 * c.RATE, 2, 16, 0x64617461)
             + bytes(4) + np.frombuffer(SOUND, "<i2").astype(">i2").tobytes(), "0 bytes"),
    "w64_0": (None, "0 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
def test_sound_behind_a_wrong_size_is_given_in_full(tmp_path, name):
    content, note = OPEN[name]
    if content is None:
        content = c.encoded(c.voice(), c.RATE, "W64", "PCM_16")
        at = content.index(b"data\xf3\xac") + 16
        content = content[:at] + struct.pack("<Q", 24) + content[at + 8 :]
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    info, found = given(path)
    assert (info.sample_rate, info.frames) == (c.RATE, FULL) and note in (info.note or ""), info.note
    np.testing.assert_allclose(
        found[0], voice(), atol=1e-4 if name == "w64_0" else 0
    )  # libsndfile rounds, `pcm16` does not


@pytest.mark.parametrize(
    "content",
    [
        wav_of(c.chunk(b"data", SOUND)),
        wav_of(c.chunk(b"data", SOUND), size=0),
        wav_of(c.chunk(b"data", SOUND), size=0xFFFFFFFF),
        wav_of(c.chunk(b"data", SOUND), INFO),
        wav_of(INFO, c.chunk(b"data", SOUND), INFO, c.chunk(b"id3 ", c.id3(bytes(100)))),
        wav_of(c.chunk(b"data", SOUND), b"LIST" + struct.pack("<I", 999) + b"cut"),
        wav_of(c.chunk(b"data", SOUND)) + bytes(5000),
        c.rf64(SOUND, data_size=len(SOUND), samples=FULL),
        b"BW64" + c.rf64(SOUND, data_size=len(SOUND), samples=FULL)[4:],
    ],
)
def test_right_sizes_are_left_alone(tmp_path, content):
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    info, found = given(path)
    assert info.note is None
    np.testing.assert_array_equal(found[0], voice())


@pytest.mark.parametrize(
    "rest", [np.random.default_rng(0).bytes(20_000), bytes(range(256)) * 64, b"Some words. " * 999]
)
def test_what_is_behind_a_closed_file_and_no_sound_is_left_out_and_said(tmp_path, rest):
    path = tmp_path / "x.wav"
    path.write_bytes(wav_of(c.chunk(b"data", SOUND)) + rest)
    info, found = given(path)
    assert f"are {len(rest)} bytes that are no sound" in (info.note or "")
    np.testing.assert_array_equal(found[0], voice())


@pytest.mark.parametrize("missing_pad", [True, False])
def test_an_odd_size_with_or_without_its_pad_byte(tmp_path, missing_pad):
    body = np.clip(np.round(c.voice()[:9599] * 127) + 128, 0, 255).astype(np.uint8).tobytes()
    data = b"data" + struct.pack("<I", len(body)) + body + (b"" if missing_pad else b"\0")
    (tmp_path / "x.wav").write_bytes(c.riff(c.fmt(bits=8), data, INFO))
    assert given(tmp_path / "x.wav")[0].frames == 9599 and audio.probe(tmp_path / "x.wav").note is None


@pytest.mark.parametrize(
    "content", [wav_of(c.chunk(b"data", b"")), wav_of(c.chunk(b"data", b"")) + b"\0", wav_of(c.chunk(b"data", b""), INFO),
                wav_of(c.chunk(b"data", b""), c.chunk(b"note", b"some"), size=0)],
)  # fmt: skip
def test_what_is_really_empty_stays_empty(tmp_path, content):
    (tmp_path / "x.wav").write_bytes(content)
    assert audio.probe(tmp_path / "x.wav").frames == 0


def test_up_to_a_tenth_of_a_second_may_be_missing_and_no_more(tmp_path):
    path = tmp_path / "x.wav"
    block = int(2 * c.RATE * mending.MISSING_SEC)
    path.write_bytes(wav_of(c.chunk(b"data", SOUND))[:-block])
    info, found = given(path)
    assert info.frames == FULL - block // 2 and "a last write is missing" in (info.note or "")
    np.testing.assert_array_equal(found[0], voice(info.frames))
    path.write_bytes(wav_of(c.chunk(b"data", SOUND))[: -block - 2])
    with pytest.raises(
        AudioRestorerError, match=f"truncated: the header counts {len(SOUND)} bytes of sound, the file holds"
    ):
        audio.probe(path)


def test_a_stereo_file_cut_within_a_sample_keeps_its_channels_apart(tmp_path):
    pair = np.stack([c.voice(), -c.voice()], 1)
    data = c.pcm16(pair.ravel())
    (tmp_path / "x.wav").write_bytes(c.riff(c.fmt(channels=2), c.chunk(b"data", data[:-3], 0), size=36))
    info, found = given(tmp_path / "x.wav")
    assert (info.channels, info.frames) == (2, FULL - 1) and np.abs(found[0] + found[1]).max() <= 1 / 16384


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "GSM610"])
def test_every_codec_of_an_open_wav(tmp_path, subtype):
    right = c.encoded(c.voice(), c.RATE, "WAV", subtype)
    (tmp_path / "right.wav").write_bytes(right)
    at = right.index(b"data") + 4
    (tmp_path / "open.wav").write_bytes(right[:at] + bytes(4) + right[at + 4 :])
    whole, found = (audio.read(tmp_path / name)[0][0] for name in ("right.wav", "open.wav"))
    np.testing.assert_array_equal(found[: len(whole)], whole)


def without_tag(path: Path) -> bytes:
    with open(path, "rb") as file:
        stream = mpeg.walk(file, mpeg.after_id3(file))
        assert stream is not None and stream.tag
        file.seek(stream.start)
        return file.read()


@pytest.fixture(params=[(44_100, 2, 0.0), (44_100, 1, 0.9), (16_000, 1, 0.3)], ids=["cbr", "vbr", "mpeg2"])
def mp3(tmp_path, request):
    """Three seconds, quiet first: the first frame says little of the bitrate. And how long it is."""
    rate, channels, level = request.param
    draw = np.random.default_rng(1).normal(0, 0.1, (3 * rate, channels))
    draw[: 3 * rate // 2] *= 1e-3
    mode = "CONSTANT" if level == 0 else "VARIABLE"
    sf.write(tmp_path / "right.mp3", draw, rate, format="MP3", bitrate_mode=mode, compression_level=level or 0.5)
    return tmp_path / "right.mp3"


def assert_whole(path: Path, right: Path) -> audio.AudioInfo:
    """Whole and in order: the sound of the tagged file, later by the encoder's delay, which the tag alone tells."""
    info, found = given(path)
    wanted = audio.read(right)[0]
    delay = 576
    spent = wanted.shape[1] - 4000
    assert wanted.shape[1] <= info.frames <= wanted.shape[1] + 4 * 1152
    ends = slice(delay + 2000, delay + spent)
    np.testing.assert_allclose(found[:, ends], wanted[:, 2000:spent], atol=1e-4)
    return info


def test_an_mp3_without_a_count_is_given_in_full(tmp_path, mp3):
    frames = without_tag(mp3)
    picture = c.id3(c.id3_frame(b"APIC", b"\0image/png\0\3\0" + b"\xff\xfb\x90\x44" * 300_000))
    for name, content in {
        "bare": frames, "id3": c.id3(bytes(2000)) + frames, "picture": picture + frames, "tail": frames + b"TAG" + b"\xff" * 125,
        "ape": frames + b"APETAGEX" + bytes(500), "junk": b"\x01junk\xff\xfb" * 99 + frames,
    }.items():  # fmt: skip
        (tmp_path / f"{name}.mp3").write_bytes(content)
        info = assert_whole(tmp_path / f"{name}.mp3", mp3)
        assert "does not say how long it is" in (info.note or ""), name


@pytest.mark.parametrize("field", ["frames", "flags"])
def test_a_tag_that_counts_nothing(tmp_path, mp3, field):
    content = bytearray(mp3.read_bytes())
    at = max(content.find(b"Xing"), content.find(b"Info"))
    place = at + (8 if field == "frames" else 4)
    content[place : place + 4] = bytes(4)
    (tmp_path / "x.mp3").write_bytes(content)
    info, found = given(tmp_path / "x.mp3")
    wanted = audio.read(mp3)[0]
    assert "does not say how long it is" in (info.note or "") and info.frames >= wanted.shape[1]
    if field == "frames":
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_cut_mp3s(tmp_path, mp3):
    content, bare = mp3.read_bytes(), without_tag(mp3)
    path = tmp_path / "x.mp3"
    path.write_bytes(bare[:-10])
    assert "its last frame is cut short" in (given(path)[0].note or "")
    path.write_bytes(content[:-10])
    info, _ = given(path)
    assert "frames, the file holds" in (info.note or "") and "cut short" in (info.note or "")
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(AudioRestorerError, match="truncated: the header counts"):
        audio.probe(path)


def test_a_right_mp3_is_left_alone(mp3):
    info, _ = given(mp3)
    assert info.note is None and info.frames == round(3 * info.sample_rate)


def test_blocks_of_an_mp3_join_without_a_gap(mp3):
    whole = audio.read(mp3)[0]
    for seconds in (0.05, 0.3, 1.0):
        parts = np.concatenate(list(audio.blocks(mp3, block_sec=seconds)), axis=1)
        np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_two_mp3s_in_one_file_are_both_given(tmp_path, mp3):
    (tmp_path / "x.mp3").write_bytes(mp3.read_bytes() + mp3.read_bytes())
    info, _ = given(tmp_path / "x.mp3")
    assert info.frames > 5.9 * info.sample_rate and "its header counts" in (info.note or "")


@pytest.mark.parametrize("rest", [b"\xff" * 30_000_000, b"\xff\xfb" * 10_000_000, bytes(30_000_000)])
def test_what_fills_a_disk_behind_an_mp3_costs_no_time(tmp_path, rest):
    sf.write(tmp_path / "right.mp3", np.random.default_rng(1).normal(0, 0.1, 16_000), 16_000, format="MP3")
    (tmp_path / "x.mp3").write_bytes(without_tag(tmp_path / "right.mp3") + rest)
    began = time.process_time()
    assert 16_000 <= audio.probe(tmp_path / "x.mp3").frames < 20_000
    assert time.process_time() - began < 5


@pytest.mark.parametrize("frames", [2, 7, 101])
def test_layer_2_has_no_tag_and_is_counted(tmp_path, frames):
    head = (0x7FF << 21 | 3 << 19 | 2 << 17 | 1 << 16 | 10 << 12 | 3 << 6).to_bytes(4, "big")
    found = mpeg.frame_of(head)
    assert found and (found.layer, found.samples) == (2, 1152)
    (tmp_path / "x.mp3").write_bytes((head + bytes(found.size - 4)) * frames)
    assert (
        audio.probe(tmp_path / "x.mp3").frames
        == sum(b.shape[1] for b in audio.blocks(tmp_path / "x.mp3"))
        == frames * 1152
    )


@pytest.mark.parametrize("block", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("claimed", [0, 5000, FULL + 500])
def test_a_flac_that_miscounts(tmp_path, block, claimed):
    right = c.encoded(c.voice(), c.RATE, "FLAC", block)
    (tmp_path / "x.flac").write_bytes(c.with_bits(right, *c.FLAC_FIELDS["total"], claimed))
    info, found = given(tmp_path / "x.flac")
    assert info.frames == FULL and f"holds {FULL} samples" in (info.note or "")
    np.testing.assert_allclose(found[0], voice(), atol=1e-4)


def test_a_flac_from_a_pipe_that_broke(tmp_path):
    whole = c.with_bits(c.encoded(c.voice(), c.RATE, "FLAC"), *c.FLAC_FIELDS["total"], 0)
    (tmp_path / "x.flac").write_bytes(whole[:-700])
    info, found = given(tmp_path / "x.flac")
    assert FULL // 3 < info.frames < FULL and "does not say how long" in (info.note or "")
    np.testing.assert_allclose(found[0], voice(info.frames), atol=1e-4)


def test_checksums_are_the_published_ones():
    """Of the digits 1 to 9, in the catalogue of parametrised CRC algorithms: CRC-8/SMBUS and CRC-16/UMTS, which RFC 9639 uses."""
    assert (flac.crc8(b"123456789"), flac.crc16(b"123456789")) == (0xF4, 0xFEE8)


def test_a_cut_flac_is_refused(tmp_path):
    (tmp_path / "x.flac").write_bytes(c.encoded(c.voice(), c.RATE, "FLAC")[:-3000])
    with pytest.raises(AudioRestorerError, match=r"x\.flac: damaged or cut short: it fails after \d+ of 9600 samples"):
        list(audio.blocks(tmp_path / "x.flac"))


def test_a_view_reads_as_the_file_that_it_stands_for():
    view = mending.View(b"head", 3, 8, None, b"tail")
    file = mending.ViewFile(io.BytesIO(b"0123456789"), view)
    whole = b"head34567tail"
    assert file.read() == whole and file.read() == b"" and file.seek(0, 2) == len(whole)
    for start in range(len(whole) + 1):
        for count in range(len(whole) + 2):
            assert file.seek(start) == file.tell() == start
            assert file.read(count) == whole[start : start + count]


def test_a_file_is_looked_at_once(tmp_path, monkeypatch):
    (tmp_path / "x.wav").write_bytes(OPEN["size_0"][0])
    audio.probe(tmp_path / "x.wav")
    monkeypatch.setattr(mending, "_of_wave", lambda *_: pytest.fail("looked at again"))
    assert len(list(audio.blocks(tmp_path / "x.wav"))) == 1


def test_folder_commands_say_it_too(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.wav").write_bytes(OPEN["size_0"][0] or b"")
    (row,) = folder.items_of(tmp_path / "in", tmp_path / "out", "restore", tmp_path / "store")
    assert row.ok and row.duration == FULL / c.RATE and "it counts 0 bytes" in (row.notes or {})["header"]
