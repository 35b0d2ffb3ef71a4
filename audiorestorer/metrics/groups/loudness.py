"""Loudness of the mixture and the output: integrated loudness in LUFS of both, true peak of the output in dBTP, by BS.1770."""

from __future__ import annotations

from functools import partial

from audiorestorer.metrics import Missing
from audiorestorer.metrics.files import Source
from audiorestorer.metrics.groups import Figures, Group, Metric
from audiorestorer.resources import Cost

_LUFS = "integrated loudness, ITU-R BS.1770"


def compute(files: Source, figures: Figures) -> None:
    """Missing where BS.1770 gives none."""
    from audiorestorer.dsp.loudness import ABSOLUTE_GATE_LUFS
    from audiorestorer.dsp.reading import Kind, Reading, reading

    without = {
        Kind.SILENT: "digital silence",
        Kind.SHORT: "shorter than 400 ms: BS.1770 gives no loudness",
        Kind.BELOW_GATE: f"quieter than the gate of {ABSOLUTE_GATE_LUFS:g} LUFS: BS.1770 gives no loudness",
    }

    def lufs(level: Reading) -> float:
        if level.standard_lufs is None:
            raise Missing(without[level.kind])
        return level.standard_lufs

    def peak(level: Reading) -> float:
        if level.true_peak_dbtp is None:
            raise Missing("digital silence")
        return level.true_peak_dbtp

    info = files.info
    before, after = (
        reading(partial(files.stream, side), info.sample_rate, info.channels) for side in ("noisy", "output")
    )
    figures.put("lufs_in", lambda: lufs(before))
    figures.put("lufs", lambda: lufs(after))
    figures.put("true_peak_dbtp", lambda: peak(after))


GROUP = Group(
    metrics=(
        Metric("lufs_in", "loudness before", "LUFS", "target", 1, _LUFS),
        Metric("lufs", "loudness after", "LUFS", "target", 1, _LUFS),
        Metric("true_peak_dbtp", "true peak after", "dBTP", "target", 1, "stays below the configured ceiling"),
    ),
    cost=Cost(172, channel=0.01),
    place=90,
    compute=compute,
)
