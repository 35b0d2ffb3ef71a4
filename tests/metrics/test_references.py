"""References that are late, of another recording, or no recording; outputs without sound; channels of opposite polarity."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from audiorestorer import audio
from audiorestorer.config import EvaluateSettings
from audiorestorer.dsp.delay import advanced
from audiorestorer.dsp.likeness import compare
from audiorestorer.dsp.views import view_of
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.metrics import examination, recognisers, triads
from audiorestorer.metrics.examination import Examined, examine
from audiorestorer.metrics.files import Files, mono_excerpt
from audiorestorer.metrics.groups import intelligibility as group_intelligibility
from audiorestorer.metrics.groups import pesq as group_pesq
from audiorestorer.metrics.groups import signal as group_signal
from audiorestorer.report.figures import level_db
from audiorestorer.stages import evaluate
from audiorestorer.stages.batch import collect
from audiorestorer.stages.job import Job
from audiorestorer.store import sha256_file

PILOT = Path(__file__).parents[2] / "data/pilot"
RATE = 16_000


def sentence(name: str) -> np.ndarray:
    """`[1, T]` of the pilot's clean speech."""
    x, rate = sf.read(next((PILOT / "clean" / name).parent.glob(f"{Path(name).name}.flac")), always_2d=True)
    return np.float32(soxr.resample(x.mean(axis=1), rate, RATE))[None]


SPEECH, OTHER = sentence("audiobook/chapter_03")[:, : 5 * RATE], sentence("help_line/closing")[:, : 5 * RATE]


def band(seed: int = 0) -> np.ndarray:
    """Something like music, as loud as the speech: chords that change, and noise below."""
    rng, t = np.random.default_rng(seed), np.arange(SPEECH.shape[1]) / RATE
    notes = rng.choice([110, 147, 165, 220, 277, 330, 440, 554], (10, 3))
    tones = sum(np.sin(2 * np.pi * notes[(t / 0.5).astype(int), k] * n * t) / n for k in range(3) for n in range(1, 7))
    x = tones + 0.1 * rng.standard_normal(len(t))
    return np.float32(x * np.sqrt(np.mean(SPEECH**2) / np.mean(x**2)))[None]


MUSIC = band()
ROOM = np.r_[1, np.random.default_rng(0).standard_normal(8000) * 0.1 ** (np.arange(8000) / 4000) / 30]  # 0.75 s
NOISE = np.random.default_rng(1).standard_normal(SPEECH.shape).astype(np.float32) * 0.05


def moved(x: np.ndarray, samples: float) -> np.ndarray:
    """Late by so many samples, of the same length."""
    return np.concatenate(list(advanced([x], -samples, x.shape[1])), axis=1)


def files(folder: Path, noisy: np.ndarray, output: np.ndarray, clean: np.ndarray | None, rate: int = RATE) -> list[str]:
    paths = []
    for name, x in (("noisy", noisy), ("output", output), ("clean", clean)):
        if x is not None:
            audio.write(folder / f"{name}.wav", x, rate)
            paths.append(str(folder / f"{name}.wav"))
    return paths if clean is not None else [*paths, None]


def looked_at(folder: Path, *signals: np.ndarray | None) -> Files:
    paths = files(folder, *signals)
    return Files(*paths, examine(*paths))


def signal_figures(found: Files) -> dict[str, float]:
    return group_signal.compute(found)[0]


@pytest.mark.parametrize("snr_db", [10, 0, -10])
def test_a_reference_is_told_from_other_sentences_under_music(snr_db):
    mixture = SPEECH * 10 ** (snr_db / 20) + MUSIC
    for late in (0, 364.99, -1000, 7900):
        match = compare([(mixture[0], moved(SPEECH, late)[0])], RATE, 0.5)
        assert match.alike and match.delay_sec * RATE == pytest.approx(late, abs=0.1), late
    assert not compare([(mixture[0], OTHER[0])], RATE, 0.5).alike


