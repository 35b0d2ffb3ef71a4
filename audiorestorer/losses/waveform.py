"""Losses on waveforms, by name. A loss is a function `(estimate, target, sample_rate)` of `[B, 1, T]`, a mean over the batch.

To add one, write it here and add it to `LOSSES`: an experiment's section `losses` can then name it. A function here that takes an
`estimate` and is not in `LOSSES`, or one there with another signature, is an error when this module is imported.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from audiorestorer.errors import AudioRestorerError
from audiorestorer.losses.intelligibility import stoi
from audiorestorer.losses.perceptual import pesq

LOSSES_FILE = "audiorestorer/losses/waveform.py"
SIGNATURE = ["estimate", "target", "sample_rate"]
RESOLUTIONS = ((512, 256, 512), (1024, 512, 1024), (2048, 1024, 2048))  # n_fft, hop and window in samples
LOG_SLOPE = 5.0  # log1p(5 m): bins 14 dB below the mean still count
LOG_FLOOR = 1e-6  # of powers: -60 dB
BAND_LOWEST_HZ = 1000.0
SI_SDR_CEILING_DB = 30.0
SILENCE_RMS = 1e-5  # of the (unit RMS) mixture: a target below it counts as silent


def si_sdr_db(signal: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB of `[..., T]` (Le Roux et al. 2019, eq. 4; mean removed): `[...]`."""
    signal = signal - signal.mean(dim=-1, keepdim=True)
    reference = reference - reference.mean(dim=-1, keepdim=True)
    scale = (signal * reference).sum(-1, keepdim=True) / reference.square().sum(-1, keepdim=True).clamp_min(1e-12)
    projection = scale * reference
    error = (signal - projection).square().sum(-1).clamp_min(1e-12)
    return 10 * torch.log10(projection.square().sum(-1).clamp_min(1e-12) / error)


def si_sdr(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """relu(30 - SI-SDR): positive, no reward beyond 30 dB; items with a silent target do not count."""
    speaks = target.square().mean(dim=-1).sqrt() > SILENCE_RMS
    value = functional.relu(SI_SDR_CEILING_DB - si_sdr_db(estimate, target))
    return (value * speaks).sum() / speaks.sum().clamp_min(1)


def l1(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """Mean absolute error."""
    return (estimate - target).abs().mean()


def mr_stft(
    estimate: Tensor,
    target: Tensor,
    sample_rate: int,
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
        of_estimate, of_target = magnitude.chunk(2)
        distance = ((of_estimate - of_target).square().sum(dim=(1, 2)) + 1e-10).sqrt()  # no gradient at 0 without it
        norm = of_target.square().sum(dim=(1, 2)).sqrt().clamp_min(0.5 * of_estimate[0].numel() ** 0.5)
        total = total + (distance / norm).mean()
        total = total + (torch.log1p(log_slope * of_estimate) - torch.log1p(log_slope * of_target)).abs().mean()
    return total / len(resolutions)


def log_spectra(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """Multi-resolution L1 of log magnitudes down to -60 dB of a bin of white noise at RMS 1: for bands far below the loudest."""
    both = torch.cat([estimate, target])[:, 0]
    parts = []
    for n_fft, hop, length in RESOLUTIONS:
        power = _power(both, n_fft, hop, length)
        made, wanted = (0.5 * torch.log(power + LOG_FLOOR)).chunk(2)
        parts.append((made - wanted).abs().mean())
    return torch.stack(parts).mean()


def band_levels(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """L1 of the log levels of bands an eighth of an octave wide above 1 kHz, in each frame: the envelope alone."""
    n_fft, hop, length = RESOLUTIONS[1]
    power = _power(torch.cat([estimate, target])[:, 0], n_fft, hop, length)
    count = int(8 * math.log2(sample_rate / 2 / BAND_LOWEST_HZ))
    edges = [round(BAND_LOWEST_HZ * 2 ** (step / 8) / sample_rate * n_fft) for step in range(count + 1)]
    sums = functional.pad(power.cumsum(dim=1), (0, 0, 1, 0))[:, edges]
    widths = torch.tensor(edges, device=power.device).diff().clamp_min(1)[:, None]
    made, wanted = (0.5 * torch.log(sums.diff(dim=1).clamp_min(0) / widths + LOG_FLOOR)).chunk(2)
    return (made - wanted).abs().mean()


def _power(signals: Tensor, n_fft: int, hop: int, length: int) -> Tensor:
    """Power `[B, F, N]` of `[B, T]`, relative to a bin of white noise of RMS 1."""
    window = torch.hann_window(length, device=signals.device)
    spectrum = torch.stft(
        signals, n_fft, hop, length, window=window, center=True, pad_mode="constant", return_complex=True
    )
    return (spectrum.real.square() + spectrum.imag.square()) / window.square().sum()


LOSSES: dict[str, Callable[..., Tensor]] = {
    "mr_stft": mr_stft,
    "l1": l1,
    "si_sdr": si_sdr,
    "stoi": stoi,
    "pesq": pesq,
    "log_spectra": log_spectra,
    "band_levels": band_levels,
}


def known_losses(losses: dict[str, float]) -> dict[str, float]:
    """The weights of an experiment; raises ValueError: a loss that is not in `LOSSES`."""
    unknown = [name for name in losses if name not in LOSSES]
    if unknown:
        raise ValueError(f"loss {unknown[0]!r}: not one of {', '.join(LOSSES)} (LOSSES in {LOSSES_FILE})")
    return losses


def weighted(
    weights: Mapping[str, float], estimate: Tensor, target: Tensor, sample_rate: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of named losses of signals at a rate, and each of them."""
    parts = {name: LOSSES[name](estimate, target, sample_rate) for name in weights}
    total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
    return total, parts


def check_losses(losses: Mapping[str, Callable[..., Tensor]], module: Mapping[str, object]) -> None:
    """Whether the table holds every loss of this module, and nothing that cannot be called as one.

    Args:
        module: the module's names.

    Raises:
        AudioRestorerError: a loss is forgotten, or has another signature; names the file and the function.
    """
    for name, function in module.items():
        takes = list(inspect.signature(function).parameters) if inspect.isfunction(function) else []
        if takes[:1] == ["estimate"] and not name.startswith("_") and name not in losses:
            raise AudioRestorerError(f"{LOSSES_FILE}: {name} takes an estimate, as a loss does: add it to LOSSES")
    for name, function in losses.items():
        parameters = list(inspect.signature(function).parameters.values())
        names, others = [parameter.name for parameter in parameters[:3]], parameters[3:]
        if names != SIGNATURE or any(parameter.default is parameter.empty for parameter in others):
            raise AudioRestorerError(
                f"{LOSSES_FILE}: loss {name}{inspect.signature(function)} must take {', '.join(SIGNATURE)},"
                " and nothing else that has no default"
            )


check_losses(LOSSES, globals())
