"""Wideband PESQ (ITU-T P.862.2) of mixture and output against the reference, through the package pesq: MOS-LQO, 1.04 to 4.64."""

from __future__ import annotations

from functools import partial
from importlib import metadata, util
from typing import Any

import numpy as np
import soxr

from audiorestorer.audio import Audio
from audiorestorer.installed import how
from audiorestorer.metrics import Missing
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.examination import SILENT_PEAK
from audiorestorer.metrics.files import Source, excerpts
from audiorestorer.metrics.groups import Figures, Group, Metric
from audiorestorer.resources import Cost

RATE_HZ = 16_000
WINDOW_SEC, WINDOWS = 20.0, 3  # P.862 is made for 8 to 20 s; of a longer file: three windows, evenly spread
LEAST_SEC = 0.25
_PESQ = "wideband PESQ against the clean reference, ITU-T P.862.2, 1.04 to 4.64"


def unavailable(context: Context) -> str | None:
    if util.find_spec("pesq"):
        return None
    return f"the package pesq is not installed ({how('setup-extras', 'pesq')}; needs a C compiler)"


def state(context: Context) -> Any:
    return metadata.version("pesq")


def compute(files: Source, figures: Figures) -> None:
    """The channels are measured as one signal at 16 kHz; of a long file the mean over its windows is taken."""
    parts = {name: _at_16_khz(files, name) for name in ("clean", "noisy", "output")}
    for name, side in (("pesq_in", "noisy"), ("pesq", "output")):
        if figures.wanted(name):
            figures.put(name, partial(wideband, parts["clean"], parts[side]), side)


def _at_16_khz(files: Source, name: str) -> list[Audio]:
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

    values: list[float] = []
    reason = "no window"
    for reference, estimate in zip(references, estimates, strict=True):
        if len(reference) < LEAST_SEC * RATE_HZ:
            reason = f"shorter than {LEAST_SEC} s"
        elif min(np.ptp(reference), np.ptp(estimate)) <= 2 * SILENT_PEAK:  # PESQ matches levels: rounding would get 4.6
            reason = "silent"
        else:
            try:
                values.append(float(pesq(RATE_HZ, reference, estimate, "wb")))
            except NoUtterancesError:
                reason = "PESQ finds no speech in it"
            except PesqError as error:
                reason = f"PESQ: {error}"
    if not values:
        raise Missing(reason)
    return float(np.mean(values))


GROUP = Group(
    metrics=(
        Metric("pesq_in", "PESQ before", "MOS-LQO", "higher", 2, _PESQ),
        Metric("pesq", "PESQ after", "MOS-LQO", "higher", 2, _PESQ),
    ),
    cost=Cost(93, channel=0.05),
    place=50,
    compute=compute,
    examined=True,
    packages=("pesq",),
    unavailable=unavailable,
    state=state,
)
