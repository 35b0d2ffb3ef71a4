"""Recordings and their partners under the names that other systems give them; what has none is counted and named."""

import os
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiorestorer.audio import recordings
from audiorestorer.config import Config
from audiorestorer.errors import AudioRestorerError
from audiorestorer.intake import listing
from audiorestorer.intake.matching import Names, partners
from audiorestorer.intake.pairs import references_of, transcripts_of


def nfd(name: str) -> str:
    return unicodedata.normalize("NFD", name)


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"RIFF")
    return folder


def texts(tmp_path: Path, names: list[str], *rows: tuple[str, str], **kwargs: object) -> object:
    table = tmp_path / "t.tsv"
    table.write_text("".join(f"{a}\t{b}\n" for a, b in (("path", "transcript"), *rows)), encoding="utf-8")
    return transcripts_of(table, names, tmp_path / "my input", **kwargs)


@pytest.mark.parametrize(
    "path",
    [
        "Übung 1/Größe.wav", nfd("Übung 1/Größe.wav"), "übung 1/GRÖSSE.WAV", "./Übung 1/Größe.wav", ".\\Übung 1\\Größe.wav",
        "Übung 1//Größe.wav", "Übung 1/Größe", "Übung 1/Größe.mp3", "Übung 1/Größe.m4a", " Übung 1/Größe.wav ",
        "“Übung 1/Größe.wav”", "'Übung 1/Größe.wav'", "my input/Übung 1/Größe.wav", "My Input\\Übung 1\\Größe",
        "\u202aÜbung 1/Größe.wav",
        "C:\\Users\\me\\my input\\Übung 1\\Größe.wav", "{folder}/my input/Übung 1/Größe.wav", "../my input/Übung 1/Größe.wav",
        "Übung 1/x/../Größe.wav", "Ｕ\u0308bung 1/Größe.wav",
    ],
)  # fmt: skip
def test_a_row_finds_its_recording(tmp_path: Path, path: str) -> None:
    for recording in ("Übung 1/Größe.wav", nfd("Übung 1/Größe.wav")):
        found = texts(tmp_path, [recording, "Übung 2/Größe.wav", "a.wav"], (path.format(folder=tmp_path), "hello"))
        assert found.of == {recording: {"transcript": "hello"}} and not found.unmatched


def test_what_only_looks_like_it_is_no_partner(tmp_path: Path) -> None:
    names = ["a.wav", "set/b.wav", "1.5.wav"]
    found = texts(tmp_path, names, ("b.wav", "x"), ("set", "x"), ("a.wav.bak", "x"), ("1.wav", "x"), ("", "no path"))
    assert not found.of and [row.line for row in found.unmatched] == [2, 3, 4, 5, 6]


def test_an_exact_name_always_wins(tmp_path: Path) -> None:
    names = ["é.wav", nfd("é.wav"), "Case.wav", "case.wav", "b.wav", "b.flac"]
    found = texts(
        tmp_path,
        names,
        ("é.wav", "c"),
        (nfd("é.wav"), "d"),
        ("Case.wav", "C"),
        ("CASE.wav", "?"),
        ("b", "?"),
        ("b.flac", "f"),
    )
    assert {name: row.get("transcript") for name, row in found.of.items()} == {
        "é.wav": "c", nfd("é.wav"): "d", "Case.wav": "C", "b.flac": "f",
    }  # fmt: skip
    assert set(found.unclear) == {"case.wav", "b.wav"}
    assert found.unclear["b.wav"] == "no transcript: b (line 6) of t.tsv fits b.flac and b.wav alike"


def test_rows_that_say_the_same_are_one_and_others_are_none(tmp_path: Path) -> None:
    rows = [
        ("a.wav", "x"),
        ("./a.wav", "x"),
        ("a.wav", ""),
        ("b.wav", "one"),
        ("c.wav", "z"),
        ("b", "far"),
        ("b.wav", "two"),
    ]
    found = texts(tmp_path, ["a.wav", "b.wav", "c.wav"], *rows)
    assert found.of == {"a.wav": {"transcript": "x"}, "b.wav": {}, "c.wav": {"transcript": "z"}}
    assert [row.line for row in found.repeated] == [3, 4] and [row.line for row in found.unmatched] == [7]
    assert found.unclear == {"b.wav": "no transcript: two different ones in t.tsv, lines 5 and 8"}


def test_references_under_other_names(tmp_path: Path) -> None:
    clean = files(
        tmp_path / "clean",
        "Übung/Größe.flac",
        "a.wav",
        "B.WAV",
        "c.flac",
        "c.mp3",
        "spare.wav",
        "m.aax",
        ".h.wav",
        "notes.txt",
    )
    names = [nfd("Übung/Größe.wav"), "a.wav", "a.flac", "b.wav", "c.wav", "none.wav"]
    found = references_of(clean, names)
    assert {name: path.name for name, path in found.of.items()} == {
        names[0]: "Größe.flac", "a.wav": "a.wav", "a.flac": "a.wav", "b.wav": "B.WAV", "c.wav": "c.flac",
    }  # fmt: skip
    assert found.unmatched == ["c.mp3", "spare.wav"] and found.formats == ["m.aax"] and not found.unclear
    assert references_of(clean, names, ["Spare.wav", "c.mp3"]).unmatched == []


