"""Whispered speech from voiced speech: the same envelope of the spectrum, excited by noise in place of the voice.

As in the cepstral and LPC vocoders of the literature (for instance Tartter 1989 on what listeners hear in a whisper): a whisper has no
fundamental and no overtones, and its low frequencies are weak, because the glottis stays open.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from audiorestorer.dsp.stft import hann
from audiorestorer.models.mask_arrays import overlap_added, spectrum

FRAME_SEC = 0.025
QUEFRENCY_SEC = 0.0018  # the envelope's finest ripple: below the period of any voice (555 Hz)
LOW_HZ = (400.0, 700.0)  # below it a whisper falls by 12 dB per octave; drawn for each voice
FLOOR = 1e-5  # of the loudest bin (-100 dB)


def whispered(rng: np.random.Generator, speech: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """A whisper that says the same.

    Args:
        speech: `[T]`, at any level.

    Returns:
        `[T]` at the same RMS; silence stays silence.
    """
    hop = max(8, round(FRAME_SEC * sample_rate / 4))
    n_fft = 4 * hop
    size = np.abs(spectrum(speech[None], n_fft, hop)[0].T)
    loudest, power = float(size.max(initial=0.0)), float(np.square(speech, dtype=np.float64).sum())
    if loudest <= 0:
        return speech
    cepstrum = scipy.fft.irfft(np.log(size + np.float32(FLOOR * loudest)), n_fft, axis=1)
    keep = round(QUEFRENCY_SEC * sample_rate)
    cepstrum[:, keep : n_fft - keep + 1] = 0
    envelope = np.exp(scipy.fft.rfft(cepstrum, n_fft, axis=1).real)
    ratio = np.fft.rfftfreq(n_fft, 1 / sample_rate) / rng.uniform(*LOW_HZ)
    noise = spectrum(rng.standard_normal((1, len(speech))).astype(np.float32), n_fft, hop)[0].T
    frames = scipy.fft.irfft(noise * envelope * (ratio**2 / (1 + ratio**2)), n_fft, axis=1) * hann(n_fft)
    breath = overlap_added(frames[None], hop)[0, n_fft // 2 : n_fft // 2 + len(speech)]
    return np.asarray(breath * np.sqrt(power / max(float(np.square(breath).sum()), 1e-30)), np.float32)
