"""`kind: mask_network`: this project's own mask networks, as separator or as denoiser. On a CPU no torch is imported.

A checkpoint works at its own rate (22.05 kHz for the pilots). The band above its Nyquist is not lost: `top_gain`, the network's mean
mask over 0.7 .. 0.95 of its Nyquist frequency, frame by frame and interpolated linearly to samples, is the gain for that band:
where there is speech near the top of the band that the network sees, there is taken to be speech just above it.

Its levels are taken over the audible part of a window (`models.activity`), so that it keeps a word that stands alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.devices import on_gpu
from audiorestorer.errors import AudioRestorerError
from audiorestorer.models import arrays, mask_graph
from audiorestorer.models.mask_arrays import Network, speech_and_mask
from audiorestorer.models.mask_config import MaskUNetConfig, described
from audiorestorer.models.onnx_run import session
from audiorestorer.separators import ModelFiles, Options, Separator, Stems, refuse_fast

TOP_BAND = (0.7, 0.95)  # of the network's Nyquist; above it anti-aliasing filters leave nothing to judge by
SEGMENT_SEC = 12.0
CONTEXT_SEC = 1.0


def top_gain(mask: Audio, length: int, hop_length: int) -> Audio:
    """Gain `[B, T]` of a mask `[B, F, N]`: its mean over the top band, interpolated (frame k is centred on sample k hop)."""
    bins = mask.shape[1] - 1
    low, high = (round(share * bins) for share in TOP_BAND)
    frames = mask[:, low:high].mean(axis=1)
    samples, centres = np.arange(length), np.arange(frames.shape[1]) * hop_length
    gain = np.stack([np.interp(samples, centres, row) for row in frames])
    return np.clip(gain, 0.0, 1.0).astype(np.float32)


class MaskNetwork(Separator):
    """A mask network. The speech is its output; `extras` holds the gain for the band above its Nyquist.

    `network`: the pass, features to mask. `overlap` and `floor`: see `mask_arrays.speech_and_mask`.
    """

    channels = 1
    segment_sec = SEGMENT_SEC
    context_sec = (CONTEXT_SEC, CONTEXT_SEC)
    edges = "cut"
    extras = ("top_gain",)
    cpu_rows = 1  # more take memory and are not quicker

    def __init__(
        self, config: MaskUNetConfig, network: Network, device: str, overlap: int | None = None, floor: float = 0.0, in_work: int = 1,
    ) -> None:  # fmt: skip
        self.in_work = in_work
        self.config, self.network, self.overlap, self.floor = config, network, overlap, floor
        self.sample_rate, self.align, self.device = config.sample_rate, config.hop_length, device

    def __call__(self, audio: Audio) -> Stems:
        """`[B, 1, T]` -> `vocals` and `top_gain`, each `[B, 1, T]`."""
        spoken, mask = speech_and_mask(self.config, self.network, audio[:, 0], self.overlap, self.floor)
        gain = top_gain(mask, audio.shape[-1], self.config.hop_length)
        return {"vocals": spoken[:, None], "top_gain": gain[:, None]}


class Checkpoint:
    """A checkpoint that was read and checked; `load` makes the network of it, for a device.

    Raises:
        AudioRestorerError: a checkpoint that cannot be used, an overlap that the network cannot have, or a floor above 0 dB.
    """

    def __init__(self, path: Path, overlap: int | None = None, floor_db: float | None = None) -> None:
        self.path = Path(path)
        self.state, raw = arrays.read(self.path)
        self.config, self.metadata = described(self.path, raw)
        self.config.hop_of(overlap)
        if floor_db is not None and not floor_db <= 0:
            raise AudioRestorerError(f"floor_db {floor_db:g}: a floor is at most 0 dB")
        self.overlap, self.floor = overlap, 0.0 if floor_db is None else 10 ** (floor_db / 20)
        self.graph = mask_graph.graph(self.config, self.state, str(self.path))

    def load(self, device: str, threads: int, *, torch: bool = False) -> MaskNetwork:
        """The network, in ONNX Runtime: a recording on each thread, which is quicker than several threads on one. On a GPU, or where
        it is asked for, in torch."""
        if torch or on_gpu(device):
            from audiorestorer.separators.runtime import torch_masks

            network, in_work = torch_masks.network(self.path, device, threads), 1
        else:
            network, in_work = _by_graph(self.config, session(self.graph)), threads
        return MaskNetwork(self.config, network, device, self.overlap, self.floor, in_work)


def _by_graph(config: MaskUNetConfig, run: Any) -> Network:
    """A pass through a session: frames are filled up to the time stride, and the Nyquist bin repeats its neighbour's values."""

    def network(features: Audio) -> Audio:
        frames = features.shape[3]
        given = np.pad(features[:, :, :-1], ((0, 0), (0, 0), (0, 0), (0, -frames % config.time_stride)))
        out: Audio = run.run([mask_graph.OUTPUT], {mask_graph.INPUT: given})[0][..., :frames]
        return np.concatenate([out, out[..., -1:, :]], axis=-2)

    return network


def load(model: ModelFiles, options: Options) -> Separator:
    """Raises AudioRestorerError: no such checkpoint, a rate other than the registry's, or a backend or precision it does not have."""
    refuse_fast(model, options, has=() if on_gpu(options.device) else ("onnxruntime",))
    checkpoint = Checkpoint(model.one(".safetensors"))
    if model.sample_rate not in (None, checkpoint.config.sample_rate):
        raise AudioRestorerError(
            f"model {model.name}: the registry says {model.sample_rate} Hz, the file {checkpoint.config.sample_rate} Hz"
        )
    return checkpoint.load(options.device, options.threads, torch=options.backend == "torch")
