"""What was done to one file's snippet, as PNG bytes: the effective mask, and loudness over time at the files' own levels."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from audiorestorer.audio import Audio
from audiorestorer.dsp.loudness import over_time
from audiorestorer.report.figures import DPI, INK, VERSION_COLOURS, level_db, png_bytes

MASK_FLOOR_DB = -40.0
MASK_MAP = "cividis"  # even in lightness, made for colour vision deficiencies
KEPT_RANGE_DB = 20.0  # below the loudest bin of the output: there the speech is taken to have passed as it was
SHOWN_RANGE_DB = 80.0  # below the loudest bin of the mixture: beneath it there is nothing to attenuate
MOMENTARY_SEC, SHORT_TERM_SEC = 0.4, 3.0  # EBU Tech 3341


def effective_mask_db(before: Audio, after: Audio, sample_rate: int) -> tuple[NDArray[np.float64], float]:
    """What the whole chain did to each time-frequency bin: `|after| / |before|` in dB, within -40..0, NaN where nothing was.

    The broadband gain of the loudness stage is taken out first: the median ratio over the bins within 20 dB of the output's loudest,
    where the speech is taken to have passed unattenuated.

    Args:
        before, after: `[C, T]` of one length.

    Returns:
        `[F, N]` and the hop in seconds.
    """
    mixture, hop_sec = level_db(before, sample_rate)
    output, _ = level_db(after, sample_rate)
    ratio = output - mixture
    loud = output > output.max() - KEPT_RANGE_DB
    mask = np.clip(ratio - np.median(ratio[loud]), MASK_FLOOR_DB, 0.0)
    mask[mixture < mixture.max() - SHOWN_RANGE_DB] = np.nan
    return mask, hop_sec


def details(before: Audio, after: Audio, sample_rate: int, target_lufs: float | None = None) -> bytes:
    """The effective mask over the snippet, and below it momentary and short-term loudness of before and after.

    Args:
        before, after: `[C, T]` of one length, at the levels that the files have.
        target_lufs: drawn as a line.
    """
    seconds = before.shape[1] / sample_rate
    figure = Figure(figsize=(7.4, 4.4), dpi=DPI, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1))
    mask, _ = effective_mask_db(before, after, sample_rate)
    picture = upper.imshow(
        mask, origin="lower", aspect="auto", cmap=MASK_MAP, vmin=MASK_FLOOR_DB, vmax=0.0, interpolation="nearest",
        extent=(0, max(seconds, 1e-3), 0, sample_rate / 2000),
    )  # fmt: skip
    upper.set(ylabel="frequency (kHz)", title="effective mask: what is left of each bin of the mixture")
    upper.title.set_fontsize(9.5)
    figure.colorbar(picture, ax=upper, label="gain (dB)", pad=0.01)
    for name, version in (("before", before), ("after", after)):
        _draw_loudness(lower, name, version, sample_rate)
    if target_lufs is not None:
        lower.axhline(target_lufs, color=INK, linewidth=1, linestyle=":", label="target (whole file)")
    lower.set(xlabel="time in the snippet (s)", ylabel="loudness (LUFS)", xlim=(0, max(seconds, 1e-3)))
    lower.grid(alpha=0.3)
    figure.legend(*lower.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=5)
    return png_bytes(figure)


def _draw_loudness(axis: Axes, name: str, version: Audio, sample_rate: int) -> None:
    colour = VERSION_COLOURS[name]
    for window_sec, width, alpha, label in (
        (MOMENTARY_SEC, 0.9, 0.55, f"{name}, momentary"),
        (SHORT_TERM_SEC, 2.2, 1.0, f"{name}, short-term"),
    ):
        times, levels = over_time(version, sample_rate, window_sec)
        if len(times):
            axis.plot(times, levels, color=colour, linewidth=width, alpha=alpha, label=label)
