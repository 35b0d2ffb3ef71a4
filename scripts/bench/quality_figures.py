"""The figures of one output against its reference; each that cannot be computed has its reason and is never a zero.

SI-SDR, LSD and the composite are measured at the reference's own rate, STOI and ESTOI at 10 kHz (pystoi resamples), PESQ and
DNSMOS at 16 kHz. SI-SDR is without removal of the mean. Outputs are mono: the mean of a recording's channels went in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.digest import code_digest
from audiorestorer.metrics import recognisers
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.groups import Figures
from audiorestorer.metrics.meter import WER, Meter
from audiorestorer.store import key_of, sha256_file
from scripts.bench.quality_sets import Clip, at_rate

OF_CLEAN = ("si_sdr_db", "lsd_db", "stoi", "estoi", "pesq")  # the others say more of clean speech than of the system
FIGURES = (*OF_CLEAN, "si_sdr_improvement_db", "composite", "dnsmos_ovrl", WER)


class ClipMeter:
    """Measures the outputs of a system for a clip.

    Args:
        dnsmos: measure DNSMOS too. transcripts: relative name without suffix -> what is said; None: no WER.

    Attributes:
        absent: figure -> why none of it is measured here.
        identity: all that a figure depends on beside the audio.
    """

    def __init__(self, dnsmos: bool, transcripts: Mapping[str, str] | None, threads: int) -> None:
        asked = {"dnsmos_ovrl": dnsmos, WER: transcripts is not None}
        options = {"dnsmos_ovrl": "--dnsmos", WER: "--transcripts"}
        not_asked = {name: f"not asked for ({options[name]})" for name, wanted in asked.items() if not wanted}
        self._meter = Meter(FIGURES, Context(threads=threads), not_asked)
        self.absent, self.transcripts = self._meter.absent, transcripts or {}
        code = code_digest(
            "metrics.meter", *(f"metrics.groups.{name}" for name in ("signal", "intelligibility", "pesq", "dnsmos"))
        )
        own = [sha256_file(Path(__file__).with_name(name)) for name in ("quality_figures.py", "quality_sets.py")]
        self.identity = key_of(code=code, own=own, absent=sorted(self.absent))

    def state(self, name: str) -> str:
        """All that the figures of one recording depend on beside the audio."""
        return self.identity + (self.transcripts.get(name, "") if self._meter.recogniser else "")

    def __call__(self, clip: Clip, output: Audio, alone: bool) -> Figures:
        """The figures of an output `[1, T]` at the recording's rate."""
        rate, frames = clip.reference_rate, clip.reference.shape[1]
        given, restored = (at_rate(signal, clip.rate, rate, frames) for signal in (clip.noisy, output))
        figures = self._meter(restored, clip.reference, rate, given, OF_CLEAN if alone else None)
        figures.missing |= self.absent
        if not alone and self._meter.recogniser is not None:
            text = self.transcripts.get(clip.pair.name, "")
            heard = self._meter.hear(restored, rate)
            figures.put(WER, lambda: recognisers.rate(self._meter.context, text, heard))
        return figures


def medians(rows: list[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over the rows that have it, and `n_NAME`, how many those are."""
    out: dict[str, float] = {}
    for name in sorted({name for row in rows for name in row}):
        values = [row[name] for row in rows if name in row]
        out |= {name: float(np.median(values)), f"n_{name}": len(values)}
    return out
