"""ONNX files on the CPU, by ONNX Runtime. No torch import here."""

from __future__ import annotations

import onnxruntime

PROVIDERS = ["CPUExecutionProvider"]


def session(content: bytes | str, threads: int = 1) -> onnxruntime.InferenceSession:
    """A session of a file's content, or of its path."""
    return onnxruntime.InferenceSession(content, session_options(threads), providers=PROVIDERS)


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Options of a session that computes with so many threads: the default is one for each core of the machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the core to others
    return options
