"""Loudness of the mixture and the output."""

from __future__ import annotations

from audiorestorer.dsp.loudness import Level, measure
from audiorestorer.metrics import Missing
from audiorestorer.metrics.files import Files, Reasons, Values, gather

NAMES = ("lufs_in", "lufs", "true_peak_dbtp")


def compute(files: Files) -> tuple[Values, Reasons]:
    """Integrated loudness in LUFS of both, true peak of the output in dBTP."""
    values: Values = {}
    missing: Reasons = {}
    info = files.info
    levels = {name: measure(files.stream(name), info.sample_rate, info.channels) for name in ("noisy", "output")}
    gather(values, missing, "lufs_in", lambda: _lufs(levels["noisy"]))
    gather(values, missing, "lufs", lambda: _lufs(levels["output"]))
    gather(values, missing, "true_peak_dbtp", lambda: _peak(levels["output"]))
    return values, missing


def _lufs(level: Level) -> float:
    if level.lufs is None:
        raise Missing("silent, or shorter than 400 ms")
    return level.lufs


def _peak(level: Level) -> float:
    if level.true_peak_dbtp is None:
        raise Missing("digital silence")
    return level.true_peak_dbtp
