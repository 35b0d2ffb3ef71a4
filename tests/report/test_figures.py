"""Figures of one file: what the mask says of silence and gain, what the loudness axis shows, colours, text sizes, bounds."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from audiorestorer.dsp.loudness import over_time
from audiorestorer.report import figures, item_figures

RATE = 16_000
PAGE_WIDTH = 1140  # pixels for a picture on the listening page: 1180 less the padding
CSS_DPI = 96


def speech(seconds: float = 6.0) -> np.ndarray:
    """Noise in bursts of half a second, with pauses of digital silence."""
    time = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time)) * 0.05
    return (noise * (time % 1 < 0.5))[None].astype(np.float32)


def music(seconds: float = 6.0) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.05 * np.sin(2 * np.pi * 3000 * time))[None].astype(np.float32)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB (sRGB primaries, D65)."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    f = np.cbrt(np.maximum(xyz / [0.9505, 1.0, 1.089], 1e-6))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def as_deuteranope(colour: str) -> np.ndarray:
    """Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    return np.clip(matrix @ linear, 0, 1)


def test_versions_are_told_apart_by_deuteranopes_and_from_the_paper() -> None:
    seen = [lab(as_deuteranope(colour)) for colour in (*figures.VERSION_COLOURS.values(), "#FFFFFF")]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(apart) > 20  # a just noticeable difference is about 2.3


def test_the_maps_rise_in_lightness_throughout() -> None:
    from matplotlib import colormaps

    for name in (figures.COLOUR_MAP, item_figures.MASK_MAP):
        greys = colormaps[name](np.linspace(0, 1, 64))[:, :3] @ [0.2126, 0.7152, 0.0722]
        assert (np.diff(greys) > 0).all()


@pytest.mark.parametrize("gain_db", [-12.0, 0.0, 7.0])
def test_music_is_at_the_floor_and_speech_at_0_db_whatever_the_loudness_stage_did(gain_db: float) -> None:
    after = speech() * np.float32(10 ** (gain_db / 20))
    mask, hop_sec = item_figures.effective_mask_db(speech() + music(), after, RATE)
    bins = (mask.shape[0] - 1) * 2
    times = np.arange(mask.shape[1]) * hop_sec
    talk = (times % 1 > 0.1) & (times % 1 < 0.4) & (times < 5.9)
    pause = (times % 1 > 0.6) & (times % 1 < 0.9) & (times < 5.9)
    assert abs(np.median(mask[round(1000 / RATE * bins), talk])) < 0.2
    assert (mask[round(3000 / RATE * bins), pause] == -40).all()


def test_a_silent_output_is_all_removed_and_a_silent_mixture_has_no_mask() -> None:
    zeros = np.zeros_like(music())
    removed, _ = item_figures.effective_mask_db(music(), zeros, RATE)
    assert np.nanmax(removed) == -40
    for after in (zeros, music()):
        assert np.isnan(item_figures.effective_mask_db(zeros, after, RATE)[0]).all()


def loudness_axis(before: np.ndarray, after: np.ndarray, target: float | None = None):
    axis = Figure().add_subplot()
    curves = {
        (name, window): over_time(version, RATE, window)
        for name, version in (("before", before), ("after", after))
        for window in (0.4, 3.0)
    }
    item_figures.draw_loudness(axis, curves, target)
    return axis


def test_pauses_leave_the_loudness_axis_and_do_not_stretch_it() -> None:
    axis = loudness_axis(speech() + music(), speech(), -23.0)
    low, high = axis.get_ylim()
    assert high - low == pytest.approx(item_figures.LOUDNESS_RANGE_LU)
    lines = {line.get_label(): line for line in axis.get_lines()}
    assert set(lines) == {
        "before, momentary", "before, short-term", "after, momentary", "after, short-term", "target, whole file",
    }  # fmt: skip
    assert all(np.isfinite(line.get_ydata()).all() for line in lines.values())
    assert all(low < np.max(line.get_ydata()) < high for line in lines.values())


def test_a_target_above_or_no_sound_at_all() -> None:
    assert loudness_axis(music() * 0.1, music() * 0.1, -5.0).get_ylim()[1] > -5
    for length in (0, 100, 2 * RATE):
        axis = loudness_axis(*[np.zeros((1, length), np.float32)] * 2)
        assert [text.get_text() for text in axis.texts] == ["silent, or too short to measure"]


def test_details_are_bounded_and_equal() -> None:
    noise = np.random.default_rng(1).standard_normal((2, 6 * 44_100)).astype(np.float32) * 0.1
    after = noise * np.random.default_rng(2).uniform(0, 1, noise.shape).astype(np.float32)
    first = item_figures.details(noise, after, 44_100, -23.0)
    assert first == item_figures.details(noise, after, 44_100, -23.0)
    assert len(first) < 1.2 * item_figures.DETAIL_MAX_BYTES  # the worst there is: noise under noise


@pytest.mark.parametrize("drawn", ["details", "spectrograms"])
def test_text_is_at_least_8_points_as_the_page_shows_it(drawn: str, monkeypatch) -> None:
    kept: list[Figure] = []
    original = figures.drawn
    monkeypatch.setattr(figures, "drawn", lambda figure: kept.append(figure) or original(figure))
    versions = {name: (speech(), RATE) for name in ("before", "after", "clean")}
    data = (
        item_figures.details(speech() + music(), speech(), RATE, -23.0)
        if drawn == "details"
        else figures.spectrograms(versions)
    )
    width = Image.open(io.BytesIO(data)).width
    scale = min(1.0, PAGE_WIDTH / width) * figures.DPI / CSS_DPI
    sizes = [text.get_fontsize() for text in kept[0].findobj(Text) if text.get_text() and text.get_visible()]
    assert len(sizes) > 10 and min(sizes) * scale >= 8


def test_a_bar_from_zero_does_not_cut_its_points() -> None:
    axis = Figure().add_subplot()
    figures.draw_group(axis, 0, np.array([0.0, 0.0, 0.3, 0.5]), figures.AFTER, "s")
    assert axis.get_ylim()[0] < 0
