"""Bottlenecks of the mask network, which look along time: `[B, N, width] -> [B, N, width]`, residual."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.models.mask_config import ATTENTION_HEADS

POSITION_KERNEL = 15  # steps: a depthwise convolution tells near from far, so that no absolute position enters


class Recurrent(nn.Module):
    """Bidirectional recurrent layers, each with layer norm before, a projection after, and a residual path."""

    def __init__(self, kind: str, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        cell = nn.LSTM if kind == "lstm" else nn.GRU
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.cells = nn.ModuleList(cell(width, hidden, batch_first=True, bidirectional=True) for _ in range(layers))
        self.outs = nn.ModuleList(nn.Linear(2 * hidden, width) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for norm, cell, out in zip(self.norms, self.cells, self.outs, strict=True):
            x = x + out(cell(norm(x))[0])
        return x


class Attention(nn.Module):
    """Self-attention and a feed-forward layer (Vaswani et al. 2017, norm first), after a depthwise convolution along time."""

    def __init__(self, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        pad = POSITION_KERNEL // 2
        self.places = nn.ModuleList(
            nn.Conv1d(width, width, POSITION_KERNEL, padding=pad, groups=width) for _ in range(layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers))
        self.projections = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(layers))
        self.outs = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.feeds = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * hidden), nn.SiLU(), nn.Linear(2 * hidden, width)) for _ in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer, place in enumerate(self.places):
            x = x + functional.silu(place(x.transpose(1, 2)).transpose(1, 2))
            x = x + self._attend(self.norms[2 * layer](x), layer)
            x = x + self.feeds[layer](self.norms[2 * layer + 1](x))
        return x

    def _attend(self, x: Tensor, layer: int) -> Tensor:
        batch, steps, width = x.shape
        parts = self.projections[layer](x).reshape(batch, steps, 3, ATTENTION_HEADS, width // ATTENTION_HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.outs[layer](mixed.transpose(1, 2).reshape(batch, steps, width))
        return out


def build(kind: str, width: int, hidden: int, layers: int) -> nn.Module:
    """The bottleneck of a kind; `none` is the identity."""
    if kind == "none":
        return nn.Identity()
    return Attention(width, hidden, layers) if kind == "attention" else Recurrent(kind, width, hidden, layers)
