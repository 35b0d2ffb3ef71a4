"""Clipping, dropouts and rooms: what is found, what is mended, and what is left alone bit by bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from scipy import signal as scipy_signal

from audiorestorer.audio import Audio
from audiorestorer.dsp import autoregression, declipping, dropouts, rooms

RATE = 16_000
ROOT = Path(__file__).parents[2]


def voice(seconds: float = 2.0, rate: int = RATE, seed: int = 0) -> Audio:
    """Harmonics of a pitch that moves slowly, in syllables that end within 20 ms, over silence: `[T]` float32 of RMS about 0.1."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 4 * np.sin(2 * np.pi * 0.5 * time)) / rate
    harmonics = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, int(0.49 * rate / 125)))
    gate = (np.sin(2 * np.pi * 2 * time) > -0.5).astype(float)
    ramp = scipy_signal.windows.hann(int(0.02 * rate))
    return (0.12 * harmonics * np.convolve(gate, ramp / ramp.sum(), "same")).astype(np.float32)


def spoken(rate: int = RATE) -> Audio:
    """A second and a half of one of the pilot's voices."""
    path = next(iter(sorted((ROOT / "data/pilot/clean").rglob("*.flac"))))
    signal, own = sf.read(path, dtype="float32", always_2d=True, frames=66_150, start=22_050)
    return soxr.resample(signal[:, 0], own, rate)[: int(1.5 * rate)]


def cut(signal: Audio, size: int) -> Iterator[Audio]:
    return (signal[:, begin : begin + size] for begin in range(0, signal.shape[1], size))


def si_sdr(made: Audio, wanted: Audio) -> float:
    made, wanted = made.astype(np.float64), wanted.astype(np.float64)
    part = (made @ wanted) / (wanted @ wanted) * wanted
    return float(10 * np.log10((part @ part) / np.sum((made - part) ** 2)))


def declip(signal: Audio, rate: int, size: int = 5000) -> tuple[declipping.Limits, Audio]:
    limits = declipping.find(lambda: cut(signal, size), len(signal))
    return limits, np.concatenate(list(declipping.declipped(cut(signal, size), signal.shape[1], rate, limits)), axis=1)


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_clipped_samples_are_made_anew_and_the_others_stay(rate: int) -> None:
    clean = spoken(rate)
    limit = 0.3 * np.abs(clean).max()
    clipped = np.clip(clean, -limit, limit)
    limits, made = declip(np.stack([clipped, clean]), rate)
    assert np.isfinite(limits.high).tolist() == [True, False]
    assert si_sdr(made[0], clean) > si_sdr(clipped, clean) + 6
    sound = np.abs(clipped) < 0.999 * limit
    assert (made[0][sound] == clipped[sound]).all() and (made[1] == clean).all()
    assert (made[0][clipped >= 0.9999 * limit] >= 0.9998 * limit).all()  # what was cut lay beyond the limit


def test_a_limit_on_one_side_and_another_cutting_into_blocks() -> None:
    clean = voice(1.0)
    clipped = np.minimum(clean, np.float32(0.1))[None]
    limits, made = declip(clipped, RATE)
    assert limits.high[0] == pytest.approx(0.1, rel=1e-4) and limits.low[0] == -np.inf
    assert (declip(clipped, RATE, 777)[1] == made).all()
    assert declipping.find(lambda: cut(clipped, 1), 1) == declipping.find(lambda: cut(clipped, 9999), 1)


def test_an_unclipped_peak_and_silence_are_no_clipping() -> None:
    for signal in (
        voice(),
        np.zeros(RATE, np.float32),
        np.random.default_rng(0).standard_normal(RATE).astype(np.float32),
    ):
        assert not declipping.find(lambda signal=signal: cut(signal[None], 4000), 1).any


def test_what_is_round_or_square_is_no_clipping() -> None:
    time = np.arange(3 * 44_100) / 44_100
    for hertz, peak in ((50, 0.99), (200, 0.003), (440, 0.01), (1000, 0.5)):
        tone = np.round(32767 * peak * np.sin(2 * np.pi * hertz * time)).astype(np.float32) / 32768
        assert not declipping.find(lambda tone=tone: cut(tone[None], 5000), 1).any
    square = (0.5 * np.sign(np.sin(2 * np.pi * 441 * time))).astype(np.float32)
    speech = spoken(44_100)
    both = np.concatenate([speech, square])
    _, made = declip(both[None], 44_100)
    assert np.abs(made).max() <= 0.5 and (made[0, : len(speech)] == speech).all()


