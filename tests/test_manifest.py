from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from audiorestorer.errors import AudioRestorerError
from audiorestorer.manifest import (
    Item,
    in_range,
    item_id,
    output_names,
    read_manifest,
    shard_of,
    shard_range,
    unique_ids,
    write_manifest,
)


def test_id_of_nested_path():
    assert item_id("a/b/c.wav") == "a_b_c"
    assert item_id("seed_42_run1/text_batched_generated.wav", "__") == "seed_42_run1__text_batched_generated"
    assert item_id("café menu/wärm up 1.flac") == "café_menu_wärm_up_1"


def test_colliding_ids_are_told_apart_and_stay_the_same_in_any_company():
    ids = unique_ids(["a/b.wav", "a_b.wav", "A/b.flac", "other.wav"])
    assert len({name.casefold() for name in ids.values()}) == 4
    assert ids["other.wav"] == "other"
    assert ids["a/b.wav"] == unique_ids(["a/b.wav", "a_b.wav"])["a/b.wav"]


def test_outputs_of_one_name_stay_apart():
    """An input that has the name already keeps it; B and b are one file on some disks."""
    names = ["a.wav", "a.flac", "a.wav.wav", "B.wav", "b.ogg", "d/c.mp3"]
    outputs = output_names({name: f"{name.rpartition('.')[0]}.wav" for name in names})
    assert len({name.casefold() for name in outputs.values()}) == len(names)
    assert outputs["d/c.mp3"] == "d/c.wav" and outputs["a.wav"] == "a.wav" and outputs["B.wav"] == "B.wav"
    assert outputs["a.flac"].startswith("a-") and outputs["b.ogg"].startswith("b-")


@given(st.lists(st.text(min_size=1, max_size=300).filter(lambda t: "\0" not in t), unique=True, max_size=8))
def test_ids_are_unique_safe_file_names(names):
    ids = list(unique_ids([name + ".wav" for name in names]).values())
    assert len({i.casefold() for i in ids}) == len(ids)
    for name in ids:
        assert 0 < len(name.encode()) <= 140
        assert "/" not in name and not name.startswith((".", "-"))
        assert not any(c.isspace() or c in "\"'$`;&|<>*?" for c in name)


def test_shard_is_stable():
    # a fixed value: another hash would reshuffle every user's shards
    assert [shard_of(name, 97) for name in ("a", "b", "seed_42_run1__x")] == [59, 15, 74]
    counts = [0] * 4
    for number in range(4000):
        counts[shard_of(f"item{number}", 4)] += 1
    assert min(counts) > 900


def test_round_trip_keeps_the_fields_of_stages(tmp_path):
    path = tmp_path / "m.jsonl"
    rows = [Item(id="b", noisy="b.wav").updated(gain_db=1.5), Item(id="a", noisy="ä.wav").rejected("empty")]
    write_manifest(path, rows)
    back = read_manifest(path)
    assert [row.id for row in back] == ["a", "b"]
    assert back[1].gain_db == 1.5 and not back[0].ok and back[0].reason == "empty"


def test_a_field_that_no_stage_declares_is_an_error(tmp_path):
    row = Item(id="a", noisy="a.wav")
    with pytest.raises(ValidationError, match="gain_bd"):
        row.updated(gain_bd=1.5)
    with pytest.raises(AttributeError, match="gain_bd"):
        _ = row.gain_bd
    (tmp_path / "m.jsonl").write_text('{"id": "a", "noisy": "x", "gain_bd": 1}\n')
    with pytest.raises(AudioRestorerError, match="m.jsonl:1: gain_bd"):
        read_manifest(tmp_path / "m.jsonl")


def test_empty_manifest_is_not_zero_bytes(tmp_path):
    write_manifest(tmp_path / "m.jsonl", [])
    assert (tmp_path / "m.jsonl").stat().st_size > 0 and read_manifest(tmp_path / "m.jsonl") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a"}\n', "m.jsonl:1: noisy"),
        ('{"id": "a", "noisy": "x"}\nnot json\n', "m.jsonl:2"),
        ('{"id": "a", "noisy": "x"}\n{"id": "a", "noisy": "y"}\n', "stands twice"),
    ],
)
def test_bad_rows_name_file_and_line(tmp_path, text, message):
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(AudioRestorerError, match=message):
        read_manifest(tmp_path / "m.jsonl")


def test_missing_manifest(tmp_path):
    with pytest.raises(AudioRestorerError, match="cannot read"):
        read_manifest(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([0], "[0]"), ([3, 0, 1, 2], "[0-3]"), ([0, 2, 3, 9], "[0,2-3,9]"), (range(20_000), "[0-19999]")],
)
def test_shards_in_a_command_line_are_short_and_come_back(numbers, text):
    assert shard_range(numbers) == text
    assert in_range([Path(f"a b/{text}.jsonl")]) == [Path(f"a b/{number}.jsonl") for number in sorted(numbers)]


def test_other_names_are_left_alone():
    names = [
        Path(name)
        for name in ("a/0.jsonl", "a/[].jsonl", "a/[x].jsonl", "[0-3]/a.jsonl", "a/[1-2]x.jsonl", "2024-05.jsonl")
    ]
    assert in_range(names) == names


def test_a_row_keeps_the_notes_of_all_stages():
    row = Item(id="a", noisy="a.wav").updated(notes={"header": "not closed"}).updated(notes={"loudness": "short"})
    assert row.notes == {"header": "not closed", "loudness": "short"}
    assert row.updated(status="ok").notes == row.notes == row.updated(notes=None).notes
