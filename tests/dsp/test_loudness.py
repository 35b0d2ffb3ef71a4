"""Against the EBU's test signals (Tech 3341, table 1), pyloudnorm and, where it is installed, ffmpeg's ebur128."""

import re
import shutil
import subprocess

import numpy as np
import pyloudnorm
import pytest
import soundfile as sf

from audiorestorer.audio import rechunk
from audiorestorer.dsp import loudness

RATE = 48_000


def sine(seconds, dbfs, hz=1000.0, rate=RATE, channels=2, phase=0.0):
    time = np.arange(int(seconds * rate)) / rate
    return np.tile(10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * time + phase), (channels, 1)).astype(np.float32)


def lufs(x, rate=RATE, block=4321):
    return loudness.measure(rechunk([x], block), rate, x.shape[0]).lufs


@pytest.mark.parametrize(
    ("parts", "want"),
    [
        ([(20, -23)], -23),  # case 1
        ([(20, -33)], -33),  # case 2
        ([(10, -36), (60, -23), (10, -36)], -23),  # case 3: the relative gate
        ([(10, -72), (10, -36), (60, -23), (10, -36), (10, -72)], -23),  # case 4: the absolute gate
        ([(20, -26), (20.1, -20), (20, -26)], -23),  # case 5
    ],
)
def test_ebu_tech_3341(parts, want):
    x = np.concatenate([sine(seconds, level) for seconds, level in parts], axis=1)
    assert lufs(x) == pytest.approx(want, abs=0.1)


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_agrees_with_pyloudnorm_at_any_rate_and_block_size(rate, channels):
    rng = np.random.default_rng(rate)
    x = (rng.normal(0, 0.1, (channels, rate * 5)) * np.linspace(0.01, 1, rate * 5)).astype(np.float32)
    want = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(x.T.astype(np.float64))
    assert lufs(x, rate) == pytest.approx(want, abs=0.02)
    assert lufs(x, rate, 777) == pytest.approx(lufs(x, rate, 10**7), abs=1e-9)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
@pytest.mark.parametrize("channels", [1, 2])
def test_agrees_with_ffmpeg(tmp_path, channels):
    rng = np.random.default_rng(3)
    x = rng.normal(0, 0.05, (channels, RATE * 6)).astype(np.float32)
    sf.write(tmp_path / "x.wav", x.T, RATE, subtype="FLOAT")
    text = subprocess.run(
        ["ffmpeg", "-nostats", "-i", tmp_path / "x.wav", "-af", "ebur128=peak=true", "-f", "null", "-"],
        capture_output=True, text=True,
    ).stderr  # fmt: skip
    assert lufs(x) == pytest.approx(float(re.findall(r"I:\s+(-?[\d.]+) LUFS", text)[-1]), abs=0.1)
    peak = loudness.measure([x], RATE, channels).true_peak_dbtp
    assert peak == pytest.approx(float(re.findall(r"Peak:\s+(-?[\d.]+) dBFS", text)[-1]), abs=0.3)


@pytest.mark.parametrize(("divisor", "phase"), [(4, 0), (4, np.pi / 4), (6, np.pi / 3), (8, np.pi / 8)])
def test_true_peak_of_tones_between_samples(divisor, phase):
    """Tech 3341, cases 15 to 18: amplitude 0.5 reads -6 dBTP, +0.2 / -0.4 dB."""
    x = sine(1, -6.0206, RATE / divisor, phase=phase)
    x *= np.minimum(1, np.minimum(np.arange(RATE), np.arange(RATE)[::-1]) / 2000).astype(np.float32)
    assert -6.4 <= loudness.measure([x], RATE, 2).true_peak_dbtp <= -5.8


def test_silence_and_snippets_have_no_loudness_but_no_error():
    silence = loudness.measure([np.zeros((1, RATE), np.float32)], RATE, 1)
    assert silence.lufs is None and silence.true_peak_dbtp is None
    assert lufs(sine(0.3, -10)) is None


def test_limiter_holds_the_ceiling_keeps_the_length_and_leaves_quiet_sound_alone():
    rng = np.random.default_rng(1)
    loud = rng.normal(0, 0.4, (2, RATE * 3)).astype(np.float32)
    loud[:, : RATE // 2] *= 0.01
    out = np.concatenate(list(loudness.limited(rechunk([loud], 5001), RATE, -1.0)), axis=1)
    assert out.shape == loud.shape
    assert loudness.measure([out], RATE, 2).true_peak_dbtp <= -1.0
    assert np.array_equal(out[:, : RATE // 2 - 1000], loud[:, : RATE // 2 - 1000])
    again = np.concatenate(list(loudness.limited(rechunk([loud], 70_000), RATE, -1.0)), axis=1)
    assert np.array_equal(out, again)
