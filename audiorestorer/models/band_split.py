"""A mask network over bands: a recurrent layer along time within each band, shared by all bands, and a recurrent layer over whole
frames, in turns.

Bands as in Luo & Yu 2023 (Music Source Separation with Band-Split RNN); the turns of shared sub-band and full-band layers as in
Hao et al. 2021 (FullSubNet). Arrays go frames first, `[N, B, K, D]` (frames, batch, bands, features of a band): so neither layer
has to move them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.models.band_config import BandConfig
from audiorestorer.models.mask_config import band_edges

FEATURES = 2  # per bin, of a mask network (`MaskUNet.features`)


class _Turn(nn.Module):
    """Recurrence along time in each band, then over all bands; both are residual. `[N, B, K, D] -> [N, B, K, D]`."""

    def __init__(self, bands: int, width: int, band_hidden: int, hidden: int) -> None:
        super().__init__()
        self.band_norm = nn.LayerNorm(width)
        self.band_cell = nn.LSTM(width, band_hidden, bidirectional=True)
        self.band_out = nn.Linear(2 * band_hidden, width)
        self.frame_norm = nn.LayerNorm(width)
        self.squeeze = nn.Linear(bands * width, 2 * hidden)
        self.cell = nn.LSTM(2 * hidden, hidden, bidirectional=True)
        self.expand = nn.Linear(2 * hidden, bands * width)

    def forward(self, x: Tensor) -> Tensor:
        frames, batch, bands, width = x.shape
        y = self.band_norm(x).reshape(frames, batch * bands, width)
        x = x + self.band_out(self.band_cell(y)[0]).reshape(frames, batch, bands, width)
        y = functional.silu(self.squeeze(self.frame_norm(x).reshape(frames, batch, bands * width)))
        y = functional.silu(y + self.cell(y)[0])
        return x + self.expand(y).reshape(frames, batch, bands, width)


class BandSplit(nn.Module):
    """Logits of a mask. `forward`: `[B, features, F, N] -> [B, F, N]`; with several `outputs` per bin `[B, F outputs, N]`, those of a
    bin side by side."""

    def __init__(
        self, edges: list[int], width: int, band_hidden: int, hidden: int, turns: int, features: int = FEATURES, outputs: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.features = features
        self.sizes = [end - begin for begin, end in zip(edges, edges[1:], strict=False)]
        self.entries = nn.ModuleList(nn.Linear(features * size, width) for size in self.sizes)
        self.turns = nn.ModuleList(_Turn(len(self.sizes), width, band_hidden, hidden) for _ in range(turns))
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.exits = nn.ModuleList(nn.Linear(2 * width, outputs * size) for size in self.sizes)
        for layer in self.exits:
            nn.init.constant_(layer.bias, 1.0)  # type: ignore[arg-type]  # lets most through at the beginning

    def forward(self, features: Tensor) -> Tensor:
        batch, _, _, frames = features.shape
        parts = features.permute(3, 0, 2, 1).split(self.sizes, dim=2)
        entered = [
            entry(part.reshape(frames, batch, self.features * size))
            for entry, part, size in zip(self.entries, parts, self.sizes, strict=True)
        ]
        x = torch.stack(entered, dim=2)
        for turn in self.turns:
            x = turn(x)
        x = functional.silu(self.widen(self.norm(x)))
        logits = torch.cat([leave(x[:, :, band]) for band, leave in enumerate(self.exits)], dim=2)
        return logits.permute(1, 2, 0)


class BandNet(nn.Module):
    """What a network over bands has around it: its STFT and the way back."""

    window: Tensor

    def __init__(self, config: BandConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    def over_bands(self, features: int, outputs: int) -> BandSplit:
        """The network between features and logits."""
        config = self.config
        edges = band_edges(config.bins, config.bands, config.sample_rate)
        sizes = config.band_width, config.band_hidden, config.rnn_hidden, config.rnn_layers
        return BandSplit(edges, *sizes, features=features, outputs=outputs)

    def spectra(self, signals: Tensor) -> Tensor:
        """`[B, C, T]` to `[B, C, F + 1, N]`, as `mask_arrays.spectrum`."""
        batch, channels, length = signals.shape
        n_fft, hop = self.config.n_fft, self.config.hop_length
        padded = functional.pad(signals.reshape(batch * channels, length), (n_fft // 2, n_fft // 2 + -length % hop))
        out = torch.stft(padded, n_fft, hop, window=self.window, center=False, return_complex=True)
        return out.reshape(batch, channels, *out.shape[1:])

    def inverse(self, spectrum: Tensor, length: int) -> Tensor:
        """`[B, F + 1, N]` to `[B, T]`."""
        n_fft, hop = self.config.n_fft, self.config.hop_length
        frames = torch.fft.irfft(spectrum.transpose(1, 2), n=n_fft) * self.window
        total = (frames.shape[1] - 1) * hop + n_fft
        add = {"output_size": (1, total), "kernel_size": (1, n_fft), "stride": (1, hop)}
        audio = functional.fold(frames.transpose(1, 2), **add)[:, 0, 0]
        squares = self.window.square()[None, :, None].expand(1, n_fft, frames.shape[1])
        norm = functional.fold(squares, **add)[:, 0, 0]
        return (audio / norm.clamp_min(1e-8))[:, n_fft // 2 : n_fft // 2 + length]
