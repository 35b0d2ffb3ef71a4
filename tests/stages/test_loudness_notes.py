"""The loudness stage where BS.1770 gives no number, where a spike sticks out, and where the speech is gone."""

import json

import numpy as np
import pytest

from audiorestorer import audio
from audiorestorer.config import LoudnessSettings
from audiorestorer.dsp.loudness import measure
from audiorestorer.manifest import read_manifest, write_manifest
from audiorestorer.stages import loudness
from audiorestorer.stages.batch import collect
from audiorestorer.stages.job import Job
from tests.dsp.test_reading import RATE, db, read, speech
from tests.stages.test_levels_edges import item


def levelled(folder, made, given=None, notes=None, subtype="FLOAT", **settings):
    """The row of a recording `given` (default: as it is made) of which the chain made `made`."""
    row = item(folder, "x", noisy=made if given is None else given, path=made).updated(notes=notes)
    write_manifest(folder / "i.jsonl", [row])
    config = LoudnessSettings(subtype=subtype, **settings)
    loudness.run(folder / "i.jsonl", folder / "o.jsonl", config, Job(folder / "store"))
    return read_manifest(folder / "o.jsonl")[0]


def rms_db(x):
    return 20 * np.log10(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def test_the_gain_is_smooth_over_the_level_across_the_gate(tmp_path):
    x = speech(4) * db(-23 - read(speech(4)).lufs)
    gains, outs = [], []
    for level in range(-56, -100, -4):
        row = levelled(tmp_path, x * db(level + 23), max_gain_db=80)
        gains.append(row.gain_db + level)
        outs.append(rms_db(audio.read(row.path)[0]))
        assert ("below BS.1770's gate" in (row.notes or {}).get("loudness", "")) == (level < -70)
    assert np.ptp(gains) < 0.2 and np.ptp(outs) < 0.2 and gains[0] == pytest.approx(-23, abs=0.1)


def test_below_the_gate_a_recording_gets_the_gain_of_its_louder_neighbour(tmp_path):
    x = speech(4) * db(-66 - read(speech(4)).lufs)
    rows = [levelled(tmp_path, x * db(less)) for less in (0, -14, -20)]
    assert [row.gain_db for row in rows] == [40, 40, 40]
    assert "silent" not in rows[-1].notes["loudness"] and "held at max_gain_db (40 dB)" in rows[-1].notes["loudness"]
    assert "speech" not in rows[-1].notes and rows[-1].taken_db == 0


@pytest.mark.parametrize("seconds", [0.1, 0.25, 0.39, 0.45, 2.0])
def test_pieces_of_a_take_come_out_at_one_level(tmp_path, seconds):
    x = np.random.default_rng(1).normal(0, 0.01, (1, round(seconds * RATE))).astype(np.float32)
    row = levelled(tmp_path, x)
    assert read(audio.read(row.path)[0]).lufs == pytest.approx(-23, abs=0.1)
    assert ("shorter than 400 ms" in (row.notes or {}).get("loudness", "")) == (seconds < 0.4)


def test_silence_stays_and_says_so_beside_what_was_said_before(tmp_path):
    row = levelled(tmp_path, np.zeros((1, RATE), np.float32), notes={"header": "h"})
    assert row.gain_db == 0 and row.notes["loudness"].startswith("digital silence")
    assert row.notes["header"] == "h" and "the recording is silent" in row.notes["speech"]
    row = levelled(tmp_path, speech(2), notes={"header": "h"})
    assert row.notes == {"header": "h"}


@pytest.mark.parametrize("height_db", [20.0, 84.9])
def test_a_spike_rules_neither_level_nor_limiter(tmp_path, height_db):
    x = speech(5) * db(-45 - read(speech(5)).lufs)
    control = audio.read(levelled(tmp_path, x).path)[0]
    spiky = x.copy()
    spiky[0, [1600, 50_000]] = db(height_db)
    row = levelled(tmp_path, spiky)
    out, _ = audio.read(row.path)
    assert measure([out], RATE, 1).true_peak_dbtp <= -1 and "do not count" in row.notes["loudness"]
    away = np.ones(x.shape[1], bool)
    for place in (1600, 50_000):
        away[max(0, place - 160) : place + 3200] = False  # 10 ms before, 0.2 s after
    assert np.abs(out[0, away]).max() > 0.05
    ratio = 20 * np.log10(np.abs(out[0, away]).sum() / np.abs(control[0, away]).sum())
    assert abs(ratio) < 1
    duck = np.abs(out[0] / np.where(control[0] == 0, 1, control[0]))
    assert (duck[50_200:53_200] < 0.9).sum() / RATE < 0.15


def test_no_speech_is_said_and_the_residue_is_not_raised(tmp_path):
    music = np.random.default_rng(2).normal(0, 0.1, (1, 4 * RATE)).astype(np.float32)
    row = levelled(tmp_path, music * db(-70), given=music, max_gain_db=80)
    assert row.gain_db == 0 and row.taken_db == pytest.approx(70, abs=0.1)
    assert "no speech found: what is left lies 70 dB below the input" in row.notes["speech"]
    assert row.notes["loudness"] == "the gain is held at 0 dB: no speech was found"
    row = levelled(tmp_path, music * 0, given=music)
    assert row.taken_db is None and "no speech found: the output is silent" in row.notes["speech"]


def test_an_erased_word_is_flagged_and_a_kept_one_is_not(tmp_path):
    hiss = np.random.default_rng(0).normal(0, 10 ** (-61 / 20), (1, 6 * RATE)).astype(np.float32)
    word = np.zeros_like(hiss)
    word[:, 40_000:43_200] = speech(0.2)
    erased = levelled(tmp_path, 0.001 * (hiss + word), given=hiss + word)
    assert erased.taken_db > 50 and "taken away" in erased.notes["speech"]
    assert levelled(tmp_path, word + 0.001 * hiss, given=hiss + word).notes is None
    quieter = levelled(tmp_path, word * db(-15), given=hiss + word)
    assert quieter.notes["speech"].startswith("the loudest 0.4 s lost 15 dB")
    assert quieter.output_lufs == pytest.approx(-23, abs=0.1)


def test_loud_music_that_was_removed_beside_quiet_speech_leaves_it_its_gain(tmp_path):
    voice = np.concatenate([np.zeros((1, 3 * RATE), np.float32), speech(3) * db(-40)], axis=1)
    jingle = np.zeros_like(voice)
    jingle[:, : 2 * RATE] = np.random.default_rng(2).normal(0, 0.2, (1, 2 * RATE))
    row = levelled(tmp_path, voice, given=voice + jingle, max_gain_db=60)
    assert row.output_lufs == pytest.approx(-23, abs=0.1)
    assert row.taken_db > 30 and "no speech found" not in row.notes["speech"]


def test_mono_plays_as_loud_as_dual_mono_where_that_is_asked_for(tmp_path):
    x = speech(4)
    both = np.repeat(x, 2, axis=0)
    left = both * np.array([[1], [0]], np.float32)
    levels = {}
    for dual_mono in (False, True):
        rows = [levelled(tmp_path, each, dual_mono=dual_mono) for each in (x, both, left)]
        assert [row.notes for row in rows] == [None] * 3
        levels[dual_mono] = [rms_db(audio.read(row.path)[0][0]) for row in rows]
        assert [row.output_lufs for row in rows] == pytest.approx([-26.01 if dual_mono else -23, -23, -23], abs=0.1)
    mono, dual, one_side = levels[False]
    assert mono - dual == pytest.approx(3.01, abs=0.1) and one_side == pytest.approx(mono, abs=0.1)
    assert levels[True] == pytest.approx([dual, dual, one_side], abs=0.1)


def test_what_was_taken_is_in_the_tables_and_in_no_median(tmp_path):
    row = levelled(tmp_path, speech(2) * db(-20), given=speech(2))
    write_manifest(tmp_path / "e.jsonl", [row])
    collect.run([tmp_path / "e.jsonl"], tmp_path / "m.json", tmp_path / "m.csv")
    result = json.loads((tmp_path / "m.json").read_text())
    assert result["items"][0]["taken_db"] == pytest.approx(20, abs=0.1)
    assert result["notes"][0]["kind"] == "speech" and result["summary"] == {}
    head = (tmp_path / "m.csv").read_text().splitlines()[0].split(",")
    assert {"loudest_in_lufs", "loudest_out_lufs", "taken_db", "notes"} <= set(head)
