"""`kind: gtcrn`: the small denoiser GTCRN (Rong et al. 2024, ICASSP) in its authors' streaming graph. No torch import.

16 kHz, square root of a Hann window of 512 samples, hop 256; the graph takes one frame and its caches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.dsp.stft import hann
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.mask_arrays import framed, overlap_added
from audiorestorer.models.onnx_run import session
from audiorestorer.separators import ModelFiles, Options, Separator, refuse_fast
from audiorestorer.separators.runtime.row_by_row import RowByRow

N_FFT, HOP_LENGTH = 512, 256
CACHES = ("conv_cache", "tra_cache", "inter_cache")


class Gtcrn(RowByRow):
    """The network; `vocals` is the speech."""

    sample_rate = 16_000
    align = HOP_LENGTH

    def __init__(self, run: Any, in_work: int) -> None:
        self.run, self.in_work = run, in_work
        self.caches = {one.name: np.zeros(one.shape, np.float32) for one in run.get_inputs() if one.name in CACHES}

    def one(self, audio: Audio) -> Audio:
        window = np.sqrt(hann(N_FFT))
        rest = -len(audio) % HOP_LENGTH
        padded = np.pad(audio, (N_FFT // 2, N_FFT // 2 + rest))
        spectrum = np.fft.rfft(framed(padded[None], N_FFT, HOP_LENGTH)[0] * window, axis=1)
        given = np.stack([spectrum.real, spectrum.imag], axis=-1).astype(np.float32)
        caches, out = dict(self.caches), np.empty_like(given)
        for index, frame in enumerate(given):
            made, *states = self.run.run(None, {"mix": frame[None, :, None], **caches})
            out[index] = made[0, :, 0]
            caches = dict(zip(CACHES, states, strict=True))
        frames = np.fft.irfft(out[..., 0] + 1j * out[..., 1], n=N_FFT, axis=1).astype(np.float32) * window
        # the squares of the window's neighbours add up to one
        return overlap_added(frames[None], HOP_LENGTH)[0, N_FFT // 2 : N_FFT // 2 + len(audio)]


def load(model: ModelFiles, options: Options) -> Separator:
    """Raises AudioRestorerError: a graph that cannot be loaded or is another network's, or a precision it does not have."""
    refuse_fast(model, options, has=("onnxruntime",))
    path = model.one(".onnx")
    run = session(str(path))
    names = [one.name for one in run.get_inputs()]
    if names != ["mix", *CACHES]:
        raise AudioRestorerError(f"{path}: not GTCRN's streaming graph: its inputs are {', '.join(names)}")
    return Gtcrn(run, options.threads)
