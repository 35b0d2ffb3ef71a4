"""The noise filter: what is kept, what is rejected and why, by measurement and by label."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.datasets import generated
from audiorestorer.datasets.noise import procedural
from audiorestorer.datasets.noise.features import measure
from audiorestorer.datasets.noise.filter import ESC50_KEPT, ESC50_NAMES, NoiseFilterSettings, label_of, rejection
from audiorestorer.errors import AudioRestorerError
from audiorestorer.stages.training import filter_noise

RATE = 22050


def test_esc50_names_stand_at_their_targets() -> None:
    """Piczak's table: 0 dog, 10 rain, 20 crying_baby, 37 clock_alarm, 42 siren, 49 hand_saw."""
    known = {
        0: "dog",
        10: "rain",
        20: "crying_baby",
        37: "clock_alarm",
        42: "siren",
        46: "church_bells",
        49: "hand_saw",
    }
    assert len(ESC50_NAMES) == 50 and all(ESC50_NAMES[number] == name for number, name in known.items())
    assert set(ESC50_KEPT) <= set(ESC50_NAMES)


@pytest.mark.parametrize(
    ("name", "label", "noise_class", "rejected"),
    [
        ("1-100032-A-10.wav", "rain", "hiss", None),
        ("1-100032-A-42.wav", "siren", None, "alarm or siren"),
        ("5-9032-A-0.wav", "dog", None, "no noise artefact (dog)"),
        ("PCAFETER_48k/ch01.wav", "PCAFETER", "crowd", None),
        ("TCAR/ch05.wav", "TCAR", "rumble", None),
        ("musan/speech/librivox/s.wav", "musan speech", None, "speech"),
        ("musan/music/fma/m.wav", "musan music", None, "music"),
        ("musan/noise/free-sound/n.wav", "musan noise", None, None),
    ],
)
def test_labels(name: str, label: str, noise_class: str | None, rejected: str | None) -> None:
    found = label_of(Path("/data") / name, Path("/data"))
    assert found is not None and (found.name, found.noise_class, found.rejected) == (label, noise_class, rejected)


def test_no_label_where_nothing_is_said() -> None:
    assert label_of(Path("/data/hum.wav"), Path("/data")) is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("noises")
    for number in range(24):
        kind, signal = generated.noise_of(1, number, RATE)
        sf.write(root / f"{number:03d}-{kind}.wav", signal, RATE, subtype="FLOAT")
    hiss = 0.05 * procedural.make("hiss", 9, 3 * RATE, RATE)
    sf.write(root / "twice_a.wav", hiss, RATE)
    sf.write(root / "twice_b.wav", hiss, RATE)
    sf.write(root / "short.wav", hiss[: RATE // 2], RATE)
    sf.write(root / "nan.wav", np.full(2 * RATE, np.nan), RATE, subtype="FLOAT")
    (root / "broken.wav").write_bytes(b"RIFF")
    sf.write(root / "1-1-A-42.wav", hiss[: 2 * RATE], RATE)  # a label that says siren
    return root


def test_every_file_is_kept_or_has_its_reason(folder: Path, tmp_path: Path) -> None:
    coverage = filter_noise.run(folder, tmp_path / "noise.jsonl", tmp_path / "noise.csv", figure=tmp_path / "n.png")
    table = {line.split(",")[0]: line for line in (tmp_path / "noise.csv").read_text().splitlines()[1:]}
    assert len(table) == 30
    for part, reason in (
        ("siren.wav", "siren"), ("alarm_beep", "tonal beep"), ("clipped", "clipped"), ("silent", "silent"),
        ("door_slam", "sudden transient"),
        ("twice_b", "the same content as twice_a.wav"), ("short", "too short"), ("nan", "NaN"), ("broken", "not readable"),
        ("1-1-A-42", "alarm or siren (label)"),
    ):  # fmt: skip
        (line,) = [line for name, line in table.items() if part in name]
        assert reason in line, line
    (voice,) = [line for name, line in table.items() if "voice" in name]
    assert voice.split(",")[3] == "0"
    rows = [json.loads(line) for line in (tmp_path / "noise.jsonl").read_text().splitlines()]
    assert {row["split"] for row in rows} == {"train", "valid", "test"}
    assert coverage["kept"] == len(rows) == 19 and set(coverage["classes"]) >= {
        "hum",
        "hiss",
        "rumble",
        "hvac",
        "crowd",
        "clicks",
    }
    assert sum(part["count"] for part in coverage["classes"].values()) == 19
    assert all((tmp_path / row["path"]).exists() for row in rows)  # absolute, or relative to the manifest


def test_speech_is_told_from_a_crowd(tmp_path: Path) -> None:
    """Syllables of one pitched voice against babble: the first is speech, the second a noise."""
    time = np.arange(5 * RATE) / RATE
    pitch = 120 + 25 * np.sin(2 * np.pi * 0.8 * time)
    buzz = sum(np.sin(k * 2 * np.pi * np.cumsum(pitch) / RATE) / k for k in range(1, 25))
    speech = 0.1 * buzz * np.clip(np.sin(2 * np.pi * 3.5 * time), 0, 1) ** 2 + 1e-4 * np.random.default_rng(
        0
    ).standard_normal(len(time))
    sf.write(tmp_path / "speech.wav", speech, RATE)
    features = measure(tmp_path / "speech.wav")
    assert "speech" in str(rejection(features, None, NoiseFilterSettings()))
    assert rejection(features, None, NoiseFilterSettings(allow_speech=True)) is None


def test_memory_and_results_do_not_depend_on_the_blocks(tmp_path: Path) -> None:
    signal = 0.05 * procedural.make("pink", 2, 25 * RATE, RATE)  # three blocks
    sf.write(tmp_path / "long.wav", signal, RATE, subtype="FLOAT")
    found = measure(tmp_path / "long.wav")
    assert found.level_dbfs == pytest.approx(20 * np.log10(0.05), abs=0.01)
    assert found.duration_sec == 25 and found.silence_share == 0 and found.tonal_share == 0


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match="no recordings"):
        filter_noise.run(tmp_path, tmp_path / "n.jsonl", tmp_path / "n.csv")
    with pytest.raises(AudioRestorerError, match="max_blow_dbb"):
        filter_noise.run(tmp_path, tmp_path / "n.jsonl", tmp_path / "n.csv", settings={"max_blow_dbb": 1})
    sf.write(tmp_path / "silent.wav", np.zeros(2 * RATE), RATE)
    with pytest.raises(AudioRestorerError, match="all 1 recordings were rejected"):
        filter_noise.run(tmp_path, tmp_path / "n.jsonl", tmp_path / "n.csv")
    assert "silent" in (tmp_path / "n.csv").read_text()
