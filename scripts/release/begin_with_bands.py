"""A beginning for a network over bands: the weights of another one with as many bands and other frames.

    python -m scripts.release.begin_with_bands models/pilot/pilot_sep_b.safetensors \\
        --config config/experiments/pilot_sep_c.yaml --out BEGIN

What a network does with its bands (the turns of recurrent layers) does not depend on how many bins a band has. Only the first and the
last layers do: each bin of the other network counts for the bin of this one that is nearest to it in Hz. `train --changes
'{"initial": "BEGIN"}'` goes on from there; pilot_sep_c gained 8.2 dB of SI-SDR on music after its
first 200 steps (docs/lab/quality.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.band_split import BandSplit
from audiorestorer.models.mask_config import MaskUNetConfig, band_edges
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint, save_checkpoint
from audiorestorer.training.settings import load_settings

SAME = ("bands", "band_width", "band_hidden", "rnn_hidden", "rnn_layers")
START_SCALE = 0.3  # of the first layers' weights for the turns of phase, which the other network does not see


def begun(other: MaskUNet, config: MaskUNetConfig) -> MaskUNet:
    """A network of the shape `config` with the weights of `other`, a mask network without taps.

    Raises:
        AudioRestorerError: their bands or layers differ.
    """
    differing = [name for name in SAME if getattr(other.config, name) != getattr(config, name)]
    if differing or other.config.taps or not config.bands:
        raise AudioRestorerError(f"the networks differ in {', '.join(differing) or 'taps or bands'}")
    network = MaskUNet(config)
    given, split = other.split, network.split
    assert isinstance(given, BandSplit) and isinstance(split, BandSplit)
    for name in ("turns", "norm", "widen"):
        getattr(split, name).load_state_dict(getattr(given, name).state_dict())
    with torch.no_grad():
        for band in range(config.bands):
            theirs, ours = (_hertz(each, band) for each in (other.config, config))
            distance = (theirs[:, None] - ours).abs()
            _enter(given.entries[band], split.entries[band], distance.argmin(dim=1), config.features)
            _leave(given.exits[band], split.exits[band], distance, config.outputs)
    return network.eval()


def _hertz(config: MaskUNetConfig, band: int) -> torch.Tensor:
    """Frequencies of a band's bins."""
    edges = band_edges(config.n_fft // 2, config.bands, config.sample_rate)
    return torch.arange(edges[band], edges[band + 1]) * (config.sample_rate / config.n_fft)


def _enter(given: nn.Module, layer: nn.Module, nearest: torch.Tensor, features: int) -> None:
    """The levels of each bin count as those of the other network's bins nearest to it did together."""
    assert isinstance(given, nn.Linear) and isinstance(layer, nn.Linear)
    weight, theirs = layer.weight.view(layer.out_features, -1, features), given.weight.view(given.out_features, -1, 2)
    weight[:, :, :2] = 0
    weight[:, :, 2:] *= START_SCALE
    weight[:, :, :2].index_add_(1, nearest, theirs)
    layer.bias.copy_(given.bias)


def _leave(given: nn.Module, layer: nn.Module, distance: torch.Tensor, outputs: int) -> None:
    """The mask of each bin is the mean of those of the other network's bins nearest to it, or of its own nearest one."""
    assert isinstance(given, nn.Linear) and isinstance(layer, nn.Linear)
    share = torch.zeros_like(distance).scatter_(1, distance.argmin(dim=1, keepdim=True), 1.0).T
    lonely = share.sum(dim=1) == 0
    share[lonely, distance.argmin(dim=0)[lonely]] = 1.0
    share /= share.sum(dim=1, keepdim=True)
    layer.weight.view(-1, outputs, layer.in_features)[:, 0] = share @ given.weight
    layer.bias.view(-1, outputs)[:, 0] = share @ given.bias


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="checkpoint of the other network")
    parser.add_argument("--config", type=Path, required=True, help="experiment file of the network that begins")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    args = parser.parse_args()
    settings = load_settings(args.config)
    torch.manual_seed(settings.seed)
    other, _ = load_checkpoint(args.other)
    network = begun(other, MaskUNetConfig(**settings.network.model_dump()))
    save_checkpoint(args.out, network, settings.task, {"begins_with": args.other.name}, storage="float32")


if __name__ == "__main__":
    main()
