"""The fusion network: from a mixture and several estimates of its speech to one, better than each. NumPy alone; `fusion_net` has the
torch side.

It weighs: in each bin of an STFT the speech is a sum of the estimates and the mixture, each times a weight in 0..1. The weights come
from a network over bands (`band_split`) that sees all of them. At other rates the same frames and bins are taken in seconds and Hz;
above the band that the network was trained on, the weights are the mean of its uppermost ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import arrays, band_config, mask_graph
from audiorestorer.models.band_config import BandConfig
from audiorestorer.models.mask_arrays import inverse, spectrum
from audiorestorer.models.mask_config import FEATURE_FLOOR, LEVEL_EPS
from audiorestorer.models.onnx_run import session

ARCHITECTURE = "fusion"
FORMAT_VERSION = 1
TOP_BINS = 24  # whose mean weighs what lies above the network's band
MAX_SOURCES = 8
Network = Callable[[Audio], Audio]  # features `[B, 2 + 2 n, F, N]` -> weights `[B, n + 1, F, N]`


@dataclass(frozen=True)
class FusionConfig(BandConfig):
    """Shape of the network, and what it fuses.

    Attributes:
        sources: names of the models whose estimates it was trained on, in their order.
        mean_share: how much of the plain mean of the estimates is in the weights; the rest is the network's. Its training is at 0.
    """

    sources: tuple[str, ...] = ()
    mean_share: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "sources", tuple(self.sources))
        if not 1 <= len(self.sources) <= MAX_SOURCES or not all(isinstance(name, str) for name in self.sources):
            raise AudioRestorerError(f"sources: {self.sources!r:.80}; allowed: 1 to {MAX_SOURCES} names of models")
        if not (type(self.mean_share) in (int, float) and 0 <= self.mean_share <= 1):
            raise AudioRestorerError(f"mean_share: {self.mean_share!r:.40}; allowed: 0 to 1")

    @property
    def features(self) -> int:
        """Values per bin that the network sees."""
        return 2 + 2 * len(self.sources)

    def sizes_at(self, rate: int) -> tuple[int, int]:
        """n_fft and hop at another rate, of the same duration to within a sample."""
        overlap = self.n_fft // self.hop_length
        hop = max(1, round(self.hop_length * rate / self.sample_rate))
        return hop * overlap, hop


def features(mixture: Any, estimates: list[Any]) -> Audio:
    """What the network sees of spectra `[B, F, N]`: `[B, 2 + 2 n, F, N]`.

    The mixture's log magnitude relative to its mean, and relative to each bin's mean over time; then of each estimate its log
    magnitude and the cosine of its phase to the mixture's.
    """
    magnitude = np.abs(mixture)
    mean = magnitude.mean(axis=(1, 2), keepdims=True)
    scale = np.where(mean <= LEVEL_EPS, np.float32(0), 1 / np.maximum(mean, np.float32(LEVEL_EPS)))

    def level(size: Audio) -> Audio:
        out: Audio = np.log(size * scale + np.float32(FEATURE_FLOOR))
        return out

    first = level(magnitude)
    views = [first * np.float32(0.4) + np.float32(0.8), (first - first.mean(axis=2, keepdims=True)) * np.float32(0.5)]
    for estimate in estimates:
        size = np.abs(estimate)
        views.append(level(size) * np.float32(0.4) + np.float32(0.8))
        product = estimate.real * mixture.real + estimate.imag * mixture.imag
        views.append(product / np.maximum(size * magnitude, np.float32(1e-20)))
    return np.stack(views, axis=1).astype(np.float32, copy=False)


def fused(config: FusionConfig, network: Network, signals: Audio, rate: int) -> Audio:
    """Speech `[B, T]` of signals `[B, 1 + n, T]` at a rate: the mixture first, then the estimates in the order of `sources`."""
    n_fft, hop = config.sizes_at(rate)
    spectra = [spectrum(signals[:, place], n_fft, hop) for place in range(signals.shape[1])]
    bins = spectra[0].shape[1]
    seen = min(config.bins, bins)
    given = features(spectra[0][:, :seen], [one[:, :seen] for one in spectra[1:]])
    if seen < config.bins:  # a lower rate: silence above, as of a recording that went through such a rate
        given = np.pad(given, ((0, 0), (0, 0), (0, config.bins - seen), (0, 0)), mode="edge")
    weights = network(given)[:, :, :seen]
    if bins > seen:
        above = weights[:, :, -TOP_BINS:].mean(axis=2, keepdims=True)
        weights = np.concatenate([weights, np.repeat(above, bins - seen, axis=2)], axis=2)
    # the network's order is the estimates, then the mixture
    ordered = [*spectra[1:], spectra[0]]
    speech = sum(weights[:, place] * one for place, one in enumerate(ordered))
    return inverse(np.asarray(speech, np.complex64), n_fft, hop, signals.shape[-1])


def described(path: Path, raw: Mapping[str, str]) -> tuple[FusionConfig, dict[str, Any]]:
    """See `band_config.described`."""
    return band_config.described(path, raw, FusionConfig, ARCHITECTURE, FORMAT_VERSION)


def load(path: Path) -> tuple[FusionConfig, Network]:
    """A checkpoint as a network in ONNX Runtime, of one thread.

    Raises:
        AudioRestorerError: not such a checkpoint; names file and reason.
    """
    state, raw = arrays.read(path)
    config, _ = described(path, raw)
    run = session(_graph(config, state, str(path)))

    def network(given: Audio) -> Audio:
        logits = run.run([mask_graph.OUTPUT], {mask_graph.INPUT: given})[0]
        rows, _, frames = logits.shape
        return weights_of(logits.reshape(rows, config.bins, -1, frames).transpose(0, 2, 1, 3), config.mean_share)

    return config, network


def weights_of(logits: Audio, mean_share: float) -> Audio:
    """Weights of logits, both `[B, n + 1, F, N]`: sigmoids, drawn to the plain mean of the estimates."""
    sources = logits.shape[1] - 1
    mean = np.array([1 / sources] * sources + [0.0], np.float32)[:, None, None]
    return np.asarray((1 - mean_share) / (1 + np.exp(-logits)) + mean_share * mean, np.float32)


def _graph(config: FusionConfig, state: Mapping[str, Any], where: str) -> bytes:
    writer = mask_graph.Writer(state, where)
    outputs = len(config.sources) + 1
    logits = mask_graph.band_split(writer, config, config.bins, config.features, outputs)
    shapes = ("batch", config.features, config.bins, "frames"), ("batch", config.bins * outputs, "frames")
    return mask_graph.finished(writer, logits, ARCHITECTURE, *shapes)
