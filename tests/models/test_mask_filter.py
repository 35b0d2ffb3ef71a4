"""The filter over neighbouring frames: what a mask cannot do, it can, and NumPy does the same as torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import mask_filter
from audiorestorer.models.mask_arrays import filtered, inverse, spectrum, speech_and_mask, turns
from audiorestorer.models.mask_config import MaskUNetConfig

RATE, N_FFT, HOP = 8000, 128, 64
CONFIG = MaskUNetConfig(
    sample_rate=RATE, n_fft=N_FFT, hop_length=HOP, frequency_fold=1, channels=(), time_strides=(), bottleneck="lstm", rnn_hidden=6,
    bands=7, band_width=8, band_hidden=4, taps=3,
)  # fmt: skip


def test_turns_of_a_tone_are_its_frequency() -> None:
    """From one frame to the next a tone of f Hz turns by 2 pi f hop / rate; where nothing sounds nothing turns."""
    hertz = 1010.0
    tone = np.sin(2 * np.pi * hertz * np.arange(4000) / RATE).astype(np.float32)[None]
    cosine, sine = turns(spectrum(tone, N_FFT, HOP))[0][:, round(hertz * N_FFT / RATE), 5:-5]
    wanted = 2 * np.pi * hertz * HOP / RATE
    np.testing.assert_allclose(cosine, np.cos(wanted), atol=2e-3)
    np.testing.assert_allclose(sine, np.sin(wanted), atol=2e-3)
    assert not turns(spectrum(np.zeros((1, 500), np.float32), N_FFT, HOP)).any()


def test_taps_take_one_of_two_tones_out_of_a_bin() -> None:
    """Two tones 40 Hz apart share bins of 62.5 Hz: the filter 1/2 (X[n] - X[n-1] e^{iw}) removes the tone that turns by w, and keeps
    of the other one |1 - e^{i(w' - w)}| / 2; no mask does that."""
    time = np.arange(8000) / RATE
    killed, kept = (np.sin(2 * np.pi * hertz * time).astype(np.float32)[None] for hertz in (1000.0, 1040.0))
    turn = 2 * np.pi * 1000 * HOP / RATE
    bins, frames = N_FFT // 2 + 1, len(time) // HOP + 1
    out = np.zeros((1, 7, bins, frames), np.float32)
    out[:, 0] = 0.5  # the mask
    out[:, 1], out[:, 2] = -0.5 * np.cos(turn), -0.5 * np.sin(turn)  # the tap of the frame before

    def rms(tone: np.ndarray) -> float:
        speech, _ = filtered(spectrum(tone, N_FFT, HOP), out)
        return float(inverse(speech, N_FFT, HOP, len(time))[0, 500:-500].std() * np.sqrt(2))

    assert rms(killed) < 2e-3
    wanted = abs(1 - np.exp(2j * np.pi * 40 * HOP / RATE)) / 2
    assert rms(kept) == pytest.approx(wanted, rel=0.1)


def test_numpy_filters_as_torch_does() -> None:
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((2, 9, 12)) + 1j * rng.standard_normal((2, 9, 12))).astype(np.complex64)
    out = rng.uniform(-1, 1, (2, 7, 9, 12)).astype(np.float32)
    real, imaginary, taps = (torch.from_numpy(np.ascontiguousarray(part)) for part in (values.real, values.imag, out))
    wanted = mask_filter.filtered(real, imaginary, taps)
    ours, left = filtered(values, out)
    np.testing.assert_allclose(ours.real, wanted[0], atol=1e-6)
    np.testing.assert_allclose(ours.imag, wanted[1], atol=1e-6)
    np.testing.assert_allclose(left, np.abs(ours) / np.abs(values), rtol=1e-4)
    np.testing.assert_allclose(turns(values), mask_filter.turns(real, imaginary), atol=1e-6)


def test_a_floor_is_the_least_that_is_left_of_a_bin() -> None:
    """A network that lets nothing through, with a floor of -20 dB: the mixture comes out 20 dB down."""
    audio = np.random.default_rng(0).standard_normal((1, 3000)).astype(np.float32)
    speech, mask = speech_and_mask(
        CONFIG, lambda given: np.zeros((1, 7, *given.shape[2:]), np.float32), audio, floor=0.1
    )
    np.testing.assert_allclose(speech, 0.1 * audio, atol=1e-5)
    np.testing.assert_allclose(mask, 0.1, rtol=1e-5)


def test_taps_are_odd_and_go_with_bands_and_their_own_frames() -> None:
    for changes in ({"taps": 2}, {"taps": 17}, {"bands": 0, "taps": 3}):
        with pytest.raises(AudioRestorerError, match="taps"):
            replace(CONFIG, **changes)
    assert CONFIG.hop_of(2) == HOP
    with pytest.raises(AudioRestorerError, match="overlap 4: a network with taps"):
        CONFIG.hop_of(4)
