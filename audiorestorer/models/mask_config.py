"""What a mask network's file says of it: the format, the shape of the network and the checks of both. No torch import here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from audiorestorer.errors import AudioRestorerError

ARCHITECTURE = "mask_unet"
FORMAT_VERSION = 2
PACKED_VERSION = 3  # for files with int8 weights, which an older reader must refuse
TASKS = ("separate", "denoise")
LEVEL_EPS = 1e-8  # share of full scale: an item below -160 dBFS counts as silent
FEATURE_FLOOR = 1e-3  # relative to the item's mean magnitude
LIMITS = {
    "sample_rate": (1_000, 384_000), "n_fft": (8, 65_536), "hop_length": (1, 32_768), "frequency_fold": (1, 1_024),
    "rnn_hidden": (1, 8_192), "rnn_layers": (1, 32), "bands": (0, 512), "band_width": (1, 1_024), "band_hidden": (1, 1_024),
    "taps": (0, 15),
}  # fmt: skip
MAX_LEVELS, MAX_CHANNELS, MAX_MASK = 12, 8_192, 1_000
Kind = Literal["gru", "lstm", "attention", "none"]  # of the layer that looks along time
KINDS: tuple[str, ...] = get_args(Kind)
ATTENTION_HEADS = 4


@dataclass(frozen=True)
class MaskUNetConfig:
    """Shape of the network.

    `frequency_fold`: number of neighbouring bins that become channels before the first convolution, and bins again after the last:
    full resolution at a fraction of the cost. `channels`: one entry per encoder level, each halving frequency; time is halved by
    `time_strides` (1 or 2 per level). No level at all leaves a recurrent network over whole frames, like Open-Unmix.
    `bottleneck`: gru, lstm, attention or none, `rnn_layers` of it, `rnn_hidden` units per direction. `mask_floor`, `mask_limit`:
    range of the mask. `bands`: 0, or the number of bands of equal width in mel that replace all that (`models/band_split.py`):
    `band_width` features per band, `rnn_layers` turns of `band_hidden` units per direction in each band and `rnn_hidden` over all.
    `taps`: 0, or the odd number of neighbouring frames that a complex filter in each bin joins, beside the mask (`mask_filter`).
    """

    sample_rate: int = 22050
    n_fft: int = 512
    hop_length: int = 128
    frequency_fold: int = 4
    channels: tuple[int, ...] = (24, 40, 64)
    time_strides: tuple[int, ...] = (1, 2, 2)
    bottleneck: str = "gru"
    rnn_hidden: int = 128
    rnn_layers: int = 2
    mask_floor: float = 0.0
    mask_limit: float = 1.0
    bands: int = 0
    band_width: int = 64
    band_hidden: int = 48
    taps: int = 0

    def __post_init__(self) -> None:
        self._check_bounds()
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "time_strides", tuple(self.time_strides))
        if len(self.channels) != len(self.time_strides):
            raise AudioRestorerError("channels and time_strides need one entry a level")
        if self.bottleneck not in KINDS:
            raise AudioRestorerError(f"bottleneck {self.bottleneck!r}: not one of {', '.join(KINDS)}")
        if self.bottleneck == "attention" and self.rnn_hidden * 2 % ATTENTION_HEADS:
            raise AudioRestorerError(
                f"rnn_hidden {self.rnn_hidden}: twice it must be a multiple of the attention's heads"
            )
        if self.n_fft % self.hop_length or self.hop_length * 2 > self.n_fft or self.n_fft // 2 % self.frequency_stride:
            raise AudioRestorerError(
                f"n_fft {self.n_fft} must be a multiple of hop_length {self.hop_length} (at least two)"
                f" and of {2 * self.frequency_stride}"
            )
        if self.bands and (self.channels or self.frequency_fold != 1 or self.bottleneck != "lstm"):
            raise AudioRestorerError("bands go with channels [], frequency_fold 1 and bottleneck lstm")
        if self.taps and (not self.bands or self.taps % 2 == 0):
            raise AudioRestorerError(f"taps {self.taps}: an odd number, and only with bands")
        if self.bands > self.n_fft // 2:
            raise AudioRestorerError(f"bands {self.bands}: n_fft {self.n_fft} has {self.n_fft // 2} bins for them")
        if not 0 <= self.mask_floor < self.mask_limit <= MAX_MASK:
            raise AudioRestorerError(f"mask_floor must lie in [0, mask_limit), mask_limit in (0, {MAX_MASK}]")

    def _check_bounds(self) -> None:
        """Check the numbers before anything is built: a checkpoint brings its own configuration."""
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise AudioRestorerError(f"{name}: {value!r:.40}; allowed: a whole number, {least} to {most}")
        for name, most in (("channels", MAX_CHANNELS), ("time_strides", 2)):
            values = getattr(self, name)
            if len(values) > MAX_LEVELS or not all(type(value) is int and 1 <= value <= most for value in values):
                raise AudioRestorerError(
                    f"{name}: {values!r:.80}; allowed: at most {MAX_LEVELS} whole numbers, 1 to {most}"
                )

    @property
    def frequency_stride(self) -> int:
        """Bins that become one at the bottom."""
        return int(self.frequency_fold * 2 ** len(self.channels))

    @property
    def time_stride(self) -> int:
        stride = 1
        for step in self.time_strides:
            stride *= step
        return stride

    @property
    def features(self) -> int:
        """Values per bin that the network sees."""
        return 4 if self.taps else 2

    @property
    def outputs(self) -> int:
        """Values per bin that the network gives: a mask, and the real and imaginary part of each tap."""
        return 1 + 2 * self.taps

    def hop_of(self, overlap: int | None) -> int:
        """The hop of an overlap, the number of frames that cover a sample (n_fft / hop); None: the trained one.

        Raises:
            AudioRestorerError: not a multiple of the trained overlap that divides n_fft, or a network with taps, whose filters are
                those of its own frames.
        """
        trained = self.n_fft // self.hop_length
        if overlap is None or overlap == trained:
            return self.hop_length
        if self.taps:
            raise AudioRestorerError(f"overlap {overlap}: a network with taps has its trained {trained} alone")
        if overlap < trained or overlap % trained or self.n_fft % overlap:
            raise AudioRestorerError(
                f"overlap {overlap}: must be a multiple of the trained {trained} that divides n_fft {self.n_fft}"
            )
        return self.n_fft // overlap


def band_edges(bins: int, bands: int, sample_rate: int) -> list[int]:
    """First bins of the bands and the end, `bands + 1` rising numbers: equal widths on the mel scale, at least one bin each.

    `bins`: from 0 Hz to half the rate (O'Shaughnessy's mel: 2595 log10(1 + f / 700)).
    """
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, bands + 1) / 2595) - 1)
    edges = np.round(hertz / (sample_rate / 2) * bins).astype(int)
    for band in range(1, bands):
        edges[band] = min(max(edges[band], edges[band - 1] + 1), bins - (bands - band))
    edges[-1] = bins
    return [int(edge) for edge in edges]


def described(path: Path, raw: Mapping[str, str]) -> tuple[MaskUNetConfig, dict[str, Any]]:
    """The network of a checkpoint's metadata, and the metadata: architecture, format_version, task, sample_rate, config, card.

    Raises:
        AudioRestorerError: another architecture, version or task, or a configuration out of bounds; names file and reason.
    """
    if raw.get("architecture") != ARCHITECTURE:
        raise AudioRestorerError(f"{path}: architecture {raw.get('architecture')!r}, expected {ARCHITECTURE!r}")
    if raw.get("format_version") not in (str(FORMAT_VERSION), str(PACKED_VERSION)):
        raise AudioRestorerError(
            f"{path}: format_version {raw.get('format_version')!r}, expected {FORMAT_VERSION} or {PACKED_VERSION}"
        )
    if raw.get("task") not in TASKS:
        raise AudioRestorerError(f"{path}: task {raw.get('task')!r}: not one of {', '.join(TASKS)}")
    try:
        values = json.loads(raw["config"])
        unknown = set(values) - {field.name for field in fields(MaskUNetConfig)}
        if unknown:
            raise AudioRestorerError(f"unknown keys in config: {', '.join(sorted(unknown))}")
        config, card = MaskUNetConfig(**values), json.loads(raw.get("card", "{}"))
    except (KeyError, TypeError, ValueError, AudioRestorerError) as error:
        raise AudioRestorerError(f"{path}: bad config in the metadata: {error}") from error
    metadata = {**raw, "format_version": int(raw["format_version"]), "sample_rate": config.sample_rate}
    return config, {**metadata, "config": values, "card": card}
