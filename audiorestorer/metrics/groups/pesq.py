"""Wideband PESQ (ITU-T P.862.2) of mixture and output against the reference, through the package pesq: MOS-LQO, 1.04 to 4.64."""

from __future__ import annotations

from functools import partial
from importlib import metadata, util
from typing import Any

import numpy as np
import soxr

from audiorestorer.audio import Audio
from audiorestorer.metrics import Missing
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.examination import SILENT_PEAK
from audiorestorer.metrics.files import Files, Reasons, Values, excerpts, gather

NAMES = ("pesq_in", "pesq")
EXAMINED = True
RATE_HZ = 16_000
WINDOW_SEC, WINDOWS = 20.0, 3  # P.862 is made for 8 to 20 s; of a longer file: three windows, evenly spread
LEAST_SEC = 0.25


def unavailable(context: Context) -> str | None:
    return (
        None if util.find_spec("pesq") else "the package pesq is not installed (make setup-extras; needs a C compiler)"
    )


def state(context: Context) -> Any:
    return metadata.version("pesq")


def compute(files: Files) -> tuple[Values, Reasons]:
    """Of the channels as one signal at 16 kHz; the mean over the windows of a long file."""
    values: Values = {}
    missing: Reasons = {}
    try:
        parts = {name: _at_16_khz(files, name) for name in ("clean", "noisy", "output")}
    except Missing as reason:
        return {}, dict.fromkeys(NAMES, str(reason))
    for name, side in zip(NAMES, ("noisy", "output"), strict=True):
        gather(values, missing, name, partial(wideband, parts["clean"], parts[side]), files, side)
    return values, missing


def _at_16_khz(files: Files, name: str) -> list[Audio]:
    rate = files.info.sample_rate
    return [
        soxr.resample(part, rate, RATE_HZ)
        for part in excerpts(files.stream(name), files.info, WINDOW_SEC, WINDOWS, files.examined.view)
    ]


def wideband(references: list[Audio], estimates: list[Audio]) -> float:
    """MOS-LQO, the mean over pairs of signals `[T]` at 16 kHz.

    Raises:
        Missing: too short, silent, or no speech in any.
    """
    from pesq import NoUtterancesError, PesqError, pesq

    found: list[float] = []
    reason = "no window"
    for reference, estimate in zip(references, estimates, strict=True):
        if len(reference) < LEAST_SEC * RATE_HZ:
            reason = f"shorter than {LEAST_SEC} s"
        elif min(np.ptp(reference), np.ptp(estimate)) <= 2 * SILENT_PEAK:  # PESQ matches levels: rounding would get 4.6
            reason = "silent"
        else:
            try:
                found.append(float(pesq(RATE_HZ, reference, estimate, "wb")))
            except NoUtterancesError:
                reason = "PESQ finds no speech in it"
            except PesqError as error:
                reason = f"PESQ: {error}"
    if not found:
        raise Missing(reason)
    return float(np.mean(found))
