"""The extension network: the band that a recording of speech lacks, made from the band that it holds. NumPy alone; `extension_net`
has the torch side.

Of a recording that ends at a band limit the network (`band_split`) gives, for each bin above the limit, a magnitude and a share of
voicing. The phase comes from two carriers: the recording rectified, whose overtones follow its pitch into the missing band, and
noise. So the network learns envelopes and voicing, which a short training is enough for, and no phase.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiorestorer.audio import Audio
from audiorestorer.models import arrays, band_config, mask_graph
from audiorestorer.models.band_config import BandConfig
from audiorestorer.models.mask_arrays import inverse, spectrum
from audiorestorer.models.onnx_run import session

ARCHITECTURE = "extension"
FORMAT_VERSION = 1
FEATURES, OUTPUTS = 2, 2  # per bin: level and whether it is held; logarithm of the magnitude and logit of the voicing
LEVEL_FLOOR = 1e-3  # of magnitudes, relative to a bin of white noise at the recording's level (-60 dB)
LEVEL_SHIFT, LEVEL_SCALE = 3.5, 0.35  # bring logarithms of magnitudes to about -1 .. 2
LOG_RANGE = (-9.0, 3.0)  # of the magnitudes that are made, natural logarithm
CROSSING = 0.06  # width of the crossing below the limit, of the limit
SILENT = 1e-4  # of the recording's level (-80 dB): below it a frame is silent, and nothing is made in it
GAIN = 0.7  # of what is made (-3 dB): on the development set PESQ +0.26 for 0.5 dB of spectral distance
NOISE_FRAMES = 64  # frames whose noise is drawn together

Network = Callable[[Audio], Audio]  # features `[B, 2, F, N]` -> `[B, 2, F, N]`
Spectrum = NDArray[np.complex64]


@dataclass(frozen=True)
class ExtensionConfig(BandConfig):
    """Shape of the network."""

    sample_rate: int = 44_100
    bands: int = 32
    rnn_hidden: int = 96

    @property
    def scale(self) -> float:
        """Root of the window's energy: the magnitude of a bin of white noise of RMS 1."""
        return float(np.sqrt(3 / 8 * self.n_fft))


def share_above(config: ExtensionConfig, limits_hz: NDArray[np.float64]) -> Audio:
    """How much of each bin is made, for limits `[B]`: `[B, F, 1]`, 0 below the crossing and 1 above the limit."""
    frequency = np.arange(config.bins) * (config.sample_rate / config.n_fft)
    limit = np.asarray(limits_hz, np.float64)[:, None]
    rise = np.clip((frequency - limit * (1 - CROSSING)) / (limit * CROSSING), 0, 1)
    return np.asarray(np.sin(np.pi / 2 * rise) ** 2, np.float32)[..., None]


def features(size: Audio, share: Audio) -> Audio:
    """What the network sees of magnitudes `[B, F, N]` and shares `[B, F, 1]`: `[B, 2, F, N]`."""
    level = (np.log(size * (1 - share) + np.float32(LEVEL_FLOOR)) + np.float32(LEVEL_SHIFT)) * np.float32(LEVEL_SCALE)
    return np.stack([level, np.broadcast_to(1 - share, size.shape)], axis=1).astype(np.float32, copy=False)


def noise(config: ExtensionConfig, seed: int, first: int, frames: int) -> Spectrum:
    """Carrier of noise, magnitude 1, `[F, frames]`, from frame `first` on: it belongs to a place and not to a window."""
    blocks = range(first // NOISE_FRAMES, (first + frames - 1) // NOISE_FRAMES + 1)
    drawn = [np.random.default_rng((seed, block)).random((config.bins, NOISE_FRAMES), np.float32) for block in blocks]
    begin = first - blocks[0] * NOISE_FRAMES
    angle = np.concatenate(drawn, axis=1)[:, begin : begin + frames] * np.float32(2 * np.pi)
    return np.exp(1j * angle).astype(np.complex64)


def unit(values: Spectrum) -> Spectrum:
    """Values of magnitude 1 with their phases; 0 stays."""
    return np.asarray(values / np.maximum(np.abs(values), np.float32(1e-12)), np.complex64)


def made_above(
    config: ExtensionConfig, network: Network, audio: Audio, limits_hz: NDArray[np.float64], seeds: list[int], firsts: list[int],
    gain: float = GAIN,
) -> Audio:  # fmt: skip
    """What is added to recordings so that they hold the whole band.

    Args:
        audio: `[B, T]` at the network's rate, at a level of RMS 1 while somebody speaks.
        limits_hz: `[B]`, where their bands end.
        seeds, firsts: of each row's noise, and the frame at which the row begins in its recording.
        gain: of the magnitudes that the network gives.

    Returns:
        `[B, T]`; nothing below the crossing.
    """
    n_fft, hop, scale = config.n_fft, config.hop_length, np.float32(config.scale)
    whole = spectrum(audio, n_fft, hop)
    given = whole[:, : config.bins] / scale
    size, share = np.abs(given), share_above(config, limits_hz)
    out = network(features(size, share))
    magnitude, voicing = np.exp(np.clip(out[:, 0], *LOG_RANGE)), 1 / (1 + np.exp(-out[:, 1]))
    overtones = unit(spectrum(np.abs(audio), n_fft, hop)[:, : config.bins])
    pairs = zip(seeds, firsts, strict=True)
    breath = np.stack([noise(config, seed, first, given.shape[-1]) for seed, first in pairs])
    carrier = voicing * overtones + np.sqrt(1 - voicing**2) * breath
    level = np.sqrt(np.mean(np.square(size), axis=1, keepdims=True))
    wanted = np.float32(gain) * magnitude * np.minimum(level / np.float32(SILENT), 1)
    missing = np.sqrt(
        np.maximum(wanted**2 - size**2, 0)
    )  # of what the recording holds above its limit, nothing is taken away
    change = np.zeros_like(whole)
    change[:, : config.bins] = share * missing * carrier * scale
    return inverse(change, n_fft, hop, audio.shape[-1])


def described(path: Path, raw: Mapping[str, str]) -> tuple[ExtensionConfig, dict[str, Any]]:
    """See `band_config.described`."""
    return band_config.described(path, raw, ExtensionConfig, ARCHITECTURE, FORMAT_VERSION)


def load(path: Path, threads: int = 1) -> tuple[ExtensionConfig, Network]:
    """A checkpoint as a network in ONNX Runtime.

    Raises:
        AudioRestorerError: not such a checkpoint; names file and reason.
    """
    state, raw = arrays.read(path)
    config, _ = described(path, raw)
    writer = mask_graph.Writer(state, str(path))
    logits = mask_graph.band_split(writer, config, config.bins, FEATURES, OUTPUTS)
    shapes = ("batch", FEATURES, config.bins, "frames"), ("batch", config.bins * OUTPUTS, "frames")
    run = session(mask_graph.finished(writer, logits, ARCHITECTURE, *shapes), threads)

    def network(given: Audio) -> Audio:
        flat = run.run([mask_graph.OUTPUT], {mask_graph.INPUT: given})[0]
        rows, _, frames = flat.shape
        out: Audio = flat.reshape(rows, config.bins, OUTPUTS, frames).transpose(0, 2, 1, 3)
        return out

    return config, network