def lossy(clean: Audio, rate: int) -> tuple[Audio, list[tuple[int, int]]]:
    gaps = [(int(begin * rate), int((begin + 0.03) * rate)) for begin in (0.2, 0.6, 1.1)]
    out = clean.copy()
    for begin, end in gaps:
        out[begin:end] = 0
    return out, gaps


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_dropouts_within_sound_are_filled(rate: int) -> None:
    time = np.arange(int(1.5 * rate)) / rate
    clean = 0.1 * sum(np.sin(2 * np.pi * 140 * k * time + k) / k for k in range(1, 20))
    clean = (clean + 1e-4 * np.random.default_rng(0).standard_normal(len(time))).astype(np.float32)
    broken, gaps = lossy(clean, rate)
    level = np.full(2, 0.1, np.float32)
    assert dropouts.find(broken, rate, 0.1) == gaps
    both = np.stack([broken, clean])
    assert dropouts.present(cut(both, 5000), len(clean), rate, level)
    made = np.concatenate(list(dropouts.filled(cut(both, 5000), len(clean), rate, level)), axis=1)
    for begin, end in gaps:
        error = np.mean((made[0, begin:end] - clean[begin:end]) ** 2)
        assert error < 0.05 * np.mean(clean[begin:end] ** 2)  # the pitch goes on
    known = broken != 0
    assert (made[0][known] == broken[known]).all() and (made[1] == clean).all()


def test_pauses_are_no_dropouts() -> None:
    pausing = voice(3.0)  # fades into digital silence of 160 ms and less
    pausing[np.abs(pausing) < 1e-5] = 0
    assert not dropouts.present(cut(pausing[None], 3000), len(pausing), RATE, np.array([0.1], np.float32))
    assert not dropouts.find(np.zeros(RATE, np.float32), RATE, 0.1)


def test_gates_steps_of_quantisation_and_beepers_are_no_dropouts() -> None:
    speech = spoken()
    power = np.convolve(speech**2, np.ones(160) / 160, "same")
    gated = speech * (np.convolve(power > (np.abs(speech).max() / 100) ** 2, np.ones(480), "same") > 0)
    coarse = np.round(speech * 32).astype(np.float32) / 32  # six bits
    time = np.arange(3 * RATE) / RATE
    morse = np.where((time / 0.05).astype(int) % 2, np.sin(2 * np.pi * 600 * time), 0)
    pulses = np.maximum(np.sin(2 * np.pi * 50 * time), 0)
    for signal in (gated, coarse, morse, pulses):
        level = float(np.sqrt(np.mean(signal**2)))
        assert not dropouts.find(signal.astype(np.float32), RATE, level)


def test_dropouts_one_after_the_other_are_filled_alike_wherever_a_stretch_ends() -> None:
    clean = voice(6.0) + 1e-3 * np.random.default_rng(0).standard_normal(6 * RATE).astype(np.float32)
    broken = clean.copy()
    for begin in np.arange(1.6, 2.4, 0.14):
        broken[int(begin * RATE) : int((begin + 0.09) * RATE)] = 0
    level = np.array([0.1], np.float32)
    made = np.concatenate(list(dropouts.filled(cut(broken[None], 5000), len(clean), RATE, level)), axis=1)[0]
    assert np.abs(made - dropouts.fill(broken, RATE, 0.1)).max() < 1e-3


def test_burg_finds_the_model_of_a_short_signal() -> None:
    wanted = np.array([1.0, -1.6, 0.9])
    drive = np.random.default_rng(0).standard_normal(400)
    found = autoregression.burg(scipy_signal.lfilter([1.0], wanted, drive), 2)
    assert np.abs(found - wanted).max() < 0.06
    assert (autoregression.burg(np.zeros(100), 4) == [1, 0, 0, 0, 0]).all()


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_a_room_is_heard_in_its_falls(rate: int) -> None:
    dry = voice(4.0, rate)
    time = np.arange(int(0.5 * rate)) / rate
    tail = np.random.default_rng(1).standard_normal(len(time)) * 10 ** (-3 * time / 0.46)  # 60 dB in 0.46 s
    tail *= 0.7 / np.sqrt(np.sum(tail**2))
    wet = (dry + scipy_signal.fftconvolve(dry, tail)[: len(dry)]).astype(np.float32)
    levels = np.full(2, 0.1, np.float32)
    both = np.stack([dry, wet])
    fast, slow = rooms.falls(cut(both, 4000), rate, levels)
    assert fast > rooms.SLOWEST_DB_PER_SEC and 60 / 0.46 < slow < rooms.SLOWEST_DB_PER_SEC
    assert rooms.echoes(cut(both, 4000), rate, levels) == [False, True]
    assert rooms.falls(cut(both, 333), rate, levels) == [fast, slow]  # blocks change nothing
    assert rooms.echoes(iter([np.zeros((1, rate), np.float32)]), rate, np.zeros(1, np.float32)) == [False]
