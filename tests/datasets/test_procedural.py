"""Procedural noises have the physics of their names."""

import numpy as np
import pytest

from audiorestorer.datasets.noise import procedural
from audiorestorer.datasets.noise.features import measure
from audiorestorer.datasets.noise.filter import NoiseFilterSettings, class_of, rejection

RATE = 22050
LONG = 10 * RATE


def power(kind: str, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    signal = procedural.make(kind, seed, LONG, RATE).astype(np.float64)
    return np.fft.rfftfreq(LONG, 1 / RATE), np.abs(np.fft.rfft(signal)) ** 2


def share(kind: str, low: float, high: float) -> float:
    frequency, found = power(kind)
    return float(found[(frequency >= low) & (frequency < high)].sum() / found.sum())


@pytest.mark.parametrize(("kind", "slope_db"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)])
def test_spectral_slope_an_octave(kind: str, slope_db: float) -> None:
    frequency, found = power(kind)
    octaves = [400, 800, 1600, 3200, 6400]
    levels = [10 * np.log10(found[(frequency >= f) & (frequency < 2 * f)].mean()) for f in octaves[:-1]]
    assert np.polyfit(range(len(levels)), levels, 1)[0] == pytest.approx(slope_db, abs=0.5)


@pytest.mark.parametrize(("kind", "base"), [("hum50", 50.0), ("hum60", 60.0)])
def test_hum_lies_on_the_mains_harmonics(kind: str, base: float) -> None:
    frequency, found = power(kind)
    on = np.abs(frequency / base - np.round(frequency / base)) * base < 1
    assert found[on].sum() / found.sum() > 0.95
    other = 60.0 if base == 50 else 50.0
    assert found[np.abs(frequency - other) < 1].sum() < 0.01 * found[np.abs(frequency - base) < 1].sum()


def test_bands() -> None:
    assert share("hiss", 2000, RATE) > 0.85
    assert share("rumble", 0, 100) > 0.9
    assert share("hvac", 0, 500) > 0.8
    assert share("crowd", 100, 4000) > 0.8


def test_clicks_come_as_often_as_stated() -> None:
    signal = procedural.make("clicks", 3, LONG, RATE)
    loud = np.abs(signal) > 0.25 * np.abs(signal).max()
    starts = np.flatnonzero(np.diff(loud.astype(int)) == 1)
    count = 1 + int((np.diff(starts) > 0.005 * RATE).sum())
    assert count / 10 == pytest.approx(procedural.CLICKS_PER_SEC, rel=0.35)  # 60 expected, Poisson; near ones merge


@pytest.mark.parametrize("kind", procedural.KINDS)
def test_seeded_and_of_unit_power(kind: str) -> None:
    first, again, other = (procedural.make(kind, seed, RATE, RATE) for seed in (5, 5, 6))
    assert first.dtype == np.float32 and np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.sqrt(np.mean(first.astype(np.float64) ** 2)) == pytest.approx(1, abs=1e-3)


def test_crowd_of_given_speech_has_its_spectrum() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)
    babble = procedural.make("crowd", 1, 2 * RATE, RATE, [tone]).astype(np.float64)
    frequency, found = np.fft.rfftfreq(2 * RATE, 1 / RATE), np.abs(np.fft.rfft(babble)) ** 2
    assert found[np.abs(frequency - 440) < 5].sum() / found.sum() > 0.95


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="thunder"):
        procedural.make("thunder", 1, 10, RATE)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("hiss", "hiss"), ("white", "hiss"), ("hum50", "hum"), ("hum60", "hum"), ("rumble", "rumble"), ("hvac", "hvac"),
        ("crowd", "crowd"), ("crackle", "clicks"), ("clicks", "clicks"), ("pink", "room_tone"), ("brown", "rumble"),
    ],
)  # fmt: skip
def test_the_noise_filter_knows_each_kind(kind: str, wanted: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    import soundfile as sf

    path = tmp_path / "n.wav"
    sf.write(path, 0.05 * procedural.make(kind, 21, 6 * RATE, RATE), RATE, subtype="FLOAT")
    features = measure(path)
    assert rejection(features, None, NoiseFilterSettings()) is None
    assert class_of(features, None) == wanted
