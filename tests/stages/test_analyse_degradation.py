"""analyse-degradation on recordings whose degradations are known, and the distribution that follows."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiorestorer.datasets.degradation.analysis import false_per_sec, measure
from audiorestorer.datasets.degradation.degradations import degrade
from audiorestorer.datasets.degradation.fit import degradation_settings
from audiorestorer.datasets.degradation.settings import DegradationSettings
from audiorestorer.dsp import artefacts
from audiorestorer.errors import AudioRestorerError
from audiorestorer.stages.ablation import analyse_degradation
from tests.clean_speech import LEVEL, clean_speech

RATE = 44_100
OFF = {name: {"probability": 0.0} for name in DegradationSettings.model_fields}


def write(path: Path, sample_rate: int = RATE, recordings: int = 12, **chosen: dict[str, Any]) -> dict[str, Any]:
    """A degraded recording; what was drawn."""
    values = {name: {"probability": 1.0, **found} for name, found in chosen.items()}
    settings = DegradationSettings.model_validate({**OFF, **values})
    found = degrade(clean_speech(sample_rate, recordings), sample_rate, settings, np.random.default_rng(7))
    sf.write(path, found.noisy.T, sample_rate, subtype="FLOAT")
    return found.record


@pytest.mark.parametrize("sample_rate", [16_000, RATE])
@pytest.mark.parametrize(("rate", "recordings"), [(1.0, 12), (5.0, 12), (20.0, 3), (50.0, 2)])
def test_impulse_rate_within_15_percent(sample_rate: int, rate: float, recordings: int, tmp_path: Path) -> None:
    clicks = {"rate_per_sec": [rate, rate], "level_db": [9, 9], "spread_db": [6, 6], "pareto": 0.0}
    hiss = {"snr_db": [40, 40], "tilt_db": [0, 0]}
    record = write(tmp_path / "a.wav", sample_rate, recordings, clicks=clicks, hiss=hiss)
    found = measure(tmp_path / "a.wav")
    true = len(record["clicks"]["starts"]) / found.duration_sec
    assert found.impulses_per_sec == pytest.approx(true, rel=0.15, abs=0.02)
    assert found.impulse_level_db == pytest.approx(9, abs=2.5) and found.impulses_confidence > 0.5
    assert found.noise_dbfs == pytest.approx(20 * np.log10(record["level"]) - 40, abs=1.0)


def test_clean_speech_has_no_impulses_after_the_subtraction(tmp_path: Path) -> None:
    for rate in (16_000, RATE):
        sf.write(tmp_path / "clean.wav", clean_speech(rate).T, rate, subtype="FLOAT")
        assert measure(tmp_path / "clean.wav").impulses_per_sec < 0.15
        assert measure(tmp_path / "clean.wav", 0.0).impulses_per_sec == pytest.approx(false_per_sec(rate), abs=0.15)


def test_the_other_artefacts(tmp_path: Path) -> None:
    record = write(
        tmp_path / "a.wav", hum={"snr_db": [15, 15], "base_hz": [50], "slope_db": [4, 4], "harmonics": [12, 12]},
        hiss={"snr_db": [25, 25], "tilt_db": [0, 0]}, band={"low_hz": [50, 50], "high_hz": [4000, 4000], "orders": [8]},
    )  # fmt: skip
    found = measure(tmp_path / "a.wav")
    assert found.hum_hz == pytest.approx(record["hum"]["base_hz"], abs=0.2)
    assert found.hum_dbfs == pytest.approx(20 * np.log10(record["level"]) - 15, abs=1.5)
    assert found.bandwidth_hz == pytest.approx(4000, rel=0.2)
    assert np.isnan(found.wow_percent) and found.wow_confidence == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("degraded")
    clicks = {"rate_per_sec": [12, 12], "level_db": [9, 9], "spread_db": [6, 6], "pareto": 0.0}
    write(
        root / "old.wav",
        22_050,
        2,
        clicks=clicks,
        hiss={"snr_db": [22, 22], "tilt_db": [0, 0], "spectra": [[[50, 0], [20_000, -20]]]},
    )
    (root / "sub").mkdir()
    write(root / "sub/other.wav", 22_050, 1, hiss={"snr_db": [22, 22]})
    (root / "broken.wav").write_bytes(b"RIFF")
    sf.write(root / "silent.wav", np.zeros(RATE), RATE)
    sf.write(root / "short.wav", np.ones(100), RATE)
    sf.write(root / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    sf.write(root / "low.wav", np.full(8000, 0.1), 4000)
    return root


def test_a_batch_with_bad_files(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = [tmp_path / name for name in ("d.csv", "d.json", "d.png")]
    result = analyse_degradation.run([folder], out[0], out[1], figure=out[2])
    assert result["recordings"] == 7 and result["analysed"] == 2
    reasons = {row["path"]: row["reason"] for row in result["rows"]}
    for name, reason in (
        ("broken", "not readable"),
        ("silent", "silent"),
        ("short", "too short"),
        ("nan", "NaN"),
        ("low", "too low"),
    ):
        assert reason in reasons[f"{name}.wav"]
    assert json.loads(out[1].read_text()) == result
    lines = out[0].read_text().splitlines()
    assert len(lines) == 8 and "100:" in next(line for line in lines if line.startswith("old.wav"))
    assert out[2].read_bytes().startswith(b"\x89PNG") and "2 of 7 analysed" in capsys.readouterr().out
    again = analyse_degradation.run([folder / "old.wav"], out[0], out[1])
    old = next(row for row in result["rows"] if row["path"] == "old.wav")
    assert {**again["rows"][0], "path": "old.wav"} == old
    rows = [{"id": "a", "noisy": "old.wav"}, {"id": "pair", "noisy": "low.wav", "clean": "clean.wav"}]
    (folder / "shelf.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (listed,) = analyse_degradation.run([folder / "shelf.jsonl"], out[0], out[1])["rows"]
    assert {**listed, "path": "old.wav"} == old and listed["path"] == "a"


def test_the_settings_follow_the_recordings(folder: Path, tmp_path: Path) -> None:
    result = analyse_degradation.run([folder], tmp_path / "d.csv", tmp_path / "d.json")
    settings = DegradationSettings.model_validate(result["settings"])
    assert settings == degradation_settings(result["rows"])
    low, high = settings.clicks.rate_per_sec
    assert low < 12 < high and high / low < 2.5 and settings.clicks.probability == 0.5
    assert settings.clicks.level_db[0] < 9 < settings.clicks.level_db[1]
    assert settings.hiss.snr_db[0] < 22 < settings.hiss.snr_db[1] and len(settings.hiss.spectra) == 2
    curve = dict(settings.hiss.spectra[0])
    assert curve[5011.9] - curve[1000.0] == pytest.approx(-20 * np.log(5.0119) / np.log(400), abs=3)
    assert settings.pops == DegradationSettings().pops and settings.wow == DegradationSettings().wow
    assert settings.hum.probability == 0


def test_settings_of_nothing_are_the_base() -> None:
    base = DegradationSettings.model_validate(OFF)
    assert degradation_settings([], base) == base and degradation_settings([]) == DegradationSettings()
    assert degradation_settings([{"status": "rejected", "reason": "x"}], base) == base


def test_a_users_own_clean_recordings(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    sf.write(tmp_path / "clean/c.wav", clean_speech(16_000, 2).T, 16_000)
    result = analyse_degradation.run(
        [folder / "old.wav"], tmp_path / "d.csv", tmp_path / "d.json", clean=tmp_path / "clean"
    )
    assert 0 <= result["false_per_sec"] < 2


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(AudioRestorerError, match="no such file"):
        analyse_degradation.run([tmp_path / "none"], tmp_path / "a.csv", tmp_path / "a.json")
    with pytest.raises(AudioRestorerError, match="no recordings"):
        analyse_degradation.run([tmp_path], tmp_path / "a.csv", tmp_path / "a.json")
    sf.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    with pytest.raises(AudioRestorerError, match="none of 1 recordings"):
        analyse_degradation.run([tmp_path], tmp_path / "a.csv", tmp_path / "a.json")
    assert "silent" in (tmp_path / "a.csv").read_text()


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    peaks = []
    for number, repeats in enumerate((4, 12)):
        noise = artefacts.shaped_noise(np.random.default_rng(1), 1, 5 * 16_000, 16_000, [(50.0, 0.0), (8000.0, 0.0)])
        sf.write(tmp_path / f"{number}.wav", np.tile(LEVEL * noise[0], repeats), 16_000)
        if number == 0:
            measure(tmp_path / "0.wav")  # caches
        tracemalloc.start()
        measure(tmp_path / f"{number}.wav")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