def test_twins_keep_their_own_references_and_share_none(tmp_path: Path) -> None:
    twins = ["é.wav", nfd("é.wav")]
    both = references_of(files(tmp_path / "both", *twins), twins)
    assert {name: path.name for name, path in both.of.items()} == {name: name for name in twins}
    one = references_of(files(tmp_path / "one", twins[0]), twins)
    assert list(one.of) == twins[:1] and not one.unclear
    none = references_of(files(tmp_path / "none", "É.wav"), twins)
    assert not none.of and set(none.unclear) == set(twins) and not none.unmatched
    assert none.unclear["é.wav"].startswith("no reference: É.wav fits ")
    if not (tmp_path / "none/é.wav").exists():  # a disk that minds letter case
        two = references_of(files(tmp_path / "two", "a.WAV", "A.wav"), ["a.wav"])
        assert two.unclear == {"a.wav": "no reference: A.wav and a.WAV fit its name alike"}


def test_links_in_the_references_are_followed_once(tmp_path: Path) -> None:
    files(tmp_path / "far", "a.wav")
    clean = files(tmp_path / "clean", "b.wav")
    (clean / "set").symlink_to(tmp_path / "far")
    (clean / "loop").symlink_to(clean)
    (clean / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    found = references_of(clean, ["set/a.wav", "b.wav", "gone.wav"])
    assert found.of == {"set/a.wav": clean / "set/a.wav", "b.wav": clean / "b.wav"}


@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=6),
        unique=True,
        max_size=12,
    )
)
def test_every_name_finds_itself_and_partners_are_never_shared_by_different_stems(names: list[str]) -> None:
    names = [f"{name}.wav" for name in names]
    assert {name: match.partner for name, match in partners(names, Names(names)).items()} == {
        name: name for name in names
    }
    half = names[::2]
    taken = [match.partner for match in partners(names, Names(half)).values() if match.partner]
    assert len(taken) == len(set(taken)) and set(half) <= set(taken)


def kinds(found: list) -> dict[str, tuple[int, list[str]]]:
    return {entry["kind"]: (entry["count"], entry["first"]) for entry in found}


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    names = [
        "a.wav",
        "b.wav",
        "set/c.flac",
        "twice.wav",
        "skip/d.wav",
        "v.aax",
        "w.AAX",
        "x.voc",
        "set/y.spx",
        "notes.txt",
        "README",
        ".DS_Store",
    ]
    files(tmp_path / "input", *names)
    files(tmp_path / "clean", "A.wav", "set/c.wav", "skip/d.wav", "old.wav", "v.aax")
    (tmp_path / "input/far").symlink_to(tmp_path / "clean")
    rows = "a.wav\thello\nset/c\tc\nskip/d.wav\td\ngone.wav\tg\ntwice.wav\t1\ntwice.wav\t2\nb.wav\tto\tmany\n"
    (tmp_path / "transcripts.tsv").write_text(f"path\ttranscript\n{rows}")
    return tmp_path


def test_what_is_left_out_is_counted_and_named(batch: Path) -> None:
    found = listing.batch(Config(input=str(batch / "input"), exclude=["skip/*"]))
    assert kinds(found.left_out) == {
        "format": (4, ["set/y.spx", "v.aax", "w.AAX"]),
        "other": (2, ["README", "notes.txt"]),
        "link": (1, ["far"]),
        "reference_missing": (2, ["b.wav", "twice.wav"]),
        "reference_unmatched": (1, ["old.wav"]),
        "reference_format": (1, ["v.aax"]),
        "transcript_missing": (1, ["b.wav"]),
        "transcript_ambiguous": (1, ["twice.wav"]),
        "transcript_unmatched": (1, ["gone.wav (line 5)"]),
        "transcript_row": (1, ["line 8"]),
    }
    assert kinds(found.told) == {"pattern": (1, ["skip/d.wav"])}
    text = {entry["kind"]: entry["text"] for entry in found.left_out}
    assert text["format"] == (
        "4 audio or video files of formats that are not taken were left out: .aax 2, .spx 1, .voc 1"
        " (first: set/y.spx, v.aax, w.AAX): convert them to WAV or FLAC"
    )
    assert text["transcript_row"].startswith(
        "1 row of transcripts.tsv was not used: it has more cells than the header (line 8)"
    )
    assert found.notes == {
        "twice.wav": {"transcript": "no transcript: two different ones in transcripts.tsv, lines 6 and 7"}
    }


