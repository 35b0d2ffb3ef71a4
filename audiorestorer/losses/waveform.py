"""Losses on waveforms `[B, 1, T]`, by name: `mr_stft`, `l1`, `si_sdr`, `stoi`. Each is a mean over the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from audiorestorer.errors import AudioRestorerError
from audiorestorer.losses.intelligibility import stoi

RESOLUTIONS = ((512, 256, 512), (1024, 512, 1024), (2048, 1024, 2048))  # n_fft, hop and window in samples
LOG_SLOPE = 5.0  # log1p(5 m): bins 14 dB below the mean still count
SI_SDR_CEILING_DB = 30.0
SILENCE_RMS = 1e-5  # of the (unit RMS) mixture: a target below it counts as silent


def si_sdr_db(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB of `[..., T]` (Le Roux et al. 2019, eq. 4; mean removed): `[...]`."""
    estimate = estimate - estimate.mean(dim=-1, keepdim=True)
    target = target - target.mean(dim=-1, keepdim=True)
    scale = (estimate * target).sum(-1, keepdim=True) / target.square().sum(-1, keepdim=True).clamp_min(1e-12)
    projection = scale * target
    error = (estimate - projection).square().sum(-1).clamp_min(1e-12)
    return 10 * torch.log10(projection.square().sum(-1).clamp_min(1e-12) / error)


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """relu(30 - SI-SDR): positive, no reward beyond 30 dB; items with a silent target do not count."""
    speaks = target.square().mean(dim=-1).sqrt() > SILENCE_RMS
    value = functional.relu(SI_SDR_CEILING_DB - si_sdr_db(estimate, target))
    return (value * speaks).sum() / speaks.sum().clamp_min(1)


def l1(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return (estimate - target).abs().mean()


def mr_stft(
    estimate: Tensor,
    target: Tensor,
    resolutions: Sequence[tuple[int, int, int]] = RESOLUTIONS,
    log_slope: float = LOG_SLOPE,
) -> Tensor:
    """Multi-resolution STFT loss (Yamamoto et al. 2020): spectral convergence + L1 of log magnitudes, mean over the resolutions.

    For signals at the scale of a mixture of RMS 1. Magnitudes are scaled so that such a signal has mean square 1 in a bin; the
    convergence's norm never falls below half of that, or one silent target would outweigh the rest of its batch.

    Args:
        resolutions: n_fft, hop and window of each, samples.
        log_slope: the logarithm is log1p(slope m): bins so much below the mean still count.
    """
    total = estimate.new_zeros(())
    both = torch.cat([estimate, target])[:, 0]
    for n_fft, hop, length in resolutions:
        window = torch.hann_window(length, device=estimate.device)
        spectrum = torch.stft(
            both, n_fft, hop, length, window=window, center=True, pad_mode="constant", return_complex=True
        )
        # complex abs has no gradient at 0: the root of the power does, with a floor
        magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-6).sqrt() / window.square().sum().sqrt()
        found, wanted = magnitude.chunk(2)
        distance = ((found - wanted).square().sum(dim=(1, 2)) + 1e-10).sqrt()  # no gradient at 0 without it
        norm = wanted.square().sum(dim=(1, 2)).sqrt().clamp_min(0.5 * found[0].numel() ** 0.5)
        total = total + (distance / norm).mean()
        total = total + (torch.log1p(log_slope * found) - torch.log1p(log_slope * wanted)).abs().mean()
    return total / len(resolutions)


LOSSES: dict[str, Callable[..., Tensor]] = {"mr_stft": mr_stft, "l1": l1, "si_sdr": si_sdr, "stoi": stoi}
RATED = ("stoi",)  # those that need to know the sample rate


def check_names(weights: Mapping[str, float]) -> None:
    """Raises AudioRestorerError for a name that is no loss."""
    for name in weights:
        if name not in LOSSES:
            raise AudioRestorerError(f"loss {name!r}: not one of {', '.join(LOSSES)}")


def weighted(
    estimate: Tensor, target: Tensor, weights: Mapping[str, float], sample_rate: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of named losses of signals at a rate, and each of them."""
    parts = {name: LOSSES[name](estimate, target, *([sample_rate] if name in RATED else [])) for name in weights}
    total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
    return total, parts
