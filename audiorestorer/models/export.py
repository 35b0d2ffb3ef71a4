"""The mask network as ONNX: waveform in, waveform out, any batch and length.

ONNX has no inverse STFT: both transforms are written as convolutions with the windowed Fourier basis, and overlap-add as a transposed
convolution. They equal `torch.stft` and its inverse up to float32 rounding.
"""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_bytes_atomic
from audiorestorer.models.mask_unet import MaskUNet
from audiorestorer.models.onnx_run import session

OPSET = 17
TOLERANCE = 1e-4  # largest difference from PyTorch allowed, for inputs of RMS 1
INPUT, OUTPUT = "mixture", "speech"


class Exportable(nn.Module):
    """`MaskUNet.forward` in operations that ONNX has. `[B, 1, T] -> [B, 1, T]`."""

    analysis: Tensor
    synthesis: Tensor
    squares: Tensor

    def __init__(self, model: MaskUNet) -> None:
        super().__init__()
        self.model = model
        n_fft = model.config.n_fft
        bins = n_fft // 2 + 1
        phase = (
            2
            * math.pi
            * torch.outer(torch.arange(bins, dtype=torch.float64), torch.arange(n_fft, dtype=torch.float64))
            / n_fft
        )
        window = model.window.double()
        forward = torch.cat([phase.cos(), -phase.sin()]) * window
        # irfft: every bin counts twice but the first and the last; the sine rows of those two are zero
        weight = torch.full((bins, 1), 2.0, dtype=torch.float64)
        weight[0] = weight[-1] = 1.0
        back = torch.cat([phase.cos() * weight, -phase.sin() * weight]) / n_fft * window
        self.register_buffer("analysis", forward[:, None].float(), persistent=False)
        self.register_buffer("synthesis", back[:, None].float(), persistent=False)
        self.register_buffer("squares", (window**2)[None, None].float(), persistent=False)

    def forward(self, mixture: Tensor) -> Tensor:
        config = self.model.config
        hop, half, bins = config.hop_length, config.n_fft // 2, config.n_fft // 2 + 1
        # at most one hop more than needed: frames beyond the last sample are cut off again
        padded = functional.pad(mixture, (half, half + hop - 1))
        both = functional.conv1d(padded, self.analysis, stride=hop)
        real, imaginary = both[:, :bins], both[:, bins:]
        size = (real.square() + imaginary.square() + 1e-20).sqrt()
        masked = torch.cat(self.model.restored(real, imaginary, size)[:2], dim=1)
        audio = functional.conv_transpose1d(masked, self.synthesis, stride=hop)
        norm = functional.conv_transpose1d(torch.ones_like(masked[:1, :1]), self.squares, stride=hop)
        return (audio / norm.clamp_min(1e-8))[:, :, half : half + mixture.shape[-1]]


def export(model: MaskUNet, metadata: dict[str, Any], length: int) -> bytes:
    """The ONNX file's content.

    Args:
        metadata: texts for the file (architecture, task, sha256 of the checkpoint, ...), beside config and rate.
        length: samples of the example that is traced; any other length works too.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of every constant that depends on the config, not on the input
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            Exportable(model).eval(),
            (torch.randn(1, 1, length),),
            str(path),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={name: {0: "batch", 2: "samples"} for name in (INPUT, OUTPUT)},
            opset_version=OPSET,
            dynamo=False,
        )
        graph = onnx.load(str(path))
    config = {"config": json.dumps(asdict(model.config), sort_keys=True), "sample_rate": str(model.config.sample_rate)}
    for key, value in {**config, **metadata}.items():
        graph.metadata_props.add(key=key, value=str(value))
    return bytes(graph.SerializeToString())


def difference(model: MaskUNet, content: bytes, length: int, seed: int = 0) -> float:
    """Largest |ONNX Runtime - PyTorch| over batches of 1 and 3 and lengths around `length`, inputs of RMS 1."""
    run = session(content)
    rng = np.random.default_rng(seed)
    hop, worst = model.config.hop_length, 0.0
    for batch in (1, 3):
        for samples in (length, length + 1, length - hop // 2, max(1, length // 3), hop, 1):
            mixture = rng.standard_normal((batch, 1, samples)).astype(np.float32)
            with torch.no_grad():
                expected = model(torch.from_numpy(mixture)).numpy()
            output = run.run([OUTPUT], {INPUT: mixture})[0]
            if output.shape != expected.shape:
                raise AudioRestorerError(f"ONNX gives {output.shape} for an input of {mixture.shape}")
            worst = max(worst, float(np.abs(output - expected).max()))
    return worst


def write_checked(path: Path, model: MaskUNet, metadata: dict[str, Any], length: int) -> dict[str, Any]:
    """Export, compare with PyTorch, write atomically; nothing is written where they differ.

    Raises:
        AudioRestorerError: they differ by more than `TOLERANCE`.
    """
    content = export(model, metadata, length)
    onnx.checker.check_model(content)
    largest = difference(model, content, length)
    if not largest <= TOLERANCE:
        raise AudioRestorerError(
            f"{path}: not written: ONNX Runtime differs from PyTorch by {largest:.2e} (allowed {TOLERANCE:g})"
        )
    write_bytes_atomic(path, content)
    return {"max_difference": largest, "size_mb": round(len(content) / 1e6, 3), "opset": OPSET}
