"""Loudness of the mixture and the output."""

from __future__ import annotations

from functools import partial

from audiorestorer.dsp.loudness import ABSOLUTE_GATE_LUFS
from audiorestorer.dsp.reading import Kind, Reading, reading
from audiorestorer.metrics import Missing
from audiorestorer.metrics.files import Files, Reasons, Values, gather

NAMES = ("lufs_in", "lufs", "true_peak_dbtp")
WITHOUT = {
    Kind.SILENT: "digital silence",
    Kind.SHORT: "shorter than 400 ms: BS.1770 gives no loudness",
    Kind.BELOW_GATE: f"quieter than the gate of {ABSOLUTE_GATE_LUFS:g} LUFS: BS.1770 gives no loudness",
}


def compute(files: Files) -> tuple[Values, Reasons]:
    """Integrated loudness in LUFS of both, true peak of the output in dBTP: by BS.1770, so missing where it gives none."""
    values: Values = {}
    missing: Reasons = {}
    info = files.info
    levels = {
        name: reading(partial(files.stream, name), info.sample_rate, info.channels) for name in ("noisy", "output")
    }
    gather(values, missing, "lufs_in", lambda: _lufs(levels["noisy"]))
    gather(values, missing, "lufs", lambda: _lufs(levels["output"]))
    gather(values, missing, "true_peak_dbtp", lambda: _peak(levels["output"]))
    return values, missing


def _lufs(level: Reading) -> float:
    if level.standard_lufs is None:
        raise Missing(WITHOUT[level.kind])
    return level.standard_lufs


def _peak(level: Reading) -> float:
    if level.true_peak_dbtp is None:
        raise Missing("digital silence")
    return level.true_peak_dbtp
