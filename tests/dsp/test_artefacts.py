"""Hiss, rumble, hum, loops, bands, clipping and wow have the physics of their names."""

import numpy as np
import pytest

from audiorestorer.dsp import artefacts, wow

RATE = 22_050
RNG = np.random.default_rng


def power(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.fft.rfftfreq(audio.shape[1], 1 / RATE), np.abs(np.fft.rfft(audio[0].astype(np.float64))) ** 2


def band_db(audio: np.ndarray, low: float, high: float) -> float:
    """Density of a band, dB."""
    frequency, found = power(audio)
    return float(10 * np.log10(found[(frequency >= low) & (frequency < high)].mean()))


def test_hiss_has_the_spectrum_asked_for() -> None:
    hiss = artefacts.shaped_noise(RNG(1), 2, 10 * RATE, RATE, [(100, 0), (1000, -10), (8000, 5)])
    assert hiss.shape == (2, 10 * RATE) and np.sqrt(np.mean(hiss.astype(np.float64) ** 2)) == pytest.approx(1, abs=1e-4)
    at = {f: band_db(hiss, f * 0.94, f * 1.06) for f in (100, 1000, 8000)}
    assert at[1000] - at[100] == pytest.approx(-10, abs=1.0) and at[8000] - at[1000] == pytest.approx(15, abs=1.0)
    assert abs(np.corrcoef(hiss)[0, 1]) < 0.05  # channels are independent


def test_rumble_lies_below_its_corner() -> None:
    rumble = artefacts.rumble(RNG(1), 1, 20 * RATE, RATE, 40.0)
    frequency, found = power(rumble)
    assert found[(frequency > 8) & (frequency < 80)].sum() / found.sum() > 0.95
    assert band_db(rumble, 80, 90) - band_db(rumble, 160, 180) == pytest.approx(12, abs=2)


@pytest.mark.parametrize("base", [50.0, 60.4])
def test_hum_lies_on_its_harmonics(base: float) -> None:
    drawn = artefacts.draw_hum(RNG(1), base, 8, 6.0)
    frequency, found = power(artefacts.hum(drawn, 20 * RATE, RATE))
    on = np.abs(frequency / base - np.round(frequency / base)) * base < 0.5
    assert found[on].sum() / found.sum() > 0.99
    lines = [found[np.abs(frequency - k * base) < 0.5].sum() for k in (1, 2, 8)]
    assert 10 * np.log10(lines[1] / lines[0]) == pytest.approx(drawn.levels_db[1] - drawn.levels_db[0], abs=0.3)


def test_a_turn_of_78_rpm_is_33923_samples_at_44100() -> None:
    assert artefacts.revolution(44_100) == 33_923
    assert artefacts.revolution(22_050) == round(33_923 / 2)
    assert artefacts.revolution(44_100, 100 / 3) == pytest.approx(44_100 * 1.8, abs=1)


def test_a_loop_repeats_whole_turns_without_a_seam() -> None:
    period = 1000
    noise = RNG(1).standard_normal((2, 2600)).astype(np.float32)
    noise += 5 * np.sin(2 * np.pi * np.arange(2600) / period).astype(np.float32)  # comes once a turn
    out = artefacts.loop(noise, period, 9000, start=300)
    assert np.array_equal(out[:, :2000], out[:, 2000:4000])  # two whole turns were there
    once = np.mean(out[0].reshape(-1, period), axis=0)
    assert np.argmax(once) == pytest.approx(period / 4 - 300 + period, abs=60)  # the phase is kept
    seam = np.abs(np.diff(artefacts.loop(np.cumsum(noise, 1) * 0 + noise, period, 9000)[0]))
    assert seam[1990:2010].max() < np.abs(np.diff(noise[0])).max() * 1.2
    white = RNG(2).standard_normal((1, 1900)).astype(np.float32)
    assert np.std(artefacts.loop(white, period, 900)[0]) == pytest.approx(1, rel=0.1)  # nor softer where it fades
    with pytest.raises(ValueError, match="no turn"):
        artefacts.loop(noise[:, :1000], period, 10)


def test_bands_are_limited_by_so_many_db_and_nothing_moves() -> None:
    white = RNG(1).standard_normal((1, 10 * RATE)).astype(np.float32)
    out = artefacts.band_limit(white, RATE, low_hz=200, high_hz=4000, order=6)
    gain = {
        f: band_db(out, f * 0.97, f * 1.03) - band_db(white, f * 0.97, f * 1.03) for f in (100, 200, 1000, 4000, 8000)
    }
    assert gain[1000] == pytest.approx(0, abs=0.1)
    assert gain[200] == pytest.approx(-6, abs=0.8) and gain[4000] == pytest.approx(-6, abs=0.8)
    assert gain[100] == pytest.approx(-36, abs=2) and gain[8000] < -36
    lag = np.argmax(np.correlate(white[0, :4000], out[0, :4000], "full")) - 3999
    assert lag == 0
    same = artefacts.band_limit(white, RATE, low_hz=None, high_hz=20_000)
    assert np.array_equal(same, white)


def test_clipping() -> None:
    tone = np.sin(np.arange(1000) / 10)[None].astype(np.float32)
    assert np.abs(artefacts.clip(tone, 0.5)).max() == 0.5
    soft = artefacts.soft_clip(tone, 0.5)
    assert np.abs(soft).max() < 0.5 and soft[0, 1] == pytest.approx(tone[0, 1], rel=0.02)


def test_wow_moves_a_tone_by_its_depth() -> None:
    time = np.arange(4 * RATE) / RATE
    tone = np.sin(2 * np.pi * 1000 * time)[None].astype(np.float32)
    moved = wow.displacement((wow.Speed(0.01, 1.3, 0.4),), 4 * RATE, RATE)
    out = wow.warp(tone, moved)
    assert np.abs(out[0] - np.sin(2 * np.pi * 1000 * (time + moved / RATE)))[300:-300].max() < 1e-5
    speed = np.diff(moved)
    assert speed.max() == pytest.approx(0.01, rel=1e-3) and speed.min() == pytest.approx(-0.01, rel=1e-3)
    assert moved.mean() == pytest.approx(0, abs=1e-6) and np.abs(moved).max() < 0.003 * RATE


def test_no_wow_changes_nothing_and_a_constant_shift_shifts() -> None:
    noise = artefacts.band_limit(RNG(1).standard_normal((2, RATE)).astype(np.float32), RATE, low_hz=None, high_hz=8000)
    assert np.abs(wow.warp(noise, np.zeros(RATE)) - noise)[:, 300:-300].max() < 1e-4
    out = wow.warp(noise, np.full(RATE, 3.0))
    assert np.abs(out[:, 300:-300] - noise[:, 303:-297]).max() < 1e-4