def test_a_zip_leaves_out_what_its_folder_does(batch: Path) -> None:
    (batch / "input/far").unlink()
    plain = listing.batch(Config(input=str(batch / "input")))
    with zipfile.ZipFile(batch / "input.zip", "w") as archive:
        for path in sorted((batch / "input").rglob("*")):
            archive.write(path, path.relative_to(batch / "input"))
        archive.writestr("__MACOSX/._v.aax", b"x")
    packed = listing.batch(Config(input=str(batch / "input.zip")))
    assert packed.left_out == plain.left_out and packed.texts == plain.texts and packed.references == plain.references


def test_a_folder_that_cannot_be_read_is_never_silent(batch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).rstrip("/").endswith("/set"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    every = listing.batch(Config(input=str(batch / "input")))
    assert (
        next(file for file in every.files if file.relative == "set").problem
        == "a folder that cannot be read: Permission denied"
    )
    some = listing.batch(Config(input=str(batch / "input"), pattern="*.wav"))
    assert kinds(some.left_out)["closed"] == (1, ["set"]) and kinds(some.left_out)["reference_unreadable"] == (
        1,
        ["set/"],
    )


def test_a_change_of_a_partner_makes_its_shard_stale_alone(batch: Path) -> None:
    config = Config(input=str(batch / "input"), shards=50)
    before = listing.batch(config).shards(config.shards)
    table = batch / "transcripts.tsv"
    table.write_text(table.read_text().replace("hello", "good bye"))
    changed = {shard for shard, found in listing.batch(config).shards(config.shards).items() if found != before[shard]}
    assert len(changed) == 1
    table.write_text(table.read_text() + "unknown.wav\tx\n")
    without = Config(**{**config.model_dump(), "transcripts": None})
    assert listing.batch(config).left_out_digest != listing.batch(without).left_out_digest
    assert {
        shard for shard, found in listing.batch(config).shards(config.shards).items() if found != before[shard]
    } == changed


def test_patterns_take_composed_and_decomposed_letters_for_the_same(tmp_path: Path) -> None:
    folder = files(tmp_path / "input", nfd("Übung/Größe.wav"), "é.wav", "other.wav")
    for write in (str, nfd):
        found = listing.scan(folder, write("**/*Größe*"), [])
        assert [file.relative for file in found.files] == [nfd("Übung/Größe.wav")] and len(found.passed_over) == 2
        assert len(listing.scan(folder, "**/*", [write("Übung/*"), write("é.wav")]).files) == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.aax", "2.aax", "3.aax"], "no recording; it holds 3 .aax files: convert them, e.g. `ffmpeg -i 1.aax 1.flac`"),
        (["my take.voc"], "it holds 1 .voc file: convert it, e.g. `ffmpeg -i 'my take.voc' 'my take.flac'`"),
        (["a.txt"], "holds no recording; it holds other files: .txt 1"),
        ([], "holds no recording"),
    ],
)  # fmt: skip
def test_an_input_without_a_recording_says_what_it_holds(tmp_path: Path, names: list[str], message: str) -> None:
    folder = files(tmp_path / "input", *names)
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(tmp_path / "input.zip", "w") as archive:
        for name in names:
            archive.write(folder / name, name)
    for source in (folder, tmp_path / "input.zip"):
        with pytest.raises(AudioRestorerError) as caught:
            listing.batch(Config(input=str(source)))
        assert str(caught.value).startswith(f"input: {source}: ") and message in str(caught.value)
    with pytest.raises(AudioRestorerError, match="no recordings") as caught:
        recordings(folder)
    assert message.rpartition("; ")[2].removeprefix("holds no recording") in str(caught.value)


def test_folder_commands_name_what_they_leave_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = files(tmp_path / "in", "a.wav", "b.aax")
    assert list(recordings(folder)) == ["a.wav"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}: 1 audio or video file of a format that is not taken was left out: .aax 1 (b.aax): convert it to WAV or FLAC"
    ]


def test_a_table_beside_the_input_that_is_not_used_is_named(batch: Path) -> None:
    (batch / "transcripts.tsv").rename(batch / "metadata.csv")
    told = listing.batch(Config(input=str(batch / "input"))).told
    assert kinds(told) == {"table_unused": (1, ["metadata.csv"])}


@pytest.mark.parametrize("table", ["", "words\ttext\n", "path\ttranscript\na\t\udcff\n"])
def test_a_table_that_cannot_be_used_stops_the_run_before_it_starts(batch: Path, table: str) -> None:
    (batch / "transcripts.tsv").write_bytes(os.fsencode(table))
    with pytest.raises(AudioRestorerError, match=r"transcripts: .*transcripts\.tsv: "):
        listing.batch(Config(input=str(batch / "input")))
