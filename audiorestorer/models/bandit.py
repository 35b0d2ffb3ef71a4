"""Bandit v2 in the form in which its weights were released: speech, music and effects of film sound.

Sources: Watcharasupat, Wu and Orife, "Remastering Divide and Remaster", arXiv 2407.07275; Watcharasupat et al., "A Generalized
Bandsplit Neural Network for Cinematic Audio Source Separation", arXiv 2309.02539. The network here has no STFT: `layout` says how it
sees a spectrum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.band_layout import BandLayout
from audiorestorer.models.released import BanditSettings

A4_HZ, A4_MIDI = 440.0, 69
PREFIX = "model."  # of the weights in a file of its training
NOT_WEIGHTS = ("loss_handler.", "stft.", "istft.")  # of a loss, and the window
LAYERS = {"0": "norm", "1": "hidden", "2": "output"}  # of `TWICE`
TWICE = ".combined."  # a mask's layers stand in the file twice, under this name and their own


def musical_bands(settings: BanditSettings) -> list[tuple[int, int]]:
    """First bin and the one after the last of each band: even in octaves from the first bin to the Nyquist frequency, overlapping."""
    rate, n_fft, count = settings.sample_rate, settings.n_fft, settings.n_bands
    bins, bin_hz = n_fft // 2 + 1, rate / n_fft
    low, high = (12 * (math.log2(hz) - math.log2(A4_HZ)) + A4_MIDI for hz in (bin_hz, rate / 2))
    centres = A4_HZ * 2.0 ** ((np.linspace(max(0, low), high, count) - A4_MIDI) / 12)
    reach = 2.0 ** (math.log2(n_fft / 2) / count)
    starts = np.floor(centres / reach / bin_hz).astype(int)
    ends = np.minimum(np.ceil(centres * reach / bin_hz).astype(int) + 1, bins)
    starts[0], ends[-1] = 0, bins
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def layout(settings: BanditSettings) -> BandLayout:
    """The bands of `musical_bands`; a band's channels stand one after the other."""
    bins, channels = settings.n_fft // 2 + 1, settings.in_channels
    bands = musical_bands(settings)
    places = [bins * channel + torch.arange(start, end) for start, end in bands for channel in range(channels)]
    widths = [2 * channels * (end - start) for start, end in bands]
    return BandLayout(torch.cat(places), widths, channels, bins, mean=False)


class _Band(nn.Module):
    """A band's numbers to its features."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.combined = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, features))

    def forward(self, x: Tensor) -> Tensor:
        return self.combined(x)


class _BandSplit(nn.Module):
    def __init__(self, widths: list[int], features: int) -> None:
        super().__init__()
        self.widths = widths
        self.norm_fc_modules = nn.ModuleList(_Band(width, features) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(self.widths, dim=-1)
        return torch.stack([band(part) for band, part in zip(self.norm_fc_modules, parts, strict=True)], dim=1)


class _Recurrent(nn.Module):
    """`[B, rows, N, D]`: a recurrent layer along N, with a residual."""

    def __init__(self, settings: BanditSettings) -> None:
        super().__init__()
        directions = 2 if settings.bidirectional else 1
        layer = {"GRU": nn.GRU, "LSTM": nn.LSTM}[settings.rnn_type]
        self.norm = nn.LayerNorm(settings.emb_dim)
        self.rnn = layer(settings.emb_dim, settings.rnn_dim, batch_first=True, bidirectional=settings.bidirectional)
        self.fc = nn.Linear(directions * settings.rnn_dim, settings.emb_dim)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.rnn(self.norm(x).flatten(0, 1))
        return self.fc(hidden).unflatten(0, x.shape[:2]) + x


class _Turns(nn.Module):
    """Over time, over bands, and so on; the released files number only every second place."""

    def __init__(self, settings: BanditSettings) -> None:
        super().__init__()
        layers = [_Recurrent(settings) for _ in range(2 * settings.n_sqm_modules)]
        self.seqband = nn.ModuleDict({str(2 * index): layer for index, layer in enumerate(layers)})

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.seqband.values():
            x = layer(x).transpose(1, 2)
        return x


class _Mask(nn.Module):
    """A band's features to its complex mask."""

    def __init__(self, settings: BanditSettings, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(settings.emb_dim)
        self.hidden = nn.Sequential(nn.Linear(settings.emb_dim, settings.mlp_dim), nn.Tanh())
        self.output = nn.Sequential(nn.Linear(settings.mlp_dim, 2 * width), nn.GLU(dim=-1))

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.hidden(self.norm(x)))


class _Masks(nn.Module):
    """A stem's masks `[B, T, 2 K]`, each bin's weighted by the file's share of the band in it."""

    def __init__(self, settings: BanditSettings, widths: list[int]) -> None:
        super().__init__()
        self.norm_mlp = nn.ModuleList(_Mask(settings, width) for width in widths)
        self.channels, self.weighted = settings.in_channels, settings.use_freq_weights
        for index, width in enumerate(widths if self.weighted else []):
            self.register_buffer(f"freq_weights/{index}", torch.ones(width // (2 * self.channels)))

    def forward(self, x: Tensor) -> Tensor:
        masks = [mask(x[:, index]) for index, mask in enumerate(self.norm_mlp)]
        if self.weighted:
            shares = [self.get_buffer(f"freq_weights/{index}") for index in range(len(masks))]
            numbers = [share.repeat(self.channels).repeat_interleave(2) for share in shares]
            masks = [mask * number for mask, number in zip(masks, numbers, strict=True)]
        return torch.cat(masks, dim=-1)


class Bandit(nn.Module):
    """The numbers `[B, T, 2 K]` of `layout` to complex masks, one for each stem: `[B, S, T, 2 K]`."""

    def __init__(self, settings: BanditSettings, widths: list[int]) -> None:
        super().__init__()
        self.band_split = _BandSplit(widths, settings.emb_dim)
        self.tf_model = _Turns(settings)
        reserved = [stem for stem in settings.stems if hasattr(nn.ModuleDict, stem) or hasattr(nn.Module(), stem)]
        if reserved:
            raise AudioRestorerError(f"stems: {', '.join(reserved)}: names that PyTorch keeps for itself")
        self.mask_estim = nn.ModuleDict({stem: _Masks(settings, widths) for stem in settings.stems})

    def forward(self, numbers: Tensor) -> Tensor:
        x = self.tf_model(self.band_split(numbers))  # [B, bands, T, D]
        return torch.stack([masks(x) for masks in self.mask_estim.values()], dim=1)


def named(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A released file's weights by the network's names: without its training's prefix, its losses, windows and repetitions.

    Raises:
        AudioRestorerError: a repetition that differs.
    """
    own = {name.removeprefix(PREFIX): value for name, value in state.items() if not name.startswith("loss_handler.")}
    own = {name: value for name, value in own.items() if not name.startswith(NOT_WEIGHTS)}
    out = {name: value for name, value in own.items() if TWICE not in name or not name.startswith("mask_estim.")}
    for name in own.keys() - out.keys():
        mask, _, place = name.partition(TWICE)
        part, _, rest = place.partition(".")
        original = f"{mask}.{LAYERS.get(part, part)}.{rest}"
        if original not in own or not torch.equal(own[original], own[name]):
            raise AudioRestorerError(
                f"weights do not fit the config: {name} differs from {original}, which is the same layer"
            )
    return out
