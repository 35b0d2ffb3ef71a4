"""Mel-Band RoFormer and BS-RoFormer in the form in which their weights were released: names of weights, order of axes, arithmetic.

Sources: Lu, Wang, Kong and Hung, "Music Source Separation with Band-Split RoPE Transformer", arXiv 2309.02612; Wang, Lu and Won,
"Mel-Band RoFormer for Music Source Separation", arXiv 2310.01809; Su et al., "RoFormer", arXiv 2104.09864, equation 34. The
network here has no STFT: `layout` says how it sees a spectrum.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.models.band_layout import BandLayout
from audiorestorer.models.enhancer.mel import slaney_filters
from audiorestorer.models.released import RoformerSettings

HIDDEN = 4  # features inside of a feed-forward layer, times those outside
THETA = 10_000.0  # of the rotary embedding, where no file says its frequencies


class RMSNorm(nn.Module):
    """x / max(|x|, 1e-12) times the root of the width and a learned gain, in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = float(width**0.5)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x.float(), dim=-1) * self.scale * self.gamma


class Rotary(nn.Module):
    """Turns neighbouring pairs of features by an angle that grows with the position; `freqs` are in the file, rounded as it is."""

    freqs: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("freqs", THETA ** (-torch.arange(0, width, 2) / width))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, H, N, D]`, in float32 whatever it comes in."""
        angles = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32)[:, None] * self.freqs.float()
        even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack(
            [even * angles.cos() - odd * angles.sin(), odd * angles.cos() + even * angles.sin()], dim=-1
        )
        return turned.flatten(-2).to(x.dtype)


class Attention(nn.Module):
    """Self-attention `[B, N, D]` with a gate for each head, which the normed input opens."""

    def __init__(self, dim: int, heads: int, dim_head: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = RMSNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * dim_head, bias=False)
        self.to_gates = nn.Linear(dim, heads)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, dim, bias=False))
        self.rotary_embed = Rotary(dim_head)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        query, key, value = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = functional.scaled_dot_product_attention(self.rotary_embed(query), self.rotary_embed(key), value)
        out = out * self.to_gates(x).sigmoid().transpose(1, 2)[..., None]
        return self.to_out(out.transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    """The released files number its layers 0, 1 and 4: a dropout stands at 3."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        layers = [RMSNorm(dim), nn.Linear(dim, HIDDEN * dim), nn.GELU(), nn.Identity(), nn.Linear(HIDDEN * dim, dim)]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Transformer(nn.Module):
    """Layers of attention and feed-forward, both with residuals; `closed`: a norm after them (Mel-Band)."""

    def __init__(self, settings: RoformerSettings, depth: int, *, closed: bool) -> None:
        super().__init__()
        dim = settings.dim
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(dim, settings.heads, settings.dim_head), FeedForward(dim)]) for _ in range(depth)
        )
        self.norm = RMSNorm(dim) if closed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            attention, feed_forward = layer.children()
            x = attention(x) + x
            x = feed_forward(x) + x
        return self.norm(x)


def layout(settings: RoformerSettings) -> BandLayout:
    """Bands side by side (BS), or overlapping ones that are even in mel. A bin's channels stand side by side."""
    bins, channels = settings.stft_n_fft // 2 + 1, 2 if settings.stereo else 1
    if settings.freqs_per_bands is not None:
        bins_of, indices = list(settings.freqs_per_bands), torch.arange(bins)
    else:
        assert settings.num_bands is not None, "the settings have one of both"
        covers = slaney_filters(settings.sample_rate, settings.stft_n_fft, settings.num_bands) > 0
        covers[0, 0] = covers[-1, -1] = True  # the mel filters leave out 0 Hz and the Nyquist frequency
        bins_of, indices = covers.sum(dim=1).tolist(), torch.arange(bins).expand(len(covers), -1)[covers]
    places = (indices[:, None] + bins * torch.arange(channels)).flatten()
    return BandLayout(
        places, [2 * channels * width for width in bins_of], channels, bins, mean=settings.num_bands is not None
    )


class MaskEstimator(nn.Module):
    """A band's features to its complex mask: linear layers with tanh between, the last one gated."""

    def __init__(self, dim: int, widths: list[int], hidden: int, hidden_layers: int) -> None:
        super().__init__()
        self.to_freqs = nn.ModuleList()
        for width in widths:
            layers: list[nn.Module] = []
            for inner, outer in pairwise([dim, *[hidden] * hidden_layers, 2 * width]):
                layers += [nn.Linear(inner, outer), nn.Tanh()]
            self.to_freqs.append(nn.Sequential(nn.Sequential(*layers[:-1]), nn.GLU(dim=-1)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([band(x[:, :, index]) for index, band in enumerate(self.to_freqs)], dim=-1)


class BandSplit(nn.Module):
    """Each band's numbers to its features."""

    def __init__(self, dim: int, widths: list[int]) -> None:
        super().__init__()
        self.widths = widths
        self.to_features = nn.ModuleList(nn.Sequential(RMSNorm(width), nn.Linear(width, dim)) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(self.widths, dim=-1)
        return torch.stack([band(part) for band, part in zip(self.to_features, parts, strict=True)], dim=2)


class Roformer(nn.Module):
    """The numbers `[B, T, 2 K]` of `layout` to complex masks, one for each stem: `[B, S, T, 2 K]`."""

    def __init__(self, settings: RoformerSettings, widths: list[int]) -> None:
        super().__init__()
        mel = settings.num_bands is not None
        self.skips = settings.skip_connection
        self.band_split = BandSplit(settings.dim, widths)
        depths = (settings.time_transformer_depth, settings.freq_transformer_depth)
        self.layers = nn.ModuleList(
            nn.ModuleList([Transformer(settings, depth, closed=mel) for depth in depths]) for _ in range(settings.depth)
        )
        self.final_norm = nn.Identity() if mel else RMSNorm(settings.dim)
        # the released configurations count differently: Mel-Band the hidden layers, BS all linear ones
        hidden_layers = settings.mask_estimator_depth - (0 if mel else 1)
        hidden = settings.dim * settings.mlp_expansion_factor
        self.mask_estimators = nn.ModuleList(
            MaskEstimator(settings.dim, widths, hidden, hidden_layers) for _ in range(settings.num_stems)
        )

    def forward(self, numbers: Tensor) -> Tensor:
        x = self.band_split(numbers)  # [B, T, bands, D]
        earlier: list[Tensor] = []
        for pair in self.layers:
            over_time, over_bands = pair.children()
            x = sum(earlier, start=x)
            rows, frames, bands, _ = x.shape
            x = over_time(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (rows, bands)).transpose(1, 2)
            x = over_bands(x.flatten(0, 1)).unflatten(0, (rows, frames))
            if self.skips:
                earlier.append(x)
        x = self.final_norm(x)
        return torch.stack([estimator(x) for estimator in self.mask_estimators], dim=1)
