"""Figures of the report, as PNG bytes: spectrograms of an item's versions, SI-SDR before and after, distributions of metrics.

Matplotlib's object interface with the Agg canvas (no pyplot state), a palette of 128 colours and no metadata: small files, equal bytes
for equal input.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from audiorestorer.audio import Audio
from audiorestorer.dsp.views import turned, view_of
from audiorestorer.report.metricinfo import get_number, items_ok, snr_of

DPI = 110
PALETTE_COLOURS = 128
COLOUR_MAP = "magma"  # even in lightness: told apart with any colour vision, and in grey
# steps of the colour map: the first number that keeps the file small enough is taken
MAP_STEPS = (72, 40, 24, 16)
MAX_BYTES = 110_000
RANGE_DB = 80.0  # the colour scale ends this far below the loudest bin of all versions
WINDOW_SEC = 0.032
MAX_FRAMES = 600
MAX_POINTS = 400  # drawn per group; medians and quartiles are over all files
# Okabe and Ito's vermilion and blue: told apart with any colour vision
BEFORE, AFTER, INK = "#D55E00", "#0072B2", "#222222"
VERSION_COLOURS = {"before": BEFORE, "after": AFTER, "clean": "#009E73"}
SNR_STYLES = (
    ("#0072B2", "o"),
    ("#E69F00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#56B4E9", "v"),
    ("#222222", "x"),
)


def png_bytes(figure: Figure) -> bytes:
    """A figure as palette PNG without metadata; the palette is the picture's own colours."""
    return _as_png(drawn(figure))


def drawn(figure: Figure) -> Image.Image:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _as_png(picture: Image.Image, palette: Image.Image | None = None) -> bytes:
    if palette is None:
        picture = picture.quantize(PALETTE_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    else:
        picture = picture.quantize(palette=palette, dither=Image.Dither.NONE)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def spectrogram_palette(steps: int, colour_map: str = COLOUR_MAP) -> Image.Image:
    """Steps of a colour map, greys and the versions' colours paled by degrees: few colours, no banding."""
    white = np.ones(3)
    levels = colormaps[colour_map](np.linspace(0, 1, steps))[:, :3]
    greys = np.linspace(0, 1, 16)[:, None] * white
    pale = [np.array(to_rgb(c)) * (1 - a) + white * a for c in VERSION_COLOURS.values() for a in np.linspace(0, 0.9, 8)]
    colours = np.round(np.concatenate([levels, greys, pale]) * 255).astype(np.uint8)
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours.tobytes())
    return palette


