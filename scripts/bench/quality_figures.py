"""The figures of one output against its reference; each that cannot be computed has its reason and is never a zero.

SI-SDR, LSD and the composite are measured at the reference's own rate, STOI and ESTOI at 10 kHz (pystoi resamples), PESQ and
DNSMOS at 16 kHz. SI-SDR is without removal of the mean. Outputs are mono: the mean of a recording's channels went in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.digest import code_digest
from audiorestorer.metrics import recognisers
from audiorestorer.metrics.context import Context
from audiorestorer.metrics.files import Reasons, Values, gather
from audiorestorer.metrics.groups import dnsmos as group_dnsmos
from audiorestorer.metrics.groups import pesq as group_pesq
from audiorestorer.metrics.intelligibility import stoi
from audiorestorer.metrics.triads import signal_figures
from audiorestorer.store import key_of, sha256_file
from scripts.bench.quality_sets import Clip, at_rate

SIGNAL = ("si_sdr_db", "si_sdr_improvement_db", "lsd_db", "composite")
OF_CLEAN = ("si_sdr_db", "lsd_db")  # an improvement on the reference itself means nothing


class Meter:
    """Measures outputs.

    Args:
        dnsmos: measure DNSMOS too. transcripts: relative name without suffix -> what is said; None: no WER.

    Attributes:
        absent: figure -> why none of it is measured here.
        identity: all that a figure depends on beside the audio.
    """

    def __init__(self, dnsmos: bool, transcripts: Mapping[str, str] | None, threads: int) -> None:
        self._context = context = Context(threads=threads)
        reasons = {
            "pesq": group_pesq.unavailable(context),
            "dnsmos_ovrl": group_dnsmos.unavailable(context) if dnsmos else "not asked for (--dnsmos)",
            "wer": recognisers.unavailable(context) if transcripts is not None else "not asked for (--transcripts)",
        }
        self.absent = {name: reason for name, reason in reasons.items() if reason}
        self.transcripts = transcripts or {}
        self._mos: Callable[..., Any] | None = None if "dnsmos_ovrl" in self.absent else group_dnsmos.load(context)
        self._heard = None if "wer" in self.absent else recognisers.load(context, "general")
        code = code_digest("metrics.triads", "metrics.intelligibility", "metrics.groups.pesq", "metrics.groups.dnsmos")
        own = [sha256_file(Path(__file__).with_name(name)) for name in ("quality_figures.py", "quality_sets.py")]
        self.identity = key_of(code=code, own=own, absent=sorted(self.absent))

    def state(self, name: str) -> str:
        """All that the figures of one recording depend on beside the audio."""
        return self.identity + (self.transcripts.get(name, "") if self._heard else "")

    def __call__(self, clip: Clip, output: Audio, alone: bool) -> tuple[Values, Reasons]:
        """Of an output `[1, T]` at the recording's rate."""
        rate = clip.reference_rate
        frames = clip.reference.shape[1]
        given, made = (at_rate(signal, clip.rate, rate, frames) for signal in (clip.noisy, output))
        values: Values = {}
        missing: Reasons = dict(self.absent)
        found, why = signal_figures(given, made, clip.reference, rate)
        names = OF_CLEAN if alone else SIGNAL
        values |= {name: found[name] for name in names if name in found}
        missing |= {name: why[name] for name in names if name in why}
        for name, extended in (("stoi", False), ("estoi", True)):
            gather(values, missing, name, partial(stoi, made[0], clip.reference[0], rate, extended=extended))
        if "pesq" not in self.absent:
            sides = ([at_rate(signal, rate, group_pesq.RATE_HZ)[0]] for signal in (clip.reference, made))
            gather(values, missing, "pesq", partial(group_pesq.wideband, *sides))
        if not alone:  # of clean speech these say more of the recording than of the system
            self._of_models(clip, made, rate, values, missing)
        return values, missing

    def _of_models(self, clip: Clip, made: Audio, rate: int, values: Values, missing: Reasons) -> None:
        path = clip.folder / "measured.wav"
        audio.write(path, made, rate)
        if self._mos is not None:
            mos = self._mos
            gather(values, missing, "dnsmos_ovrl", lambda: mos(str(path), clip.item)[0]["dnsmos_ovrl"])
        if self._heard is not None:
            heard, text = self._heard, self.transcripts.get(clip.pair.name, "")
            rate = partial(recognisers.rate, self._context, text)
            gather(values, missing, "wer", lambda: rate(recognisers.transcribe(heard, str(path))))


def medians(rows: list[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over the rows that have it, and `n_NAME`, how many those are."""
    out: dict[str, float] = {}
    for name in sorted({name for row in rows for name in row}):
        values = [row[name] for row in rows if name in row]
        out |= {name: float(np.median(values)), f"n_{name}": len(values)}
    return out
