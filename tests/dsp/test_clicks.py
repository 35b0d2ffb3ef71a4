"""Impulses have the rates, sizes and shapes that are asked for."""

import json

import numpy as np
import pytest

from audiorestorer.dsp.clicks import ImpulseLaw, draw, poisson_times, pulse

RATE = 22_050


@pytest.mark.parametrize("rate", [0.5, 10.0, 300.0])
def test_times_are_a_poisson_process(rate: float) -> None:
    times = poisson_times(np.random.default_rng(1), rate, 400 * RATE, RATE)
    expected = 400 * rate
    assert abs(len(times) - expected) < 4 * np.sqrt(expected)
    gaps = np.diff(times) / RATE
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.15)  # exponential


def test_amplitudes_follow_their_law() -> None:
    for law, skewed in (("log-normal", False), ("pareto", True)):
        chosen = ImpulseLaw(50.0, 0.1, 6.0, law, width_sec=1e-4)  # type: ignore[arg-type]
        _, found = draw(np.random.default_rng(2), chosen, 100 * RATE, RATE)
        level = 20 * np.log10(np.abs(found.amplitudes))
        assert np.median(level) == pytest.approx(-20, abs=0.4) and level.std() == pytest.approx(6, rel=0.1)
        assert (np.mean((level - level.mean()) ** 3) / level.std() ** 3 > 1) == skewed
        assert abs(np.mean(np.sign(found.amplitudes))) < 0.1


def test_the_largest_sample_is_the_amplitude() -> None:
    out, found = draw(np.random.default_rng(3), ImpulseLaw(1.0, 0.2, 6.0, resonance_hz=(2000, 5000)), 20 * RATE, RATE)
    alone = np.flatnonzero(np.diff(found.starts, append=10**9) > 200)
    for k in alone:
        part = out[0, found.starts[k] : found.starts[k] + 200]
        if k == 0 or found.starts[k] - found.starts[k - 1] > 200:
            assert np.abs(part).max() == pytest.approx(abs(found.amplitudes[k]), rel=1e-5)


def test_width_and_resonance() -> None:
    shape = pulse(0.0, 0.002, 0.0, 0.0, RATE)
    assert shape[int(0.002 * RATE)] == pytest.approx(0.1, rel=0.1)  # a tenth after one width
    ring = pulse(0.0, 0.01, 3000.0, 0.0, RATE)
    spectrum = np.abs(np.fft.rfft(ring, 8192))
    assert np.argmax(spectrum) * RATE / 8192 == pytest.approx(3000, abs=30)


def test_seeded_and_recorded() -> None:
    law = ImpulseLaw(40.0, 0.1, resonance_hz=(1000, 4000))
    first, again, other = (draw(np.random.default_rng(seed), law, RATE, RATE) for seed in (1, 1, 2))
    assert first[0].tobytes() == again[0].tobytes() and first[0].tobytes() != other[0].tobytes()
    record = json.loads(json.dumps(first[1].record()))
    assert record["starts"] == first[1].starts.tolist() and len(record["widths_sec"]) == len(first[1])


def test_none_at_all() -> None:
    out, found = draw(np.random.default_rng(1), ImpulseLaw(1e-6, 0.1), 100, RATE)
    assert len(found) == 0 and not out.any() and out.shape == (1, 100)
