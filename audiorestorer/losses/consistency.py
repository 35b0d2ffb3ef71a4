"""Consistency of a restored recording whose clean side nobody knows: fewer impulses than the input, its spectral envelope, its energy.

All terms compare an output with its own input, both `[B, 1, T]` at the scale of an input of RMS 1 and at one rate, whatever it is.
Each by itself can be cheated: silence has no impulses, a low-pass has few, the identity keeps envelope and energy. Their sum cannot:
hiss may go (a band's floor is free), what stands above the floor may not.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ORDER = 32  # of the AR model whose residual shows impulses
BLOCK = 1024  # samples that share one model; it is fitted to twice as many
FLOOR = 0.01  # of the input's RMS: hiss that is always assumed, or glottal pulses over digital silence are impulses
THRESHOLD = 6.0  # residual, in robust standard deviations, from which on a sample belongs to an impulse
# A voice's pulses are no clicks: they recur a hundred times a second, so that 2.5 times this quantile is no impulse, and they are not
# alone: neither is 12 times the mean over 129 samples. Clean speech so has a median excess of 0.00003, with 5 clicks a second 0.0006.
OFTEN, OFTEN_SCALE = 0.97, 0.42
AROUND, AROUND_SCALE = 129, 2.0
LEAST_EXCESS = 2e-4  # mean excess of an input with next to no impulses
# What is judged: not only what stands above the threshold, or a fader at 0.8 would remove most of it, but all samples of an impulse,
# until they are no more than what is around them; and that at the output's own level
NEAR = 12  # samples on either side of one above the threshold that belong to its impulse
USUAL = (
    2.0  # in the same robust standard deviations: what the residual of a signal without impulses does not often exceed
)
LEAST_LEVEL = 0.25  # of the input's residual: hiss that goes further does not make what it hid an impulse
LEFT_OVER = 0.1  # share of the input's impulses below which nothing more is gained: some are the signal's own

N_FFT, HOP = 512, 128
BANDS = 24
FLOOR_QUANTILE, FLOOR_FRAMES = 0.1, 9  # the noise floor of a band: this quantile over frames, smoothed over so many
FLOOR_BIAS = 1.5  # a low quantile of fluctuating noise lies so much below its mean
STANDS = (2.0, 4.0)  # times its floor: a band below the first is noise and may go, one above the second counts in full
QUIET_SHARE = 0.3  # so many of the frames, those with the least impulses, always count
BAND_CUT_DB, TOTAL_CUT_DB = 12.0, 3.0  # what may go of a band, and of the whole, that nowhere stands above its floor
TOLERANCE_DB = 1.0
DROPOUT_DB, DROPOUT_FRAMES = 6.0, 8
OVER_FLOOR = 4.0  # frames below so many times the noise floor are pauses: nothing is lost there
SPAN_DB = 50.0  # below the mean band's power nothing counts
DB_PER_UNIT = 5.0


def parts(estimate: Tensor, mixture: Tensor) -> dict[str, Tensor]:
    """The terms of each item, `[B]`: `impulses` (of the identity, at any level: up to 1), `envelope` and `energy` (5 dB: 1)."""
    excess, given, ours = _impulses(estimate, mixture)
    sure = excess.mean(-1) / (excess.mean(-1) + LEAST_EXCESS)
    share = ours.sum(-1) / given.sum(-1).clamp_min(1e-6)
    impulses = sure * functional.relu(share - LEFT_OVER) / (1 - LEFT_OVER)
    before, after = _power(mixture[:, 0].detach()), _power(estimate[:, 0])
    calm = _calm(excess, before.shape[-1])
    floor = _floor(before, calm)
    envelope, energy = _kept(before, after, calm, floor)
    return {"impulses": impulses, "envelope": envelope, "energy": energy + _dropouts(before, after, calm, floor)}


def consistency(estimate: Tensor, mixture: Tensor) -> Tensor:
    """The mean over the batch of the sum of `parts`; 0 for no item."""
    if not len(mixture):
        return estimate.sum() * 0
    return torch.stack(list(parts(estimate, mixture).values())).sum(0).mean()


def residual(signal: Tensor, like: Tensor) -> Tensor:
    """The part of `signal` that AR(32) models of `like`, one per 1024 samples, do not predict; both `[B, T]`: `[B, blocks, 1024]`."""
    length = like.shape[-1]
    pad = -length % BLOCK
    around = functional.pad(like, (BLOCK // 2, BLOCK // 2 + pad)).unfold(-1, 2 * BLOCK, BLOCK)
    spectrum = torch.fft.rfft(around * torch.hann_window(2 * BLOCK, device=like.device), 4 * BLOCK)
    correlation = torch.fft.irfft(spectrum.real.square() + spectrum.imag.square())[..., : ORDER + 1] / BLOCK
    correlation = torch.cat([correlation[..., :1] + FLOOR**2, correlation[..., 1:]], -1)
    lags = (torch.arange(ORDER)[:, None] - torch.arange(ORDER)[None]).abs().to(like.device)
    predictor = torch.linalg.solve(correlation[..., lags], correlation[..., 1:])
    whitener = torch.cat([torch.ones_like(predictor[..., :1]), -predictor], -1)
    blocks = functional.pad(signal, (ORDER, pad)).unfold(-1, BLOCK + ORDER, BLOCK)
    size = 2 * BLOCK
    whitened = torch.fft.irfft(torch.fft.rfft(blocks, size) * torch.fft.rfft(whitener, size), size)
    return whitened[..., ORDER : ORDER + BLOCK]


def _impulses(estimate: Tensor, mixture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By how much the input's residual stands above its threshold, and what is left of impulses in input and output: `[B, T]` each.

    Residuals are in robust standard deviations, as log1p. Left: near the input's impulses all that exceeds the usual at the output's
    own level; elsewhere what exceeds the input's threshold, or the voice's pulses would be new impulses where hiss has hidden them.
    """
    heard = mixture[:, 0].detach()
    before, after = residual(heard, heard), residual(estimate[:, 0], heard)
    usual, now = (_usual(r.detach()) for r in (before, after))
    often = before.abs().quantile(OFTEN, dim=-1, keepdim=True) * OFTEN_SCALE
    around = functional.avg_pool1d(before.abs().flatten(1)[:, None], AROUND, 1, AROUND // 2)[:, 0] * AROUND_SCALE
    scale = torch.maximum(torch.maximum(usual, often).expand_as(before).flatten(1), around)
    own = scale * (now / usual).clamp(LEAST_LEVEL, 1).expand_as(before).flatten(1)
    excess = torch.log1p(functional.relu(before.flatten(1).abs() / scale - THRESHOLD))
    near = functional.max_pool1d((excess > 0).float()[:, None], 2 * NEAR + 1, 1, NEAR)[:, 0]
    given, left = (
        near * torch.log1p(functional.relu(r.flatten(1).abs() / level - USUAL))
        for r, level in ((before, scale), (after, own))
    )
    new = (1 - near) * torch.log1p(functional.relu(after.flatten(1).abs() / scale - THRESHOLD))
    return excess, given, left + new


def _usual(residuals: Tensor) -> Tensor:
    """Robust standard deviation of each block, `[B, blocks, 1024]` to `[B, blocks, 1]`, over a hiss that is always assumed."""
    return (residuals.abs().median(-1, keepdim=True).values / 0.6745).clamp_min(FLOOR)


def _power(signal: Tensor) -> Tensor:
    """Mean power of bands that are even on log(1 + 16 f / Nyquist): `[B, T]` to `[B, 24, N]`."""
    window = torch.hann_window(N_FFT, device=signal.device)
    spectrum = torch.stft(signal, N_FFT, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
    power = (spectrum.real.square() + spectrum.imag.square()) / window.square().sum()
    bins = power.shape[1]
    place = torch.log1p(16 * torch.arange(bins, device=signal.device) / (bins - 1)) / torch.log(torch.tensor(17.0))
    band = (place * BANDS).long().clamp_max(BANDS - 1)
    members = functional.one_hot(band, BANDS).float()
    return torch.einsum("bfn,fk->bkn", power, members / members.sum(0).clamp_min(1))


def _calm(excess: Tensor, frames: int) -> Tensor:
    """Frames without impulses, and always the calmest 30 %, as weights `[B, N]`."""
    padded = functional.pad(excess[:, None], (N_FFT // 2, N_FFT // 2 + HOP))
    most = functional.avg_pool1d(padded, N_FFT, HOP)[:, 0, :frames]
    return (most <= most.quantile(QUIET_SHARE, dim=-1, keepdim=True)).float()


def _floor(power: Tensor, calm: Tensor) -> Tensor:
    """Noise floor of each band, `[B, 24]`."""
    smooth = functional.avg_pool1d(power, FLOOR_FRAMES, 1, FLOOR_FRAMES // 2, count_include_pad=False)
    return torch.nanquantile(torch.where(calm[:, None] > 0, smooth, torch.nan), FLOOR_QUANTILE, dim=-1)


def _kept(before: Tensor, after: Tensor, calm: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """How far the output's envelope and energy leave what they may be, in units of 5 dB, `[B]` each, over calm and loud frames."""
    loud = calm * (before.sum(1) >= torch.where(calm > 0, before.sum(1), torch.nan).nanmedian(-1, True).values)
    share = (loud / loud.sum(-1, keepdim=True).clamp_min(1))[:, None]
    was, now = (before * share).sum(-1), (after * share).sum(-1)
    least = 10 ** (-SPAN_DB / 10) * was.mean(-1, keepdim=True).clamp_min(1e-12)
    stands = ((was / (floor + least) - STANDS[0]) / (STANDS[1] - STANDS[0])).clamp(0, 1)
    envelope = _outside(was, now, floor, stands, BAND_CUT_DB, least).mean(-1)
    whole, whole_now, whole_floor = (x.mean(-1) for x in (was, now, floor))
    total = _outside(whole, whole_now, whole_floor, torch.ones_like(whole), TOTAL_CUT_DB, least[:, 0])
    return envelope, total


def _outside(was: Tensor, now: Tensor, floor: Tensor, stands: Tensor, most_cut_db: float, least: Tensor) -> Tensor:
    """Level outside of [input less its floor, input], 1 dB wider on each side, in units of 5 dB; cuts count by `stands`."""
    left = 1 - FLOOR_BIAS * floor / (was + least)
    lowest = 10 * torch.log10(left.clamp_min(10 ** (-most_cut_db / 10))) - TOLERANCE_DB
    change = 10 * torch.log10((now + least) / (was + least))
    return (stands * functional.relu(lowest - change) + functional.relu(change - TOLERANCE_DB)) / DB_PER_UNIT


def _dropouts(before: Tensor, after: Tensor, calm: Tensor, floor: Tensor) -> Tensor:
    """Frames with impulses that are quieter than the signal in all calm frames around: so mutes a network its clicks. `[B]`."""
    was, now = before.mean(1), after.mean(1)
    size = 2 * DROPOUT_FRAMES + 1
    hidden = torch.where(calm > 0, was, torch.inf)
    around = -functional.max_pool1d(-hidden[:, None], size, 1, DROPOUT_FRAMES)[:, 0]
    least = 10 ** (-SPAN_DB / 10) * was.mean(-1, keepdim=True).clamp_min(1e-12)
    signal = functional.relu(torch.where(around.isfinite(), around, 0.0) - OVER_FLOOR * floor.mean(-1, keepdim=True))
    drop = 10 * torch.log10((signal + least) / (now + least))
    counted = (1 - calm) * around.isfinite()
    return (functional.relu(drop - DROPOUT_DB) * counted).sum(-1) / counted.sum(-1).clamp_min(1) / DB_PER_UNIT