def test_margins_over_the_pilot():
    """Every reference fits its recording as it is (0 to 10 dB of music), none another one."""
    names = [path.relative_to(PILOT / "clean").with_suffix("") for path in sorted((PILOT / "clean").rglob("*.flac"))]
    clean = [sentence(str(name))[0] for name in names]
    noisy = [audio.read_mono(next((PILOT / "input" / n).parent.glob(f"{n.name}.*")), RATE) for n in names]
    true = [compare([pair], RATE, 0.5) for pair in zip(noisy, clean, strict=True)]
    wrong = [compare([(noisy[i], clean[i - step])], RATE, 0.5) for i in range(12) for step in (1, 3, 4)]
    assert min(match.likeness for match in true) > 0.4 and max(abs(match.delay_sec) for match in true) < 5e-6
    assert max(match.likeness for match in wrong) < 0.08 and not any(match.alike for match in wrong)


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda x: soxr.resample(soxr.resample(x, RATE, 8000), 8000, RATE)[: len(x)],  # telephone's band
        lambda x: np.clip(x, -0.02, 0.02),
        lambda x: np.convolve(x, ROOM)[: len(x)],
        lambda x: -x,
    ],
)  # fmt: skip
def test_recordings_that_are_far_from_their_reference_keep_it(spoilt):
    mixture = np.float32(spoilt((SPEECH * 10 ** (-5 / 20) + MUSIC)[0]))
    match = compare([(mixture, SPEECH[0])], RATE, 0.5)
    assert match.alike and abs(match.delay_sec) < 5e-5


def test_a_stream_is_moved_by_parts_of_a_sample_whatever_its_blocks():
    t = np.arange(4000) / RATE
    tone = np.float32(np.sin(2 * np.pi * 3000 * t))[None]
    for samples in (0.5, -0.3, 12.25, -40.0):
        blocks = (tone[:, start : start + 777] for start in range(0, 4000, 777))
        found = np.concatenate(list(advanced(blocks, samples, 4000)), axis=1)
        want = np.sin(2 * np.pi * 3000 * (t + samples / RATE))
        assert found.shape == (1, 4000) and np.abs(found[0] - want)[200:-200].max() < 1e-3, samples


@pytest.mark.parametrize("late", [1006, -1105, 20.5])
def test_a_late_reference_is_aligned_and_the_figures_are_those_of_an_aligned_one(tmp_path, late):
    mixture, output = SPEECH + MUSIC, SPEECH + 0.1 * MUSIC
    truth = looked_at(tmp_path, mixture, output, SPEECH)
    assert truth.examined == Examined() and truth.info.frames == SPEECH.shape[1]
    want = signal_figures(truth) | group_intelligibility.compute(truth)[0]
    found = looked_at(tmp_path, mixture, output, moved(SPEECH, late))
    assert found.examined.delay_sec * RATE == pytest.approx(late, abs=0.02)
    word = "late" if late > 0 else "early"
    assert f"{abs(late) / 16:.1f} ms {word}; it was aligned" in found.examined.note
    assert found.info.frames == SPEECH.shape[1] - np.ceil(abs(late))
    got = signal_figures(found) | group_intelligibility.compute(found)[0]
    assert got.keys() == want.keys()
    for name in ("si_sdr_in_db", "si_sdr_db", "si_sdr_improvement_db", "music_to_speech_db"):
        assert got[name] == pytest.approx(want[name], abs=0.3), name
    assert got["stoi"] == pytest.approx(want["stoi"], abs=0.01)


@pytest.mark.parametrize("cut", [slice(3000, None), slice(0, -5000)])
def test_a_reference_cut_at_an_end_is_measured_where_both_are(tmp_path, cut):
    found = looked_at(tmp_path, SPEECH + MUSIC, SPEECH + 0.1 * MUSIC, SPEECH[:, cut])
    assert found.examined.note and found.info.frames == SPEECH[:, cut].shape[1]
    assert signal_figures(found)["si_sdr_improvement_db"] == pytest.approx(20, abs=0.3)


NO_REFERENCES = {
    "another sentence": OTHER, "noise": NOISE, "tone": 0.1 * np.sin(np.arange(SPEECH.shape[1]) * 0.2)[None],
    "silence": 0 * SPEECH, "constant": 0 * SPEECH + 0.1, "far too late": np.roll(SPEECH, 2 * RATE, axis=1),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_REFERENCES)