def level_db(audio: Audio, sample_rate: int) -> tuple[NDArray[np.float64], float]:
    """STFT level of the channels as one signal.

    Args:
        audio: `[C, T]`.

    Returns:
        `[F, N]` dB (0 dB: a full-scale sine), and the hop in seconds.
    """
    n_fft = 1 << int(np.ceil(np.log2(max(64, WINDOW_SEC * sample_rate))))
    mono = turned(audio, view_of([audio])).mean(axis=0, dtype=np.float64) if audio.shape[1] else np.zeros(n_fft)
    hop = max(n_fft // 4, -(-len(mono) // MAX_FRAMES))
    padded = np.pad(mono, (n_fft // 2, n_fft // 2))
    window = np.hanning(n_fft)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    spectrum = np.abs(np.fft.rfft(frames * window, axis=1)).T / (window.sum() / 2)
    return 20 * np.log10(spectrum + 1e-9), hop / sample_rate


def spectrograms(versions: Mapping[str, tuple[Audio, int]]) -> bytes:
    """Waveform over spectrogram for each version, side by side, all on one time, frequency and dB scale.

    Args:
        versions: name (`before`, `after`, `clean`) -> (`[C, T]`, sample rate), in drawing order; at least one.
    """
    levels = {name: level_db(*version) for name, version in versions.items()}
    top = max(float(level.max()) for level, _ in levels.values())
    top = 5.0 * np.ceil(max(top, -100.0) / 5.0)
    seconds = max(audio.shape[1] / rate for audio, rate in versions.values())
    nyquist_khz = max(rate for _, rate in versions.values()) / 2000
    peak = max([float(np.abs(audio).max(initial=0.0)) for audio, _ in versions.values()] + [1e-3]) * 1.05
    figure = Figure(figsize=(3.3 * len(versions) + 0.9, 3.7), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(2, len(versions), height_ratios=(1, 2.6))
    picture = None
    spectra: list[Axes] = []
    for column, (name, (audio, rate)) in enumerate(versions.items()):
        wave = figure.add_subplot(grid[0, column])
        _draw_wave(wave, audio, rate, VERSION_COLOURS.get(name, INK))
        wave.set(title=name, xlim=(0, seconds), ylim=(-peak, peak))
        axis = figure.add_subplot(grid[1, column])
        level, _ = levels[name]
        picture = axis.imshow(
            level, origin="lower", aspect="auto", cmap=COLOUR_MAP, vmin=top - RANGE_DB, vmax=top,
            extent=(0, max(1, audio.shape[1]) / rate, 0, rate / 2000), interpolation="nearest",
        )  # fmt: skip
        axis.set(xlabel="time (s)", xlim=(0, seconds), ylim=(0, nyquist_khz), facecolor="black")
        if column:
            wave.tick_params(labelleft=False)
            axis.tick_params(labelleft=False)
        else:
            wave.set_ylabel("amplitude")
            axis.set_ylabel("frequency (kHz)")
        wave.tick_params(labelbottom=False)
        spectra.append(axis)
    assert picture is not None
    figure.colorbar(picture, ax=spectra, label="level (dB)", pad=0.01, fraction=0.05)
    return bounded_png(figure, COLOUR_MAP, MAX_BYTES)


def bounded_png(figure: Figure, colour_map: str, max_bytes: int) -> bytes:
    """The figure with as many steps of the colour map as `max_bytes` allows (the fewest, where none does)."""
    data, picture = b"", drawn(figure)
    for steps in MAP_STEPS:
        data = _as_png(picture, spectrogram_palette(steps, colour_map))
        if len(data) <= max_bytes:
            break
    return data


def _draw_wave(axis: Axes, audio: Audio, rate: int, colour: str) -> None:
    """The envelope (lowest and highest sample of each pixel) of the channels as one signal."""
    mono = turned(audio, view_of([audio])).mean(axis=0)
    columns = min(600, len(mono))
    if columns:
        edges = np.linspace(0, len(mono), columns, endpoint=False).astype(int)
        low, high = np.minimum.reduceat(mono, edges), np.maximum.reduceat(mono, edges)
        axis.fill_between(edges / rate, low, high, color=colour, linewidth=0.4, step="post")
    axis.grid(alpha=0.3)


def overview(metrics: Mapping[str, Any]) -> bytes:
    """SI-SDR of each file before and after (points above the diagonal got better) and the improvement at each input SNR."""
    groups = _by_snr(items_ok(metrics))
    figure = Figure(figsize=(9.6, 4.3), dpi=DPI, layout="constrained")
    if not groups:
        say(figure.add_subplot(), "no file has an SI-SDR: it is measured against a clean reference")
        return png_bytes(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    low = min(min(before.min(), after.min()) for before, after in groups.values()) - 2
    high = max(max(before.max(), after.max()) for before, after in groups.values()) + 2
    left.plot([low, high], [low, high], color=INK, linewidth=1, linestyle="--", label="no change")
    for (name, (before, after)), (colour, marker) in zip(groups.items(), styles(len(groups)), strict=True):
        drawn = thinned(len(before))
        left.scatter(before[drawn], after[drawn], s=26, color=colour, marker=marker, alpha=0.8, label=name)
    left.set(xlabel="SI-SDR before (dB)", ylabel="SI-SDR after (dB)", xlim=(low, high), ylim=(low, high))
    left.set_title("each file: above the line is better")
    left.legend(fontsize=8, loc="lower right")
    left.grid(alpha=0.3)
    for place, ((_, (before, after)), (colour, marker)) in enumerate(
        zip(groups.items(), styles(len(groups)), strict=True)
    ):
        draw_group(right, place, after - before, colour, marker)
    right.axhline(0, color=INK, linewidth=1, linestyle="--")
    right.set_xticks(range(len(groups)), [f"{name}\nn = {len(pair[0])}" for name, pair in groups.items()])
    right.set(
        ylabel="SI-SDR improvement (dB)",
        title="box: quartiles; line and number: median",
        xlim=(-0.6, len(groups) - 0.4),
    )
    right.grid(alpha=0.3, axis="y")
    return png_bytes(figure)


def _by_snr(items: Sequence[Mapping[str, Any]]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """SI-SDR before and after by the SNR at which an item was mixed (`all files` where that is unknown)."""
    pairs: dict[float | None, list[tuple[float, float]]] = {}
    for item in items:
        before, after = get_number(item, "si_sdr_in_db"), get_number(item, "si_sdr_db")
        if before is not None and after is not None:
            pairs.setdefault(snr_of(item), []).append((before, after))
    order = sorted(pairs, key=lambda snr: (snr is None, snr or 0.0))
    if len(order) > len(SNR_STYLES):  # a batch at random SNRs: no groups to tell apart
        pairs, order = {None: [pair for snr in order for pair in pairs[snr]]}, [None]
    return {
        ("all files" if snr is None and len(order) == 1 else "other" if snr is None else f"{snr:g} dB SNR"):
        (np.array(pairs[snr])[:, 0], np.array(pairs[snr])[:, 1])
        for snr in order
    }  # fmt: skip


def styles(count: int) -> Sequence[tuple[str, str]]:
    return SNR_STYLES[:count]


def thinned(count: int) -> NDArray[np.int64]:
    """At most MAX_POINTS indices, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, MAX_POINTS)).astype(np.int64))


def draw_group(axis: Axes, place: float, values: NDArray[np.float64], colour: str, marker: str) -> None:
    """Quartile box, points beside it, and the median as a number."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    axis.use_sticky_edges = False  # a bar from 0 would end the axis there and cut the points in half
    axis.bar(place, high - low, bottom=low, width=0.36, color=colour, alpha=0.25, edgecolor=colour, zorder=2)
    axis.plot([place - 0.18, place + 0.18], [middle, middle], color=INK, linewidth=2, zorder=4)
    drawn = thinned(len(values))
    spread = np.modf(np.arange(len(drawn)) * 0.618034)[0] * 0.24 - 0.12  # golden ratio: even, and no random numbers
    axis.scatter(place + spread, values[drawn], s=14, color=colour, marker=marker, alpha=0.8, zorder=3, linewidths=0.8)
    axis.annotate(
        f"{middle:.2f}" if abs(middle) < 10 else f"{middle:.1f}", (place + 0.22, middle), fontsize=8, va="center", zorder=5,
        bbox={"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )  # fmt: skip


def say(axis: Axes, text: str) -> None:
    """Put a text in the place of a figure that has nothing to show."""
    axis.text(0.5, 0.5, text, ha="center", va="center", transform=axis.transAxes, color="#555555")
    axis.set(xticks=[], yticks=[])
