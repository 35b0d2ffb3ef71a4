"""Titles, covers, chapters, time codes and markers: read from any format, written into any, without a change of the sound."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from audiorestorer import audio
from audiorestorer.config import Config, LoudnessSettings
from audiorestorer.formats import metadata, riff, tagging
from audiorestorer.formats.metadata import Metadata, Picture
from audiorestorer.manifest import read_manifest
from audiorestorer.stages import ingest, loudness
from audiorestorer.stages.job import Job
from tests.coded import noise, write_coded

RATE = 44_100
MEASURED = riff.Measured(-23.0, -1.5, RATE, 24, 1, "AudioRestorer")


def jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 30, 30)).save(out, "JPEG")
    return out.getvalue()


def told() -> Metadata:
    return Metadata(
        {
            "title": ["Été"], "artist": ["A", "B"], "tracknumber": ["3/12"], "date": ["2024-05-01"], "comment": ["c"],
            "lyrics": ["la"], "my field": ["x"], "bpm": ["120"], "description": ["d"],
        },
        [Picture("image/jpeg", 3, jpeg())],
        [(0.0, 0.25, "one"), (0.25, 0.5, "two")],
    )  # fmt: skip


def written(path: Path, given: Metadata) -> str | None:
    """A file of half a second with the metadata; the sound stays as it was."""
    source = audio.AudioInfo(RATE, 1, RATE // 2, "WAV", "PCM_16")
    format, subtype = audio.output_format(source, path.suffix)
    audio.write_blocks(path, [noise(RATE, RATE // 2)], RATE, 1, format=format, subtype=subtype, chapters=given.chapters)
    before, _ = audio.read(path)
    lost = tagging.write(path, given, MEASURED)
    after, rate = audio.read(path)
    assert rate == RATE or path.suffix == ".opus"
    np.testing.assert_array_equal(after, before)
    return lost


@pytest.mark.parametrize("suffix", [".wav", ".rf64", ".flac", ".aiff", ".mp3", ".m4a", ".opus"])
def test_all_that_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    given = told()
    assert written(tmp_path / f"x{suffix}", given) is None
    found, problem = metadata.read(tmp_path / f"x{suffix}")
    assert problem is None and found.texts == given.texts and found.pictures == given.pictures
    assert [(start, title) for start, _, title in found.chapters] == [(0.0, "one"), (0.25, "two")]
    assert Metadata.from_json(found.to_json()) == found


@pytest.mark.parametrize("suffix", [".caf", ".w64", ".au"])
def test_what_a_format_does_not_carry_is_named(tmp_path: Path, suffix: str) -> None:
    lost = written(
        tmp_path / f"x{suffix}", Metadata({"title": ["T"]}, told().pictures, told().chapters, [("bext", bytes(602))])
    )
    assert lost == "not in the output: broadcast extension (bext), tags (title), cover, chapters"


def test_gains_for_players_are_dropped(tmp_path: Path) -> None:
    """They are of the sound before; mutagen writes them here as programs do."""
    import mutagen

    for suffix in (".mp3", ".flac", ".m4a"):
        path = tmp_path / f"x{suffix}"
        written(path, Metadata({"replaygain_track_gain": ["-7.03 dB"], "title": ["T"]}))
        assert "replaygain" in str(mutagen.File(path).tags).lower()
        found, _ = metadata.read(path)
        assert found.texts == {"title": ["T"]}


def field_recording(path: Path) -> list[tuple[str, bytes]]:
    """A WAV file as a recorder writes it: time code, iXML, two markers with a label, a title."""
    bext = bytearray(602)
    bext[:5] = b"Scene"
    bext[338:346] = (RATE * 3600).to_bytes(8, "little")  # samples since midnight
    bext[346:348] = (2).to_bytes(2, "little")
    cue = (2).to_bytes(4, "little") + b"".join(
        n.to_bytes(4, "little")
        + (1000 * n).to_bytes(4, "little")
        + b"data"
        + bytes(8)
        + (1000 * n).to_bytes(4, "little")
        for n in (1, 2)
    )
    label = b"adtl" + b"labl" + (8).to_bytes(4, "little") + (1).to_bytes(4, "little") + b"out\0"
    chunks = [
        ("bext", bytes(bext) + b"A=ANALOGUE\r\n"), ("iXML", b"<BWFXML><TAPE>7</TAPE></BWFXML>"), ("cue ", cue), ("LIST", label),
        ("LIST", riff.info_chunk([("INAM", b"Take 7")])),
    ]  # fmt: skip
    audio.write(path, noise(RATE, RATE), RATE, subtype="PCM_24")
    riff.insert(path, chunks, MEASURED)
    return chunks


@pytest.mark.parametrize("suffix", [".wav", ".rf64"])
def test_time_code_and_markers_stay_to_the_byte(tmp_path: Path, suffix: str) -> None:
    chunks = field_recording(tmp_path / "in.wav")
    found, problem = metadata.read(tmp_path / "in.wav")
    assert problem is None and found.texts == {"title": ["Take 7"]} and len(found.chunks) == len(chunks)
    assert written(tmp_path / f"out{suffix}", found) is None
    again, _ = metadata.read(tmp_path / f"out{suffix}")
    assert [name for name, _ in again.chunks] == ["bext", "iXML", "cue ", "LIST", "LIST"]
    assert again.chunks[1:] == found.chunks[1:] == chunks[1:]
    (_, before), (_, after) = found.chunks[0], again.chunks[0]
    assert after[:412] == before[:412]  # the description and the time code
    loudness_value, loudness_range, peak = np.frombuffer(after[412:418], "<i2")
    assert (loudness_value, loudness_range, peak) == (-2300, 0x7FFF, -150)
    line = b"A=PCM,F=44100,W=24,M=mono,T=AudioRestorer\r\n"
    assert after[602:] == b"A=ANALOGUE\r\n" + line + line
    assert sf.info(tmp_path / f"out{suffix}").frames == RATE // 2


def test_the_chunks_of_a_field_recording_become_tags_elsewhere(tmp_path: Path) -> None:
    field_recording(tmp_path / "in.wav")
    found, _ = metadata.read(tmp_path / "in.wav")
    lost = written(tmp_path / "out.flac", found)
    assert lost == "not in the output: broadcast extension (bext), iXML, markers (cue)"
    assert metadata.read(tmp_path / "out.flac")[0].texts == {"title": ["Take 7"]}


@pytest.mark.parametrize(
    "content", [b"ID3\4\0\0\0\0\0\x20" + b"TIT2\xff\xff\xff\xff" + bytes(40), b"\xff\xfb\x90\0" * 200]
)
def test_damaged_tags_are_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.mp3").write_bytes(content)
    found, problem = metadata.read(tmp_path / "x.mp3")
    assert not found and (problem is None or "tags could not all be read" in problem)


def test_pictures_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "x.flac", told())
    monkeypatch.setattr(metadata, "MOST_BYTES", 100)
    found, problem = metadata.read(tmp_path / "x.flac")
    assert found.texts and not found.pictures and "were left out" in (problem or "")


def test_a_folder_of_anything_comes_out_as_it_was(tmp_path: Path) -> None:
    """Ingest and loudness, without a network between: the same formats, lengths, tags and bit rates."""
    folder = tmp_path / "in"
    folder.mkdir()
    stereo = noise(RATE, RATE, 2)
    write_coded(folder / "a.m4a", [(stereo, RATE)], "aac", "ipod", title="T", artist="A")
    write_coded(folder / "l.m4a", [(stereo, RATE)], "alac", "ipod", title="T")
    write_coded(folder / "s.mp3", [(stereo, RATE)], "libmp3lame", "mp3", title="T", artist="A")
    write_coded(folder / "o.opus", [(noise(48_000, 48_000), 48_000)], "libopus", "opus", title="T")
    write_coded(folder / "w.wma", [(stereo, RATE)], "wmav2", "asf", title="T")
    write_coded(folder / "k.mka", [(stereo, RATE)], "aac", "matroska", title="T")
    field_recording(folder / "f.wav")
    for suffix in (".aiff", ".caf", ".w64", ".au", ".flac"):
        sf.write(folder / f"p{suffix}", stereo.T, RATE, format=audio.WRITTEN[suffix], subtype="PCM_16")
    config = Config(input=str(folder), shards=1)
    ingest.run(tmp_path / "i.jsonl", config, 0, tmp_path / "store")
    loudness.run(
        tmp_path / "i.jsonl", tmp_path / "l.jsonl", LoudnessSettings(true_peak_dbtp=-2), Job(tmp_path / "store")
    )
    rows = {row.relative or "": row for row in read_manifest(tmp_path / "l.jsonl")}
    kept = {"a.m4a", "l.m4a", "s.mp3", "o.opus", "f.wav", "p.aiff", "p.caf", "p.w64", "p.au", "p.flac"}
    assert {row.output for row in rows.values()} == kept | {"w.flac", "k.flac"}
    for name, row in rows.items():
        assert row.ok, (name, row.reason)
        given, made = audio.probe(row.noisy), audio.probe(row.path or "")
        assert (made.frames, made.sample_rate, made.channels) == (given.frames, given.sample_rate, given.channels), name
        assert row.output_lufs == pytest.approx(-23, abs=0.1) and (row.true_peak_dbtp or 0) <= -2 + 0.01, name
        titles = metadata.read(Path(row.path or ""))[0].texts.get("title")
        assert titles == (None if name.startswith("p.") else ["Take 7"] if name == "f.wav" else ["T"]), name
        assert not row.notes or "tags" not in row.notes, (name, row.notes)
    assert rows["l.m4a"].codec == "alac" and audio.probe(rows["l.m4a"].path or "").subtype == "PCM_24"
    size = Path(rows["s.mp3"].path or "").stat().st_size
    assert 8 * size / (rows["s.mp3"].duration or 1) == pytest.approx(rows["s.mp3"].bit_rate or 0, rel=0.1)
