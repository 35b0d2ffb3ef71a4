"""The loudness stage where one gain is not enough, and figures of an output that nobody touched."""

import json

import numpy as np
import pytest

from audiorestorer import audio
from audiorestorer.config import EvaluateSettings, LoudnessSettings
from audiorestorer.dsp.loudness import measure
from audiorestorer.manifest import Item, read_manifest, write_manifest
from audiorestorer.report.metricinfo import snr_of
from audiorestorer.stages import evaluate, loudness
from audiorestorer.stages.batch import collect
from audiorestorer.stages.job import Job
from audiorestorer.store import sha256_file

RATE = 16_000
RNG = np.random.default_rng(0)


def noise(seconds, rms):
    return RNG.normal(0, rms, (1, int(seconds * RATE))).astype(np.float32)


def item(folder, name, **signals):
    row = {"id": name, "noisy": "", "output": f"{name}.wav", "sr": RATE}
    for kind, x in signals.items():
        path = folder / f"{name}.{kind}.wav"
        audio.write(path, x, RATE)
        row |= {kind: str(path), ("sha256" if kind == "path" else f"{kind}_sha256"): sha256_file(path)}
    return Item.model_validate(row)


def levelled(folder, x, **settings):
    write_manifest(folder / "i.jsonl", [item(folder, "x", noisy=np.nan_to_num(x), path=x)])
    loudness.run(folder / "i.jsonl", folder / "o.jsonl", LoudnessSettings(**settings), Job(folder / "store"))
    return read_manifest(folder / "o.jsonl")[0]


def test_parts_that_come_above_the_absolute_gate_with_the_gain_are_counted(tmp_path):
    x = np.concatenate([noise(2, 10 ** (-67 / 20)), noise(20, 10 ** (-74 / 20))], axis=1)
    row = levelled(tmp_path, x, max_gain_db=80)
    assert measure(audio.blocks(row.path), RATE, 1).lufs == pytest.approx(-23, abs=0.1)
    assert row.output_lufs == pytest.approx(-23, abs=0.1)


def test_what_is_no_number_is_rejected(tmp_path):
    x = noise(2, 0.1)
    x[0, 7000] = np.nan
    row = levelled(tmp_path, x)
    assert not row.ok and "NaN" in row.reason


@pytest.mark.parametrize("target", [-23, -14, -10])
@pytest.mark.parametrize("ceiling", [-6.0, -1.0, 0.0])
def test_row_says_what_is_on_disk_and_the_ceiling_holds(tmp_path, target, ceiling):
    x = noise(4, 0.02)
    x[:, ::4001] *= 20
    row = levelled(tmp_path, x, target_lufs=target, true_peak_dbtp=ceiling)
    level = measure(audio.blocks(row.path), RATE, 1)
    assert level.true_peak_dbtp <= ceiling
    assert row.true_peak_dbtp == pytest.approx(level.true_peak_dbtp, abs=1e-4)
    assert abs(level.lufs - target) <= 0.1 or f"{target - level.lufs:+.2f} LU" in row.notes["loudness"]


@pytest.mark.parametrize("snr", [-10, 0, 10])
@pytest.mark.parametrize("gain", [1.0, 0.1, 3.0])
def test_an_untouched_mixture_has_gained_nothing(tmp_path, snr, gain):
    s = noise(3, 0.1) * (np.arange(3 * RATE) % RATE > 3000)
    mixture = s + noise(3, 0.09 * 10 ** (-snr / 20))
    row = item(tmp_path, "a", noisy=mixture, clean=s, path=np.float32(gain) * mixture)
    write_manifest(tmp_path / "l.jsonl", [row.updated(conditions={"snr_db": str(snr)})])
    evaluate.run(
        tmp_path / "l.jsonl", tmp_path / "e.jsonl", EvaluateSettings(metrics=["signal"]), Job(tmp_path / "store")
    )
    collect.run([tmp_path / "e.jsonl"], tmp_path / "m.json", tmp_path / "m.csv")
    result = json.loads((tmp_path / "m.json").read_text())
    found = result["items"][0]
    assert found["residual_ratio"] == pytest.approx(1, abs=1e-3)
    assert found["lsd_db"] == pytest.approx(found["lsd_in_db"], abs=1e-2)
    assert found["music_to_speech_db"] == pytest.approx(found["music_to_speech_in_db"], abs=1e-2)
    # 100 (0.45 / (1 + e^0.5) + 0.35 / (1 + e^0.8)): what the formula gives for no change at all
    assert found["composite"] == pytest.approx(27.85, abs=0.05)
    assert snr_of(found) == snr and f"{snr:g}" in result["summary"]["si_sdr_improvement_db_by_snr"]
