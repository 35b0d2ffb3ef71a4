"""Bands cover every bin once; the network of bands hears other bands and other frames, and refuses what it cannot be."""

import numpy as np
import pytest
import torch

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.band_split import BandSplit
from audiorestorer.models.mask_config import MaskUNetConfig, band_edges

RATE = 22050


@pytest.mark.parametrize(("bins", "bands"), [(768, 24), (512, 24), (64, 7), (8, 8), (5, 1)])
def test_bands_cover_every_bin_once(bins: int, bands: int) -> None:
    edges = band_edges(bins, bands, RATE)
    assert edges[0] == 0 and edges[-1] == bins and len(edges) == bands + 1
    assert (np.diff(edges) >= 1).all()


def test_bands_are_equally_wide_in_mel() -> None:
    hertz = np.array(band_edges(8192, 24, RATE)) * RATE / 2 / 8192
    widths = np.diff(2595 * np.log10(1 + hertz / 700))
    assert widths == pytest.approx(widths.mean(), rel=0.05)
    # 11025 Hz are 3176 mel; half of it is 700 (10^(1588/2595) - 1) Hz
    assert hertz[12] == pytest.approx(2165, rel=0.01)


def test_a_cell_s_mask_depends_on_other_bands_and_frames() -> None:
    torch.manual_seed(0)
    network = BandSplit(band_edges(64, 6, RATE), 8, 4, 6, 2)
    features = torch.randn(1, 2, 64, 30, requires_grad=True)
    network(features)[0, 40, 15].backward()
    heard = features.grad.abs().sum(dim=(0, 1)) > 0  # type: ignore[union-attr]
    assert heard.all()


def test_a_band_s_recurrent_layer_is_shared() -> None:
    few, many = (
        sum(p.numel() for p in BandSplit(band_edges(64, k, RATE), 8, 4, 6, 1).turns[0].band_cell.parameters())
        for k in (4, 16)
    )
    assert few == many


@pytest.mark.parametrize(
    "change", [{"bottleneck": "gru"}, {"channels": (4,), "time_strides": (1,)}, {"frequency_fold": 2}, {"bands": 65}]
)
def test_impossible_bands_are_refused(change: dict[str, object]) -> None:
    whole = {
        "n_fft": 128, "hop_length": 32, "frequency_fold": 1, "channels": (), "time_strides": (), "bottleneck": "lstm", "bands": 8,
    }  # fmt: skip
    MaskUNetConfig(**whole)
    with pytest.raises(AudioRestorerError, match="bands"):
        MaskUNetConfig(**{**whole, **change})
