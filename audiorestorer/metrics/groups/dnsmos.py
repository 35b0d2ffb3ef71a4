"""DNSMOS P.835 and P.808 of mixture and output, with the ONNX networks of the package speechmos (`metrics.dnsmos`).

A predicted mean opinion score from 1 to 5 that needs no reference: of the speech (SIG), the background (BAK) and both (OVRL). The
networks were trained on noisy speech, not on music under speech: read them beside the others, not alone.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata, util

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.installed import how
from audiorestorer.metrics import Missing
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.files import Sound
from audiorestorer.metrics.groups import Figures, Group, Metric
from audiorestorer.resources import Cost

RATE_HZ = 16_000
WINDOW_SEC, LONGEST_SEC = 10.0, 60.0  # of a longer file: six windows of 10 s, evenly spread
OUTPUTS = {"dnsmos_ovrl": "ovrl_mos", "dnsmos_sig": "sig_mos", "dnsmos_bak": "bak_mos", "dnsmos_p808": "p808_mos"}
_DNSMOS = "predicted mean opinion score, 1 to 5; needs no reference; trained on noisy speech"


def unavailable(context: Context) -> str | None:
    return None if util.find_spec("speechmos") else f"the package speechmos is not installed ({how('setup')})"


def load(context: Context) -> Callable[[Sound, Figures], None]:
    dnsmos = scorer(context.threads)

    def compute(sound: Sound, figures: Figures) -> None:
        scores = dnsmos(sound.excerpt(RATE_HZ, WINDOW_SEC, LONGEST_SEC))
        for name in OUTPUTS:
            figures.put(name, lambda name=name: scores[name])  # type: ignore[misc]

    return compute


def scorer(threads: int) -> Callable[[Audio], dict[str, float]]:
    """The scores of a signal `[T]` at 16 kHz, the mean over windows of 10 s; of silence `Missing`."""
    from audiorestorer.metrics import dnsmos

    scores_of_window = dnsmos.scorer(threads)

    def scores_of(mono: Audio) -> dict[str, float]:
        if not np.any(mono):
            raise Missing("silent")
        scores = [scores_of_window(np.clip(part, -1, 1)) for part in even_windows(mono, int(WINDOW_SEC * RATE_HZ))]
        return {name: float(np.mean([score[key] for score in scores])) for name, key in OUTPUTS.items()}

    return scores_of


def even_windows(mono: Audio, size: int) -> list[Audio]:
    """A longer signal as windows of `size` samples from its beginning to its end; they may overlap. What is shorter the networks'
    definition repeats and hears several times, which takes as many passes."""
    count = max(1, -(-(len(mono) - size // 2) // size))
    last = max(0, len(mono) - size) if count > 1 else 0
    return [
        mono[start : start + size] for start in (round(number * last / max(1, count - 1)) for number in range(count))
    ]


GROUP = Group(
    metrics=(
        Metric("dnsmos_ovrl_in", "DNSMOS overall before", "MOS", "higher", 2, _DNSMOS),
        Metric("dnsmos_ovrl", "DNSMOS overall after", "MOS", "higher", 2, _DNSMOS),
        Metric("dnsmos_sig_in", "DNSMOS speech before", "MOS", "higher", 2, _DNSMOS),
        Metric("dnsmos_sig", "DNSMOS speech after", "MOS", "higher", 2, _DNSMOS),
        Metric("dnsmos_bak_in", "DNSMOS background before", "MOS", "higher", 2, _DNSMOS),
        Metric("dnsmos_bak", "DNSMOS background after", "MOS", "higher", 2, _DNSMOS),
        Metric("dnsmos_p808_in", "DNSMOS P.808 before", "MOS", "higher", 2, _DNSMOS),
        Metric("dnsmos_p808", "DNSMOS P.808 after", "MOS", "higher", 2, _DNSMOS),
    ),
    cost=Cost(544, channel=0.13),
    place=60,
    load=load,
    sides=("noisy", "output"),
    needs_sound=True,
    packages=("speechmos",),
    unavailable=unavailable,
    state=lambda context: metadata.version("speechmos"),
)
