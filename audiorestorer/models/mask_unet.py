"""A small mask network: U-Net over the magnitude spectrogram with a recurrent or attention layer at its bottom, or bands.

The network sees log magnitudes that are normalised for each item, and gives one real mask per bin; the phase is the mixture's.
So the output is the mixture, filtered: it is level-invariant, keeps the length, and maps silence to silence.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_bytes_atomic
from audiorestorer.models import activity, bottleneck, torch_files, weights
from audiorestorer.models.band_split import BandSplit, band_edges

ARCHITECTURE = "mask_unet"
FORMAT_VERSION = 2
PACKED_VERSION = 3  # for files with int8 weights, which an older reader must refuse
TASKS = ("separate", "denoise")
LEVEL_EPS = 1e-8  # share of full scale: an item below -160 dBFS counts as silent
FEATURE_FLOOR = 1e-3  # relative to the item's mean magnitude
LIMITS = {
    "sample_rate": (1_000, 384_000), "n_fft": (8, 65_536), "hop_length": (1, 32_768), "frequency_fold": (1, 1_024),
    "rnn_hidden": (1, 8_192), "rnn_layers": (1, 32), "bands": (0, 512), "band_width": (1, 1_024), "band_hidden": (1, 1_024),
}  # fmt: skip
MAX_LEVELS, MAX_CHANNELS, MAX_MASK = 12, 8_192, 1_000


@dataclass(frozen=True)
class MaskUNetConfig:
    """Shape of the network.

    `frequency_fold`: number of neighbouring bins that become channels before the first convolution, and bins again after the last:
    full resolution at a fraction of the cost. `channels`: one entry per encoder level, each halving frequency; time is halved by
    `time_strides` (1 or 2 per level). No level at all leaves a recurrent network over whole frames, like Open-Unmix.
    `bottleneck`: gru, lstm, attention or none, `rnn_layers` of it, `rnn_hidden` units per direction. `mask_floor`, `mask_limit`:
    range of the mask. `bands`: 0, or the number of bands of equal width in mel that replace all that (`models/band_split.py`):
    `band_width` features per band, `rnn_layers` turns of `band_hidden` units per direction in each band and `rnn_hidden` over all.
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

    def __post_init__(self) -> None:
        self._check_bounds()
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "time_strides", tuple(self.time_strides))
        if len(self.channels) != len(self.time_strides):
            raise AudioRestorerError("channels and time_strides need one entry a level")
        if self.bottleneck not in bottleneck.KINDS:
            raise AudioRestorerError(f"bottleneck {self.bottleneck!r}: not one of {', '.join(bottleneck.KINDS)}")
        if self.bottleneck == "attention" and self.rnn_hidden * 2 % bottleneck.ATTENTION_HEADS:
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
            self.split = BandSplit(edges, config.band_width, config.band_hidden, config.rnn_hidden, config.rnn_layers)
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

    def features(self, magnitude: Tensor, frame_weights: Tensor | None = None) -> Tensor:
        """Two views of `[B, F, N]`: log magnitude relative to the item's mean, and to each bin's mean over time: `[B, 2, F, N]`.

        `frame_weights`: `[B, N]`, of the frames in both means.
        """
        share = 1.0 if frame_weights is None else frame_weights[:, None]
        mean = (magnitude * share).mean(dim=(1, 2), keepdim=True)
        silent = mean <= LEVEL_EPS
        relative = magnitude / torch.where(silent, torch.ones_like(mean), mean)
        relative = torch.where(silent, torch.zeros_like(relative), relative)
        level = torch.log(relative + FEATURE_FLOOR)
        contrast = level - (level * share).mean(dim=2, keepdim=True)
        return torch.stack([level * 0.4 + 0.8, contrast * 0.5], dim=1)

    def network(self, features: Tensor) -> Tensor:
        """Mask of features: `[B, 2, F, N] -> [B, 1, F, N]`, F = n_fft / 2 + 1 (the Nyquist bin repeats its neighbour's mask)."""
        config, bins = self.config, features.shape[2]
        logits = self.split(features[:, :, :-1])[:, None] if config.bands else self._unet(features[:, :, :-1])
        mask = config.mask_floor + (config.mask_limit - config.mask_floor) * torch.sigmoid(logits.float())
        return torch.cat([mask, mask[:, :, bins - 2 : bins - 1]], dim=2)

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

    def spectrum(self, audio: Tensor, hop_length: int | None = None) -> Tensor:
        """`[B, T]` to a complex STFT `[B, F, N]`, N = T // hop + 1 (the end is padded to whole frames)."""
        config = self.config
        hop = hop_length or config.hop_length
        rest = (-audio.shape[-1]) % hop
        audio = functional.pad(audio, (config.n_fft // 2, config.n_fft // 2 + rest))
        return torch.stft(audio, config.n_fft, hop, window=self.window, center=False, return_complex=True)

    def inverse(self, spectrum: Tensor, length: int, hop_length: int | None = None) -> Tensor:
        """The inverse of `spectrum`: `[B, F, N]` to `[B, 1, length]` (weighted overlap-add, Griffin & Lim 1984, eq. 6)."""
        config = self.config
        hop = hop_length or config.hop_length
        frames = torch.fft.irfft(spectrum, n=config.n_fft, dim=1) * self.window[:, None]
        total = (spectrum.shape[-1] - 1) * hop + config.n_fft
        size, step = (1, config.n_fft), (1, hop)
        audio = functional.fold(frames, (1, total), size, stride=step)[:, 0, 0]
        squares = (self.window**2)[None, :, None].expand(1, -1, spectrum.shape[-1])
        norm = functional.fold(squares, (1, total), size, stride=step)[:, 0, 0]
        begin = config.n_fft // 2
        return (audio / norm.clamp_min(1e-8))[:, None, begin : begin + length]

    def _features_by_activity(self, audio: Tensor, spectrum: Tensor) -> Tensor:
        config = self.config
        frames = (config.n_fft, config.hop_length, config.sample_rate)
        limited = activity.unclicked(audio, *frames)
        seen = spectrum if torch.equal(limited, audio) else self.spectrum(limited)
        return self.features(seen.abs(), activity.frame_weights(audio, *frames))

    def forward(self, mixture: Tensor) -> Tensor:
        """Speech of a mixture: `[B, 1, T] -> [B, 1, T]`. Any length, any level; one item does not depend on the others (in `eval`)."""
        return self.speech_and_mask(mixture)[0]

    def speech_and_mask(
        self, mixture: Tensor, overlap: int | None = None, floor: float = 0.0, *, by_activity: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Speech `[B, 1, T]` and the magnitude mask `[B, 1, F, N]` in [mask_floor, mask_limit], by one pass of the network.

        Args:
            overlap: frames that cover a sample when the mask is applied (n_fft / hop); more than in training smooth the
                effect of a changing mask. The network always sees the frames it was trained on; its mask is interpolated in time.
            floor: least mask.
            by_activity: take levels over active frames (`models.activity`), for recordings with a word in a long silence or a
                click. This changes nothing in a mixture that is full of sound, as training examples are.
        """
        length, config = mixture.shape[-1], self.config
        audio = mixture[:, 0].float()
        spectrum = self.spectrum(audio)
        given = self._features_by_activity(audio, spectrum) if by_activity else self.features(spectrum.abs())
        mask = self.network(given)
        if floor > 0:
            mask = mask.clamp_min(floor)
        hop = self.hop_of(overlap)
        if hop == config.hop_length:
            return self.inverse(spectrum * mask[:, 0], length), mask
        fine = self.spectrum(audio, hop)
        factor = config.hop_length // hop
        frames = functional.interpolate(
            mask[:, 0], size=(mask.shape[-1] - 1) * factor + 1, mode="linear", align_corners=True
        )
        return self.inverse(fine * frames[:, :, : fine.shape[-1]], length, hop), mask

    def hop_of(self, overlap: int | None) -> int:
        """The hop of an overlap.

        Raises:
            AudioRestorerError: not a multiple of the trained overlap that divides n_fft.
        """
        config = self.config
        trained = config.n_fft // config.hop_length
        if overlap is None:
            return config.hop_length
        if overlap < trained or overlap % trained or config.n_fft % overlap:
            raise AudioRestorerError(
                f"overlap {overlap}: must be a multiple of the trained {trained} that divides n_fft {config.n_fft}"
            )
        return config.n_fft // overlap


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
    if raw.get("architecture") != ARCHITECTURE:
        raise AudioRestorerError(f"{path}: architecture {raw.get('architecture')!r}, expected {ARCHITECTURE!r}")
    if raw.get("format_version") not in (str(FORMAT_VERSION), str(PACKED_VERSION)):
        raise AudioRestorerError(
            f"{path}: format_version {raw.get('format_version')!r}, expected {FORMAT_VERSION} or {PACKED_VERSION}"
        )
    state = weights.unpacked(state)
    if raw.get("task") not in TASKS:
        raise AudioRestorerError(f"{path}: task {raw.get('task')!r}: not one of {', '.join(TASKS)}")
    try:
        values = json.loads(raw["config"])
        unknown = set(values) - {field.name for field in fields(MaskUNetConfig)}
        if unknown:
            raise AudioRestorerError(f"unknown keys in config: {', '.join(sorted(unknown))}")
        config = MaskUNetConfig(**values)
        torch_files.check_fits(lambda: MaskUNet(config), state, str(path))
        model, card = MaskUNet(config), json.loads(raw.get("card", "{}"))
    except (KeyError, TypeError, ValueError, AudioRestorerError) as error:
        raise AudioRestorerError(f"{path}: bad config in the metadata: {error}") from error
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise AudioRestorerError(f"{path}: weights do not fit the config: {error}") from error
    metadata = {**raw, "format_version": int(raw["format_version"]), "sample_rate": model.config.sample_rate}
    return model.eval(), {**metadata, "config": values, "card": card}
