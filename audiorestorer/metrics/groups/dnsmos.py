"""DNSMOS P.835 and P.808 of mixture and output, through speechmos, which carries the ONNX models (Reddy et al. 2021, 2022).

A predicted mean opinion score from 1 to 5 that needs no reference: of the speech (SIG), the background (BAK) and both (OVRL). The
networks were trained on noisy speech, not on music under speech: read them beside the others, not alone.
"""

from __future__ import annotations

from importlib import metadata, util
from typing import Any

import numpy as np

from audiorestorer.manifest import Item
from audiorestorer.metrics import Missing
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.files import Reasons, Values, mono_excerpt

SIDES = ("noisy", "output")
NEEDS_SOUND = True
RATE_HZ = 16_000
WINDOW_SEC, LONGEST_SEC = 10.0, 60.0  # of a longer file: six windows of 10 s, evenly spread
OUTPUTS = {"dnsmos_ovrl": "ovrl_mos", "dnsmos_sig": "sig_mos", "dnsmos_bak": "bak_mos", "dnsmos_p808": "p808_mos"}


def names(context: Context) -> dict[str, str]:
    return OUTPUTS


def unavailable(context: Context) -> str | None:
    return None if util.find_spec("speechmos") else "the package speechmos is not installed (make setup-extras)"


def state(context: Context) -> Any:
    return metadata.version("speechmos")


def modules(context: Context) -> tuple[str, ...]:
    return ("metrics.groups.dnsmos",)


def load(context: Context) -> Any:
    import onnxruntime
    from speechmos import dnsmos

    folder = f"{dnsmos.__file__.rsplit('/', 1)[0]}/dnsmos_models"
    model = dnsmos.DNSMOS(f"{folder}/sig_bak_ovr.onnx", f"{folder}/model_v8.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = (
        context.threads
    )  # the default is one for each core of the machine, whatever the job was given
    model.onnx_sess = onnxruntime.InferenceSession(f"{folder}/sig_bak_ovr.onnx", options)
    model.p808_onnx_sess = onnxruntime.InferenceSession(f"{folder}/model_v8.onnx", options)

    def compute(path: str, item: Item) -> tuple[Values, Reasons, dict[str, str]]:
        mono = mono_excerpt(path, RATE_HZ, WINDOW_SEC, LONGEST_SEC, item.view if item else None)
        if not np.any(mono):
            raise Missing("silent")
        size = int(WINDOW_SEC * RATE_HZ)
        parts = [mono[start : start + size] for start in range(0, max(1, len(mono) - size // 2), size)]
        scores = [model(np.clip(part, -1, 1), RATE_HZ, False) for part in parts]
        return {name: float(np.mean([score[key] for score in scores])) for name, key in OUTPUTS.items()}, {}, {}

    return compute
