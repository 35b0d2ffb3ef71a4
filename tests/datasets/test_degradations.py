"""Both families of degradations: seeded, recorded, aligned, and different from one another."""

import json
from typing import Any

import numpy as np
import pytest

from audiorestorer.config import validate
from audiorestorer.datasets import generated
from audiorestorer.datasets.degradation import degradations
from audiorestorer.datasets.degradation import held_out as degradations_held_out
from audiorestorer.datasets.degradation.held_out import HeldOutSettings
from audiorestorer.datasets.degradation.settings import DegradationSettings
from audiorestorer.errors import AudioRestorerError

RATE = 22_050
OFF = {name: {"probability": 0.0} for name in DegradationSettings.model_fields}


def speech(channels: int = 1, seconds: float = 3.0) -> np.ndarray:
    voice = 0.05 * generated.voice(np.random.default_rng(5), int(seconds * RATE), RATE)
    return np.repeat(voice.astype(np.float32)[None], channels, axis=0)


def only(name: str, **values: Any) -> DegradationSettings:
    return DegradationSettings.model_validate({**OFF, name: {"probability": 1.0, **values}})


FAMILIES = [(degradations.degrade, DegradationSettings()), (degradations_held_out.degrade, HeldOutSettings())]


@pytest.mark.parametrize(("degrade", "settings"), FAMILIES, ids=["training", "held out"])
@pytest.mark.parametrize("channels", [1, 2])
def test_same_seed_same_bytes_and_a_record_for_the_manifest(degrade: Any, settings: Any, channels: int) -> None:
    clean = speech(channels)
    seen = set()
    for seed in range(12):
        first, again = (degrade(clean, RATE, settings, np.random.default_rng(seed)) for _ in range(2))
        assert first.noisy.tobytes() == again.noisy.tobytes() and first.target.tobytes() == again.target.tobytes()
        assert first.noisy.shape == first.target.shape == clean.shape and first.noisy.dtype == np.float32
        assert np.isfinite(first.noisy).all()
        assert json.loads(json.dumps(first.record)) == first.record == again.record
        seen |= {name for name, value in first.record.items() if isinstance(value, dict)}
        assert (np.diff(first.impulses.starts) >= 0).all() and (first.impulses.starts < clean.shape[1]).all()
    assert len(seen) >= 7  # most artefacts were drawn in a dozen examples


@pytest.mark.parametrize(("degrade", "settings"), FAMILIES, ids=["training", "held out"])
def test_edges(degrade: Any, settings: Any) -> None:
    for clean in (np.zeros((1, RATE), np.float32), speech(1, 0.05), np.zeros((1, 0), np.float32)):
        for seed in range(5):
            found = degrade(clean, RATE, settings, np.random.default_rng(seed))
            assert found.noisy.shape == clean.shape and np.isfinite(found.noisy).all()


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
@pytest.mark.parametrize(("degrade", "settings"), FAMILIES, ids=["training", "held out"])
def test_every_draw_is_finite_at_every_rate(degrade: Any, settings: Any, rate: int) -> None:
    clean = speech(1, 0.5)
    for seed in range(60):
        found = degrade(clean, rate, settings, np.random.default_rng(seed))
        assert np.isfinite(found.noisy).all() and np.abs(found.noisy).max() < 100


def test_nothing_drawn_changes_nothing() -> None:
    clean = speech()
    found = degradations.degrade(clean, RATE, DegradationSettings.model_validate(OFF), np.random.default_rng(1))
    assert np.array_equal(found.noisy, clean) and np.array_equal(found.target, clean) and len(found.impulses) == 0


def test_clicks_stand_where_the_record_says() -> None:
    settings = only("clicks", rate_per_sec=(8, 8), level_db=(20, 20), spread_db=(0, 0), pareto=0.0)
    found = degradations.degrade(speech(2), RATE, settings, np.random.default_rng(3))
    record = found.record["clicks"]
    assert record["starts"] == found.impulses.starts.tolist() and len(record["starts"]) == pytest.approx(24, abs=14)
    difference = np.abs(found.noisy - found.target)
    for start, size in zip(record["starts"], record["amplitudes"], strict=True):
        peak = difference[:, start : start + 40].max(axis=1)
        assert (peak >= 0.5 * abs(size) * np.asarray(record["channel_gains"])).all()
    assert difference[:, : record["starts"][0]].max(initial=0) == 0
    level = degradations.active_level(speech(2), RATE)
    assert np.abs(record["amplitudes"]) == pytest.approx(10 * level, rel=1e-3)


