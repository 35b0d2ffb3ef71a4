"""Location-variable convolution (Zeng et al. 2021, "LVCNet"): every stretch of `hop` samples has its own kernel.

Written as unfold + einsum, C x O x K numbers per location are moved twice before they are used, and a location may be 7 samples. Here
nothing but the signal moves. The kernels come in the order that a grouped convolution takes (location by location), in portions
that are used before they leave the cache; each portion is one convolution with as many groups as locations, over stretches that
overlap by the kernel's reach. Short stretches are a batched matrix product instead.

Measured for the reference size, kernels and convolutions of a second of audio, one thread of an AVX-512 EPYC, processor time
(scripts.bench.bench_lvc): unfold + einsum 1.37 s, ours 0.53 s, in bfloat16 0.31 s (unfold + einsum 0.79 s). That is 64 GFLOP, more
than half of it for making the kernels: at 120 GFLOP/s in float32 a large matrix product is hardly faster, and arithmetic is the bound.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

PORTION_BYTES = 14_000_000  # of kernels at a time: more leave the cache, fewer read the predictor's weights too often
SHORT_HOP = 16  # samples: below it a convolution spends its time arranging kernels
ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None

Make = Callable[[int, int, int], tuple[Tensor, Tensor]]
Finish = Callable[[Tensor], Tensor]


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`functional.linear`, `[n, i]` by `[o, i]`; on a CPU without gradients by oneDNN, which on AMD takes half of MKL's time."""
    if ONEDNN is None or torch.is_grad_enabled() or x.device.type != "cpu" or x.dtype != torch.float32:
        return functional.linear(x, weight, bias)
    out: Tensor = ONEDNN(x, weight, bias, "none", [], "")
    return out


def lvc(x: Tensor, kernels: Tensor, bias: Tensor, dilation: int = 1) -> Tensor:
    """Convolve each stretch with its kernel; the signal is zero beyond its ends.

    Args:
        x: `[B, C, L * hop]`.
        kernels: `[B, L, O, C, K]`, K odd.
        bias: `[B, L, O]`.

    Returns:
        `[B, O, L * hop]`: out(b, o, t) = bias(b, l, o) + sum over c, k of kernels(b, l, o, c, k) x(b, c, t + (k - K // 2) dilation),
        l = t // hop.
    """
    locations = kernels.shape[1]

    def make(item: int, begin: int, end: int) -> tuple[Tensor, Tensor]:
        return kernels[item, begin:end], bias[item, begin:end]

    return lvc_made(x, locations, kernels[0, 0].numel(), kernels.shape[-1], make, dilation)


def lvc_made(
    x: Tensor, locations: int, numbers: int, taps: int, make: Make, dilation: int = 1, finish: Finish | None = None
) -> Tensor:
    """`lvc` with kernels that are made when they are needed: memory for them does not grow with the signal.

    Args:
        x: `[B, C, L * hop]`.
        locations: L.
        numbers: size of a kernel, O x C x K.
        taps: K.
        make: from (item, first location, end) to kernels `[n, O, C, K]` and bias `[n, O]`.
        finish: applied to the result while it is in the cache, `[n, O, hop]` to `[n, any, hop]`; None: nothing.
    """
    hop = x.shape[2] // locations
    reach = dilation * (taps // 2)
    padded = functional.pad(x, (reach, reach))
    function = _grouped if hop >= SHORT_HOP and x.device.type == "cpu" else _product
    # with gradients everything is kept anyway: larger portions make fewer nodes
    portion = locations if torch.is_grad_enabled() else max(1, PORTION_BYTES // (numbers * x.element_size()))
    items = []
    for item in range(x.shape[0]):
        stretches = padded[item].unfold(1, hop + 2 * reach, hop).transpose(0, 1)  # [L, C, hop + 2 reach], a view
        out: Tensor | None = None
        for begin in range(0, locations, portion):
            end = min(locations, begin + portion)
            part = function(stretches[begin:end], *make(item, begin, end), hop, dilation)
            part = (finish(part) if finish else part).transpose(0, 1)
            if portion >= locations:
                out = part
                break
            if out is None:
                out = part.new_empty(part.shape[0], locations, hop)
            out[:, begin:end] = part
        assert out is not None
        items.append(out.reshape(-1, locations * hop))
    return items[0][None] if len(items) == 1 else torch.stack(items)


def _grouped(stretches: Tensor, kernels: Tensor, bias: Tensor, hop: int, dilation: int) -> Tensor:
    """`[n, O, hop]` of stretches `[n, C, hop + 2 reach]`: one convolution, one group per location."""
    count, outputs, inputs, taps = kernels.shape
    out = functional.conv1d(
        stretches.reshape(1, count * inputs, -1),
        kernels.reshape(count * outputs, inputs, taps),
        bias.reshape(-1),
        dilation=dilation,
        groups=count,
    )
    return out.view(count, outputs, hop)


def _product(stretches: Tensor, kernels: Tensor, bias: Tensor, hop: int, dilation: int) -> Tensor:
    """The same by one product per location: kernels `[O, C K]` times the signal's taps `[C K, hop]`."""
    count, outputs, inputs, taps = kernels.shape
    shifted = torch.stack([stretches[:, :, k * dilation : k * dilation + hop] for k in range(taps)], dim=2)
    return torch.baddbmm(bias[:, :, None], kernels.reshape(count, outputs, -1), shifted.reshape(count, -1, hop))
