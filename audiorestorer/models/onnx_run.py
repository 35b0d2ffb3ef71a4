"""ONNX files on the CPU, by ONNX Runtime. No torch import here."""

from __future__ import annotations

import onnxruntime


def session(content: bytes | str, threads: int = 1) -> onnxruntime.InferenceSession:
    """A session of a file's content, or of its path."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the core to others
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
