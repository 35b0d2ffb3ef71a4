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
