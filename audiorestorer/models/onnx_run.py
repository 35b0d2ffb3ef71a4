"""ONNX files on the CPU, by ONNX Runtime. No torch import here."""

from __future__ import annotations

import onnxruntime

PROVIDERS = ["CPUExecutionProvider"]


def session(content: bytes | str, threads: int = 1, *, one_length: bool = True) -> onnxruntime.InferenceSession:
    """A session of a file's content, or of its path. `one_length`: its inputs are mostly of one shape, for which memory is laid out
    in advance; of other shapes that takes twice the memory."""
    options = session_options(threads)
    options.enable_mem_pattern = one_length
    return onnxruntime.InferenceSession(content, options, providers=PROVIDERS)


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Options of a session that computes with so many threads: the default is one for each core of the machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the core to others
    return options
