"""A small mask network: U-Net over the magnitude spectrogram with a recurrent or attention layer at its bottom, or bands.

The network sees log magnitudes that are normalised for each item, and gives one real mask per bin; the phase is the mixture's.
So the output is the mixture, filtered: it is level-invariant, keeps the length, and maps silence to silence.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_bytes_atomic
from audiorestorer.models import bottleneck, mask_filter, torch_files, weights
from audiorestorer.models.band_split import BandSplit
from audiorestorer.models.mask_config import (
    ARCHITECTURE,
    FEATURE_FLOOR,
    FORMAT_VERSION,
    LEVEL_EPS,
    PACKED_VERSION,
    TASKS,
    MaskUNetConfig,
    band_edges,
    described,
)  # fmt: skip


class _Block(nn.Module):
    """Two 3x3 convolutions with batch norm and a residual path."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.silu(self.first_norm(self.first(x)))
        return functional.silu(x + self.second_norm(self.second(x)))


class MaskUNet(nn.Module):
    """Mixture to speech by a magnitude mask. `forward`: `[B, 1, T] -> [B, 1, T]`."""

    window: Tensor

    def __init__(self, config: MaskUNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MaskUNetConfig()
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        if config.bands:
            edges = band_edges(config.n_fft // 2, config.bands, config.sample_rate)
            sizes = config.band_width, config.band_hidden, config.rnn_hidden, config.rnn_layers
            self.split = BandSplit(edges, *sizes, features=config.features, outputs=config.outputs)
            if config.taps:
                mask_filter.start(self.split, config.outputs)
        else:
            self._build_unet(config)

    def _build_unet(self, config: MaskUNetConfig) -> None:
        widths = config.channels
        self.encoder = nn.ModuleList()
        self.down = nn.ModuleList()
        inputs = 2 * config.frequency_fold
        for width, stride in zip(widths, config.time_strides, strict=True):
            self.encoder.append(_Block(inputs, width))
            self.down.append(nn.Conv2d(width, width, (2, stride), (2, stride), bias=False))
            inputs = width
        bottom_bins = config.n_fft // 2 // config.frequency_stride
        if config.bottleneck != "none":
            width = config.rnn_hidden * 2
            self.squeeze = nn.Linear(inputs * bottom_bins, width)
            self.bottleneck = bottleneck.build(config.bottleneck, width, config.rnn_hidden, config.rnn_layers)
            self.expand = nn.Linear(width, inputs * bottom_bins)
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level in reversed(range(len(widths))):
            stride = config.time_strides[level]
            self.up.append(nn.ConvTranspose2d(inputs, widths[level], (2, stride), (2, stride), bias=False))
            self.decoder.append(_Block(widths[level] * 2, widths[level]))
            inputs = widths[level]
        self.head = nn.Conv2d(inputs, config.frequency_fold, 1)
        nn.init.constant_(self.head.bias, 1.0)  # type: ignore[arg-type]

    def features(self, magnitude: Tensor) -> Tensor:
        """Two views of `[B, F, N]`: log magnitude relative to the item's mean, and to each bin's mean over time: `[B, 2, F, N]`."""
        mean = magnitude.mean(dim=(1, 2), keepdim=True)
        silent = mean <= LEVEL_EPS
        relative = magnitude / torch.where(silent, torch.ones_like(mean), mean)
        relative = torch.where(silent, torch.zeros_like(relative), relative)
        level = torch.log(relative + FEATURE_FLOOR)
        contrast = level - level.mean(dim=2, keepdim=True)
        return torch.stack([level * 0.4 + 0.8, contrast * 0.5], dim=1)

    def network(self, features: Tensor) -> Tensor:
        """Mask and taps of features: `[B, 2 or 4, F, N] -> [B, 1 + 2 taps, F, N]`, F = n_fft / 2 + 1 (the Nyquist bin repeats its
        neighbour's)."""
        config, bins = self.config, features.shape[2]
        logits = self._over_bands(features[:, :, :-1]) if config.bands else self._unet(features[:, :, :-1])
        logits = logits.float()
        mask = config.mask_floor + (config.mask_limit - config.mask_floor) * torch.sigmoid(logits[:, :1])
        out = torch.cat([mask, torch.tanh(logits[:, 1:])], dim=1) if config.taps else mask
        return torch.cat([out, out[:, :, bins - 2 : bins - 1]], dim=2)

    def _over_bands(self, features: Tensor) -> Tensor:
        """Logits: `[B, features, F, N] -> [B, outputs, F, N]`."""
        logits = self.split(features)
        return logits.unflatten(1, (-1, self.config.outputs)).transpose(1, 2)

    def _unet(self, features: Tensor) -> Tensor:
        """Logits of the mask: `[B, 2, F, N] -> [B, 1, F, N]`."""
        frames, stride = features.shape[3], self.config.time_stride
        x = functional.pad(features, (0, (stride - frames % stride) % stride))
        batch, _, height, width = x.shape
        fold = self.config.frequency_fold
        x = (
            x.reshape(batch, 2, height // fold, fold, width)
            .permute(0, 1, 3, 2, 4)
            .reshape(batch, 2 * fold, height // fold, width)
        )
        skips = []
        for block, down in zip(self.encoder, self.down, strict=True):
            x = block(x)
            skips.append(x)
            x = down(x)
        x = self._along_time(x)
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(torch.cat([up(x), skips.pop()], dim=1))
        logits = self.head(x).permute(0, 2, 1, 3).reshape(batch, 1, height, width)
        return logits[:, :, :, :frames]

    def _along_time(self, x: Tensor) -> Tensor:
        """`[B, C, F, N]` plus the bottleneck's output of it."""
        if self.config.bottleneck == "none":
            return x
        batch, depth, low, steps = x.shape
        y = x.permute(0, 3, 1, 2).reshape(batch, steps, depth * low)
        y = self.expand(functional.silu(self.bottleneck(self.squeeze(y))))
        return x + y.reshape(batch, steps, depth, low).permute(0, 2, 3, 1)

    def spectrum(self, audio: Tensor) -> Tensor:
        """`[B, T]` to a complex STFT `[B, F, N]`, N = T // hop + 1 (the end is padded to whole frames)."""
        config = self.config
        hop = config.hop_length
        rest = (-audio.shape[-1]) % hop
        audio = functional.pad(audio, (config.n_fft // 2, config.n_fft // 2 + rest))
        return torch.stft(audio, config.n_fft, hop, window=self.window, center=False, return_complex=True)

    def inverse(self, spectrum: Tensor, length: int) -> Tensor:
        """The inverse of `spectrum`: `[B, F, N]` to `[B, 1, length]` (weighted overlap-add, Griffin & Lim 1984, eq. 6)."""
        config = self.config
        hop = config.hop_length
        frames = torch.fft.irfft(spectrum, n=config.n_fft, dim=1) * self.window[:, None]
        total = (spectrum.shape[-1] - 1) * hop + config.n_fft
        size, step = (1, config.n_fft), (1, hop)
        audio = functional.fold(frames, (1, total), size, stride=step)[:, 0, 0]
        squares = (self.window**2)[None, :, None].expand(1, -1, spectrum.shape[-1])
        norm = functional.fold(squares, (1, total), size, stride=step)[:, 0, 0]
        begin = config.n_fft // 2
        return (audio / norm.clamp_min(1e-8))[:, None, begin : begin + length]

    def forward(self, mixture: Tensor) -> Tensor:
        """Speech of a mixture: `[B, 1, T] -> [B, 1, T]`. Any length, any level; one item does not depend on the others (in `eval`)."""
        return self.speech_and_mask(mixture)[0]

    def speech_and_mask(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        """Speech `[B, 1, T]` and the magnitude mask `[B, 1, F, N]` in [mask_floor, mask_limit], by one pass of the network."""
        spectrum = self.spectrum(mixture[:, 0].float())
        real, imaginary, mask = self.restored(spectrum.real, spectrum.imag, spectrum.abs())
        return self.inverse(torch.complex(real, imaginary), mixture.shape[-1]), mask

    def restored(self, real: Tensor, imaginary: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A spectrum's real and imaginary part and magnitude, each `[B, F, N]`, to those parts of the speech, and the mask
        `[B, 1, F, N]`: with taps it is the share of the magnitude that is left."""
        features = self.features(size)
        if not self.config.taps:
            mask = self.network(features)
            return real * mask[:, 0], imaginary * mask[:, 0], mask
        turned = mask_filter.turns(real, imaginary)
        out = self.network(torch.cat([features, turned], dim=1))
        speech = mask_filter.filtered(real, imaginary, out)
        left = (speech[0].square() + speech[1].square() + 1e-20).sqrt() / (size.square() + 1e-20).sqrt()
        return *speech, left.clamp(max=self.config.mask_limit)[:, None]


def save_checkpoint(
    path: str | Path, model: MaskUNet, task: str, card: dict[str, Any], *, storage: weights.Storage = "float16"
) -> None:
    """Write one safetensors file, atomically.

    Args:
        task: `separate` (speech out of music) or `denoise`.
        card: facts for a reader (data, steps, seed, figures); JSON types.
        storage: type of the weights in the file (`weights.packed`); they are loaded as float32.
    """
    if task not in TASKS:
        raise AudioRestorerError(f"task {task!r}: not one of {', '.join(TASKS)}")
    state = weights.packed(model.state_dict(), storage)
    metadata = {
        "architecture": ARCHITECTURE,
        "format_version": str(PACKED_VERSION if storage == "int8" else FORMAT_VERSION),
        "task": task,
        "sample_rate": str(model.config.sample_rate),
        "config": json.dumps(asdict(model.config), sort_keys=True),
        "card": json.dumps(card, sort_keys=True),
    }
    write_bytes_atomic(path, weights.to_bytes(state, metadata))


def load_checkpoint(path: str | Path) -> tuple[MaskUNet, dict[str, Any]]:
    """Read a checkpoint; nothing in it is executed.

    Returns:
        The model (float32, `eval`) and the metadata: architecture, format_version, task, sample_rate, config, card.

    Raises:
        AudioRestorerError: not a safetensors file, another architecture, missing or wrong weights; names file and reason.
    """
    path = Path(path)
    state, raw = weights.read(path)
    config, metadata = described(path, raw)
    try:
        torch_files.check_fits(lambda: MaskUNet(config), state, str(path))
        model = MaskUNet(config)
    except (TypeError, ValueError, AudioRestorerError) as error:
        raise AudioRestorerError(f"{path}: bad config in the metadata: {error}") from error
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise AudioRestorerError(f"{path}: weights do not fit the config: {error}") from error
    return model.eval(), metadata
