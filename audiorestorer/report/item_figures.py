"""Figures of one file's snippet, as PNG bytes: the effective mask, and loudness over time at the files' own levels."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from audiorestorer.audio import Audio
from audiorestorer.dsp.loudness import over_time
from audiorestorer.report.figures import DPI, INK, VERSION_COLOURS, bounded_png, level_db

MASK_FLOOR_DB = -40.0
MASK_MAP = "cividis"  # even in lightness, made for colour vision deficiencies
# within this range below the output's loudest bin the speech is taken to have passed as it was
KEPT_RANGE_DB = 10.0
# deeper below the mixture's loudest bin there is nothing to attenuate
SHOWN_RANGE_DB = 80.0
SILENT_DB = -150.0  # a bin below it is silent: the rounding of 24 bits lies above
MOMENTARY_SEC, SHORT_TERM_SEC = 0.4, 3.0  # EBU Tech 3341
# height of the loudness axis: deeper pauses leave it, else the curves of the speech would lie on each other
LOUDNESS_RANGE_LU = 36.0
NO_LOUDNESS = -200.0  # drawn for digital silence: a curve that falls out of the axis, not one that ends
DETAIL_MAX_BYTES = 80_000  # twelve on one page of the report


def effective_mask_db(before: Audio, after: Audio, sample_rate: int) -> tuple[NDArray[np.float64], float]:
    """The effect of the whole chain on each time-frequency bin: `|after| / |before|` in dB, within -40..0, NaN where nothing was.

    The broadband gain of the loudness stage is taken out first: the median ratio over the bins within 10 dB of the output's loudest,
    where the speech is taken to have passed unattenuated (on data/pilot within 0.2 dB of the gain that the stage reports).

    Args:
        before, after: `[C, T]` of one length.

    Returns:
        `[F, N]` and the hop in seconds. A silent output is at the floor throughout, a silent mixture has no mask.
    """
    mixture, hop_sec = level_db(before, sample_rate)
    output, _ = level_db(after, sample_rate)
    nothing = mixture < max(mixture.max() - SHOWN_RANGE_DB, SILENT_DB)
    if output.max() < SILENT_DB:
        mask = np.full(mixture.shape, MASK_FLOOR_DB)
    else:
        ratio = output - mixture
        kept = (output > output.max() - KEPT_RANGE_DB) & ~nothing
        gain_db = np.median(ratio[kept]) if kept.any() else 0.0
        mask = np.clip(ratio - gain_db, MASK_FLOOR_DB, 0.0)
    mask[nothing] = np.nan
    return mask, hop_sec


def details(before: Audio, after: Audio, sample_rate: int, target_lufs: float | None = None) -> bytes:
    """The effective mask over the snippet, and below it momentary and short-term loudness of before and after.

    Args:
        before, after: `[C, T]` of one length, at the levels that the files have.
        target_lufs: loudness to which the stage `loudness` brought the whole file; drawn as a line.
    """
    seconds = max(before.shape[1] / sample_rate, 1e-3)
    figure = Figure(figsize=(7.4, 5.0), dpi=DPI, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.35, 1))
    mask, _ = effective_mask_db(before, after, sample_rate)
    picture = upper.imshow(
        mask, origin="lower", aspect="auto", cmap=MASK_MAP, vmin=MASK_FLOOR_DB, vmax=0.0, interpolation="nearest",
        extent=(0, seconds, 0, sample_rate / 2000),
    )  # fmt: skip
    upper.set(ylabel="frequency (kHz)")
    upper.set_title("effective mask: what is left of each bin of the mixture (white: nothing was there)", fontsize=9.5)
    figure.colorbar(picture, ax=upper, label="gain (dB)", pad=0.01)
    curves = {
        (name, window_sec): over_time(version, sample_rate, window_sec)
        for name, version in (("before", before), ("after", after))
        for window_sec in (MOMENTARY_SEC, SHORT_TERM_SEC)
    }
    draw_loudness(lower, curves, target_lufs)
    lower.set(xlabel="time in the snippet (s)", ylabel="loudness (LUFS)", xlim=(0, seconds))
    lower.grid(alpha=0.3)
    handles, labels = lower.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=5, columnspacing=1.2)
    return bounded_png(figure, MASK_MAP, DETAIL_MAX_BYTES)


def draw_loudness(
    axis: Axes,
    curves: dict[tuple[str, float], tuple[NDArray[np.float64], NDArray[np.float64]]],
    target_lufs: float | None = None,
) -> None:
    """Loudness over time; the axis spans what is loud, and says where there is nothing.

    Args:
        curves: (`before` or `after`, window in seconds) -> times (s) of the windows' ends and levels (LUFS), as `over_time`.
    """
    for (name, window_sec), (times, levels) in curves.items():
        if len(times):
            short = window_sec == SHORT_TERM_SEC
            axis.plot(
                times, np.maximum(levels, NO_LOUDNESS), color=VERSION_COLOURS[name], linewidth=2.4 if short else 1.0,
                label=f"{name}, {'short-term' if short else 'momentary'}",
            )  # fmt: skip
    if target_lufs is not None:
        axis.axhline(target_lufs, color=INK, linewidth=1.2, linestyle=":", label="target, whole file")
    loud = [float(levels.max()) for _, levels in curves.values() if len(levels) and levels.max() > NO_LOUDNESS]
    if not loud:
        axis.text(0.5, 0.5, "silent, or too short to measure", ha="center", va="center", transform=axis.transAxes)
        axis.set_ylim(-70, 0)
        return
    top = max(loud if target_lufs is None else [*loud, target_lufs]) + 3
    axis.set_ylim(top - LOUDNESS_RANGE_LU, top)