def test_what_is_no_reference_gives_no_figure_and_says_why(tmp_path, kind):
    found = looked_at(tmp_path, SPEECH + MUSIC, SPEECH + 0.1 * MUSIC, np.float32(NO_REFERENCES[kind]))
    for group in (group_signal, group_intelligibility, group_pesq):
        values, missing = group.compute(found)
        assert not values and set(missing) == set(group.NAMES)
        assert all("reference" in reason for reason in missing.values())
    assert found.examined.note.startswith("nothing was measured against the reference: the reference is ")


def test_a_reference_hidden_by_music_is_found_in_the_output(tmp_path):
    found = looked_at(tmp_path, 0.01 * SPEECH + MUSIC, SPEECH + 0.1 * MUSIC, moved(SPEECH, 160))
    assert found.examined.unlike is None and found.examined.delay_sec == pytest.approx(0.01, abs=1e-5)


def test_of_a_long_file_windows_are_compared_and_clocks_that_drift_are_told(tmp_path, monkeypatch):
    for name, seconds in (("WHOLE_SEC", 10.0), ("WINDOW_SEC", 3.0)):
        monkeypatch.setattr(examination, name, seconds)
    long = np.concatenate([SPEECH, OTHER, 0 * SPEECH, SPEECH[:, ::-1]], axis=1)
    music = 0.3 * np.tile(MUSIC, 4)
    found = looked_at(tmp_path, long + music, long, moved(long, 1006))
    assert found.examined.delay_sec * RATE == pytest.approx(1006, abs=0.02)
    slow = np.float32(soxr.resample(long[0], 10_000, 10_002))[None, : long.shape[1]]
    found = looked_at(tmp_path, long + music, long, slow)
    assert "does not keep time" in found.examined.unlike and not signal_figures(found)


def test_an_output_without_sound_has_no_figure_but_what_is_lost(tmp_path):
    for silence in (0 * SPEECH, 1e-6 * SPEECH, 0 * SPEECH + 0.1, 5e-4 * SPEECH):
        found = looked_at(tmp_path, SPEECH + MUSIC, np.float32(silence), SPEECH)
        for group in (group_signal, group_intelligibility, group_pesq):
            values, missing = group.compute(found)
            assert all(name.endswith(("_in", "_in_db")) or name == "residual_ratio" for name in values)
            assert {"silent" in reason for name, reason in missing.items() if "pesq_in" not in name} == {True}


def stereo(x: np.ndarray, right: float) -> np.ndarray:
    return np.concatenate([x, right * x])


@pytest.mark.parametrize("right", [-1.0, -0.9])
@pytest.mark.parametrize("reference", ["the same", "mono", "in phase"])
def test_opposite_polarity_is_measured_as_ordinary_stereo(tmp_path, right, reference):
    mixture, output = SPEECH + MUSIC, SPEECH + 0.1 * MUSIC
    normal = looked_at(tmp_path, stereo(mixture, 1), stereo(output, 1), stereo(SPEECH, 1))
    assert normal.examined == Examined()
    want = {**signal_figures(normal), **group_intelligibility.compute(normal)[0], **group_pesq.compute(normal)[0]}
    clean = {"the same": stereo(SPEECH, right), "mono": SPEECH, "in phase": stereo(SPEECH, -right)}[reference]
    found = looked_at(tmp_path, stereo(mixture, right), stereo(output, right), clean)
    got = {**signal_figures(found), **group_intelligibility.compute(found)[0], **group_pesq.compute(found)[0]}
    assert found.examined.view == "side" and got.keys() == want.keys()
    for name in ("si_sdr_in_db", "si_sdr_db", "stoi", "estoi", "pesq"):
        tolerance = 0.3 if name == "si_sdr_in_db" or right == -1.0 else 2.5  # a mono reference on R = -0.9 L: 0.05 off
        assert got[name] == pytest.approx(want[name], abs=tolerance if name.startswith("si") else 0.02), name


