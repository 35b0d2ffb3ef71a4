"""DNSMOS P.835 and P.808 (Reddy et al. 2021, 2022) with the ONNX networks of the package speechmos, several windows in a pass.

The package's own code asks for librosa (with numba and scikit-learn) to make one mel spectrogram; its networks do not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import util
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from audiorestorer.audio import Audio
from audiorestorer.dsp.stft import forward, hann
from audiorestorer.models.onnx_run import session

RATE_HZ = 16_000
WINDOW = int(9.01 * RATE_HZ)  # samples that the networks were trained on; one begins in each whole second
ROWS = 4  # windows in one pass: more take memory and are not quicker
N_FFT, HOP, BANDS = 321, 160, 120  # of the mel spectrogram that P.808's network hears
LEAST_POWER, RANGE_DB = 1e-10, 80.0
# the networks' raw scores to opinions, highest power first (Reddy et al. 2022, microsoft/DNS-Challenge)
TO_OPINION = {
    "sig_mos": (-0.08397278, 1.22083953, 0.0052439),
    "bak_mos": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl_mos": (-0.06766283, 1.11546468, 0.04602535),
}


def networks() -> Path:
    """The folder of the package's networks; the package is not imported."""
    found = util.find_spec("speechmos")
    assert found is not None and found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "dnsmos_models"


def scorer(threads: int) -> Callable[[Audio], dict[str, float]]:
    """The function that scores a signal `[T]` at 16 kHz within -1..1: `sig_mos`, `bak_mos`, `ovrl_mos` and `p808_mos`, each the mean
    over its windows of 9 s. A shorter signal is repeated."""
    p835 = session(str(networks() / "sig_bak_ovr.onnx"), threads)
    p808 = session(str(networks() / "model_v8.onnx"), threads)

    def scores_of(mono: Audio) -> dict[str, float]:
        parts = windows(mono)
        raw, p808_mos = [], []
        for start in range(0, len(parts), ROWS):
            rows = parts[start : start + ROWS]
            raw.append(p835.run(None, {"input_1": rows})[0])
            p808_mos.append(p808.run(None, {"input_1": np.stack([mel(row[:-HOP]) for row in rows])})[0])
        columns = np.concatenate(raw).astype(np.float64).T
        scores = {
            name: float(np.polyval(powers, column).mean())
            for (name, powers), column in zip(TO_OPINION.items(), columns, strict=True)
        }
        return {**scores, "p808_mos": float(np.concatenate(p808_mos).astype(np.float64).mean())}

    return scores_of


def windows(mono: Audio) -> Audio:
    """`[T]` to `[N, WINDOW]`, one for each second at which a whole window begins."""
    while len(mono) < WINDOW:
        mono = np.concatenate([mono, mono])
    count = int(len(mono) // RATE_HZ - WINDOW / RATE_HZ) + 1
    starts = [second * RATE_HZ for second in range(max(1, count)) if second * RATE_HZ + WINDOW <= len(mono)]
    return np.stack([mono[start : start + WINDOW] for start in starts]).astype(np.float32)


def mel(mono: Audio) -> Audio:
    """The log mel spectrogram `[frames, BANDS]` of `[T]`: 0 dB is its highest value, and 40 dB below that is 0, above it 1."""
    padded = np.pad(mono, N_FFT // 2)
    frames = sliding_window_view(padded, N_FFT)[::HOP] * hann(N_FFT)
    power = np.square(np.abs(forward(frames))) @ filters().T
    level = 10 * np.log10(np.maximum(power, LEAST_POWER))
    level -= 10 * np.log10(max(float(power.max()), LEAST_POWER))
    return ((np.maximum(level, level.max() - RANGE_DB) + 40) / 40).astype(np.float32)


@cache
def filters() -> NDArray[np.float32]:
    """Triangles `[BANDS, bins]` of equal area and equal steps on Slaney's mel scale (Auditory Toolbox, 1998): linear up to 1 kHz, then
    27 steps for each factor of 6.4."""
    top = 15 + 27 * np.log(RATE_HZ / 2 / 1000) / np.log(6.4)
    steps = np.linspace(0, top, BANDS + 2)
    hertz = np.where(steps < 15, steps * 200 / 3, 1000 * 6.4 ** ((steps - 15) / 27))
    bins = np.fft.rfftfreq(N_FFT, 1 / RATE_HZ)
    rising = (bins - hertz[:-2, None]) / np.diff(hertz)[:-1, None]
    falling = (hertz[2:, None] - bins) / np.diff(hertz)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling)) * (2 / (hertz[2:] - hertz[:-2]))[:, None]
    return triangles.astype(np.float32)
