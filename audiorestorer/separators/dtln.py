"""`kind: dtln`: the denoiser DTLN (Westhausen & Meyer 2020, arXiv:2005.07551) in its two released graphs. No torch import.

16 kHz, blocks of 512 samples, hop 128. The first graph gives a mask of a block's spectrum, the second works on its samples; each
takes one block and its state.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.mask_arrays import framed, overlap_added
from audiorestorer.models.onnx_run import session
from audiorestorer.separators import ModelFiles, Options, Separator, refuse_fast
from audiorestorer.separators.runtime.row_by_row import RowByRow

BLOCK, HOP_LENGTH = 512, 128
FILES = ("model_1.onnx", "model_2.onnx")
WIDTHS = (BLOCK // 2 + 1, BLOCK)  # what a graph takes of a block


class Stateful:
    """A graph with one signal and one state, in and out.

    Raises:
        AudioRestorerError: the graph has other inputs.
    """

    def __init__(self, path: Path, width: int) -> None:
        self.run = session(str(path))
        shapes = [list(one.shape) for one in self.run.get_inputs()]
        if len(shapes) != 2 or shapes[0] != [1, 1, width]:
            raise AudioRestorerError(f"{path}: not one of DTLN's graphs: its inputs are {shapes}")
        self.signal, self.state = (one.name for one in self.run.get_inputs())
        self.start = np.zeros(shapes[1], np.float32)

    def __call__(self, values: NDArray[np.floating], state: Audio) -> tuple[Audio, Audio]:
        out, following = self.run.run(None, {self.signal: values[None, None].astype(np.float32), self.state: state})
        return out.reshape(-1), following


class Dtln(RowByRow):
    """The network; `vocals` is the speech."""

    sample_rate = 16_000
    align = HOP_LENGTH

    def __init__(self, masks: Stateful, samples: Stateful, in_work: int) -> None:
        self.masks, self.samples, self.in_work = masks, samples, in_work

    def one(self, audio: Audio) -> Audio:
        late = BLOCK - HOP_LENGTH
        padded = np.pad(audio, (late, late + -len(audio) % HOP_LENGTH))
        blocks = framed(padded[None], BLOCK, HOP_LENGTH)[0]
        out = np.empty((len(blocks), BLOCK), np.float32)
        first, second = self.masks.start, self.samples.start
        for index, spectrum in enumerate(np.fft.rfft(blocks, axis=1)):
            mask, first = self.masks(np.abs(spectrum), first)
            out[index], second = self.samples(np.fft.irfft(mask * spectrum, n=BLOCK), second)
        return overlap_added(out[None], HOP_LENGTH)[0, late : late + len(audio)]


def load(model: ModelFiles, options: Options) -> Separator:
    """Raises AudioRestorerError: a graph is missing or another network's, or a precision it does not have."""
    refuse_fast(model, options, has=("onnxruntime",))
    paths = {path.name: path for path in model.files}
    missing = [name for name in FILES if name not in paths]
    if missing:
        raise AudioRestorerError(f"model {model.name}: needs {' and '.join(FILES)}; {', '.join(missing)} missing")
    masks, samples = (Stateful(paths[name], width) for name, width in zip(FILES, WIDTHS, strict=True))
    return Dtln(masks, samples, options.threads)