def test_wide_music_does_not_decide_over_the_view(tmp_path):
    wide = stereo(SPEECH, 1) + stereo(4 * MUSIC, -1)
    assert view_of([wide]) == "side"
    for clean in (stereo(SPEECH, 1), SPEECH, None):
        paths = files(tmp_path, wide, stereo(SPEECH, 1) + stereo(0.1 * MUSIC, -1), clean)
        assert examine(*paths).view == "mid"


def test_one_signal_of_opposite_channels_is_the_voice(tmp_path):
    audio.write(tmp_path / "a.wav", stereo(SPEECH, -1), RATE)
    assert np.allclose(mono_excerpt(str(tmp_path / "a.wav"), RATE, 10, 60), SPEECH[0])
    heard = []
    recognisers.transcribe(lambda x: str(heard.append(x)), str(tmp_path / "a.wav"))
    assert np.allclose(np.concatenate(heard), SPEECH[0])


def test_evaluate_names_the_delay_and_keeps_wrong_references_out_of_the_statistics(tmp_path):
    mixture, output = SPEECH + MUSIC, SPEECH + 0.1 * MUSIC
    rows = []
    versions = {"same": SPEECH, "late": moved(SPEECH, 365), "wrong": OTHER, "alone": None}
    for name, clean in versions.items():
        (tmp_path / name).mkdir()
        noisy, made, reference = files(tmp_path / name, mixture, output if name != "alone" else 0 * output, clean)
        rows.append(
            Item(
                id=name, noisy=noisy, path=made, sha256=sha256_file(made), noisy_sha256=sha256_file(noisy), clean=reference,
                clean_sha256=sha256_file(reference) if reference else None, output=f"{name}.wav", sr=RATE, duration=5.0,
            )
        )  # fmt: skip
    write_manifest(tmp_path / "l.jsonl", rows)
    settings = EvaluateSettings(metrics=["signal", "intelligibility", "music", "loudness", "dnsmos"])
    evaluate.run(tmp_path / "l.jsonl", tmp_path / "e.jsonl", settings, Job(tmp_path / "store"))
    found = {row.id: row for row in read_manifest(tmp_path / "e.jsonl")}
    assert found["same"].notes is None and "22.8 ms late" in found["late"].notes["reference"]
    assert "another recording" in found["wrong"].notes["reference"]
    collect.run([tmp_path / "e.jsonl"], tmp_path / "m.json", tmp_path / "m.csv")
    result = json.loads((tmp_path / "m.json").read_text())
    items = {row["id"]: row for row in result["items"]}
    assert (
        items["late"]["reference_delay_ms"] == pytest.approx(22.81, abs=0.01)
        and "reference_delay_ms" not in items["same"]
    )
    assert "another recording" in items["wrong"]["missing"]["stoi"] and "si_sdr_db" not in items["wrong"]
    assert result["summary"]["si_sdr_improvement_db"]["n"] == 2 and "reference_delay_ms" not in result["summary"]
    assert result["summary"]["si_sdr_improvement_db"]["median"] == pytest.approx(20, abs=0.2)
    assert items["late"]["music_to_speech_blind_db"] == items["same"]["music_to_speech_blind_db"]
    assert "silent" in items["alone"]["missing"]["dnsmos_ovrl"] and "dnsmos_ovrl_in" in items["alone"]
    assert "silent" in items["alone"]["missing"]["music_to_speech_blind_db"]


def test_triads_are_aligned_or_say_why_not(tmp_path):
    mixture, output = SPEECH + MUSIC, SPEECH + 0.1 * MUSIC
    values, reason = triads.measure(*map(Path, files(tmp_path, mixture, output, moved(SPEECH, 160))))
    assert values["delta_si_db"] == pytest.approx(20, abs=0.2) and "10.0 ms late" in reason
    values, reason = triads.measure(*map(Path, files(tmp_path, mixture, output, OTHER)))
    assert not values and "another recording" in reason


def test_pictures_of_opposite_channels_show_the_voice():
    assert np.allclose(level_db(stereo(SPEECH, -1), RATE)[0], level_db(SPEECH, RATE)[0])
