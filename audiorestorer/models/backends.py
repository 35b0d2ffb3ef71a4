"""One mask network in several run times: torch, ONNX Runtime, OpenVINO. `[B, 1, T] -> [B, 1, T]` float32 arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.mask_unet import MaskUNet

Runner = Callable[[NDArray[np.float32]], NDArray[np.float32]]
BACKENDS = ("torch", "onnxruntime", "openvino")


def runner(backend: str, model: MaskUNet, onnx_content: bytes, device: str = "cpu", threads: int = 1) -> Runner:
    """A function that runs the model in a backend. ONNX Runtime and OpenVINO run on the CPU.

    Raises:
        AudioRestorerError: no such backend.
        ImportError: the backend is not installed.
    """
    if backend == "torch":
        return _torch(model, device, threads)
    if backend == "onnxruntime":
        from audiorestorer.models.export import INPUT, OUTPUT
        from audiorestorer.models.onnx_run import session

        run = session(onnx_content, threads)
        return lambda audio: np.asarray(run.run([OUTPUT], {INPUT: audio})[0], np.float32)
    if backend == "openvino":
        return _openvino(onnx_content, threads)
    raise AudioRestorerError(f"backend {backend!r}: not one of {', '.join(BACKENDS)}")


def _torch(model: MaskUNet, device: str, threads: int) -> Runner:
    import torch

    torch.set_num_threads(threads)
    network = model.eval().to(device)

    def run(audio: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            out: NDArray[np.float32] = network(torch.from_numpy(audio).to(device)).float().cpu().numpy()
        return out

    return run


def _openvino(onnx_content: bytes, threads: int) -> Runner:
    import io

    import openvino

    core = openvino.Core()
    # float32, as the others: OpenVINO chooses bfloat16 by itself where the CPU has it
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(openvino.convert_model(io.BytesIO(onnx_content)), "CPU", settings)
    return lambda audio: np.asarray(compiled(audio)[0], np.float32)