@pytest.mark.parametrize("snr", [5.0, 25.0])
def test_hiss_has_its_ratio_and_its_spectrum(snr: float) -> None:
    settings = only("hiss", snr_db=(snr, snr), tilt_db=(-3, -3), spectra=[[(100, 0), (10_000, 0)]])
    clean = speech(1, 6.0)
    found = degradations.degrade(clean, RATE, settings, np.random.default_rng(3))
    hiss = (found.noisy - clean)[0].astype(np.float64)
    assert 20 * np.log10(degradations.active_level(clean, RATE) / hiss.std()) == pytest.approx(snr, abs=0.05)
    power, frequency = np.abs(np.fft.rfft(hiss)) ** 2, np.fft.rfftfreq(len(hiss), 1 / RATE)
    low, high = (power[(frequency > f) & (frequency < 1.1 * f)].mean() for f in (1000, 4000))
    assert 10 * np.log10(high / low) == pytest.approx(-6, abs=1)


def test_wow_and_band_move_the_target_too() -> None:
    clean = speech()
    bent = degradations.degrade(clean, RATE, only("wow", depth_percent=(0.5, 0.5)), np.random.default_rng(1))
    assert np.array_equal(bent.noisy, bent.target) and np.abs(bent.target - clean).max() > 0.05 * np.abs(clean).max()
    narrow = degradations.degrade(clean, RATE, only("band", high_hz=(3000, 3000)), np.random.default_rng(1))
    assert np.array_equal(narrow.noisy, narrow.target)
    power, frequency = np.abs(np.fft.rfft(narrow.target[0])) ** 2, np.fft.rfftfreq(clean.shape[1], 1 / RATE)
    assert power[frequency > 6000].sum() / power.sum() < 1e-4


def test_noise_of_a_turn_comes_again() -> None:
    found = degradations.degrade(speech(1, 4.0), RATE, only("revolution"), np.random.default_rng(1))
    noise, period = (found.noisy - found.target)[0], round(33_923 * RATE / 44_100)
    assert found.record["revolution"]["period"] == period
    assert np.abs(noise[period:] - noise[:-period]).max() < 1e-5


def test_clipping_bounds_the_sum_but_not_the_target() -> None:
    found = degradations.degrade(speech(), RATE, only("clipping", limit_db=(3, 3)), np.random.default_rng(1))
    assert np.abs(found.noisy).max() == pytest.approx(found.record["clipping"]["limit"], rel=1e-6)
    assert np.abs(found.target).max() > np.abs(found.noisy).max()


def test_held_out_amplitudes_are_even_in_db_and_clustered() -> None:
    settings = HeldOutSettings(clicks=1.0, scratches=0.0, clicks_per_sec=(50, 50), click_db=(-6, 24))
    found = degradations_held_out.degrade(speech(1, 30.0), RATE, settings, np.random.default_rng(2))
    level = 20 * np.log10(np.abs(found.impulses.amplitudes) / found.record["level"])
    assert level.std() == pytest.approx(30 / np.sqrt(12), rel=0.1) and level.max() < 24.01
    gaps = np.diff(found.impulses.starts)
    assert gaps.std() / gaps.mean() > 1.25  # a Poisson process has 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clicks": {"rate_per_sec": [5, 1]}}, "lowest, highest"),
        ({"clicks": {"rate_per_second": [1, 5]}}, "unknown key"),
        ({"clicks": {"probability": 1.5}}, "less than or equal to 1"),
        ({"hiss": {"spectra": [[[100, 0], [50, 0]]]}}, "rise in Hz"),
        ({"hum": {"harmonics": [0, 4]}}, "within 1 and 100"),
        ({"band": {"orders": [5]}}, "even"),
        ({"wow": {"depth_percent": [0, float("inf")]}}, "depth_percent"),
    ],
)
def test_wrong_settings_are_named(values: Any, message: str) -> None:
    with pytest.raises(AudioRestorerError, match=message):
        validate(DegradationSettings, values, "degradations")


def test_settings_survive_json() -> None:
    settings = DegradationSettings()
    assert DegradationSettings.model_validate_json(settings.model_dump_json()) == settings
