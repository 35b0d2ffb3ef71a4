"""A mask network in PyTorch: for a GPU, and for comparison."""

from __future__ import annotations

from pathlib import Path

import torch

from audiorestorer.audio import Audio
from audiorestorer.devices import use_threads
from audiorestorer.models.mask_arrays import Network
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint
from audiorestorer.separators import as_numpy, as_torch


def network(path: Path, device: str, threads: int) -> Network:
    """The network of a checkpoint: `mask_arrays.Network`.

    Raises:
        AudioRestorerError: a checkpoint that cannot be used.
    """
    use_threads(threads)
    return of_model(load_checkpoint(path)[0], device)


def of_model(model: MaskUNet, device: str = "cpu") -> Network:
    """As `network`, of a model in memory."""
    model = model.eval().to(device)

    def run(features: Audio) -> Audio:
        with torch.inference_mode():
            out = as_numpy(model.network(as_torch(features, device)))
            return out if model.config.taps else out[:, 0]

    return run
