"""Transposed convolutions as plain ones, for run times that are slow at the former (OpenVINO in bfloat16: a fifth of HTDemucs' time).

A transposed convolution of stride s and kernel m s is s plain ones of m taps, one a phase of the output:
y[s t + r] = sum_j x[t - j] w[s j + r]. The same sums, in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.nn import ConvTranspose1d, functional


def _fits(layer: ConvTranspose1d) -> bool:
    stride, kernel = layer.stride[0], layer.kernel_size[0]
    plain = layer.padding == (0,) and layer.output_padding == (0,) and layer.dilation == (1,) and layer.groups == 1
    return plain and stride > 1 and kernel % stride == 0


def _forward(layer: ConvTranspose1d) -> Callable[[torch.Tensor], torch.Tensor]:
    stride = layer.stride[0]
    inputs, outputs, kernel = layer.weight.shape
    taps = kernel // stride
    # [in, out, m, s] -> [(out, s), in, m], the taps reversed: a convolution layer correlates
    weight = layer.weight.reshape(inputs, outputs, taps, stride).flip(2).permute(1, 3, 0, 2)
    weight = weight.reshape(outputs * stride, inputs, taps)
    bias = None if layer.bias is None else layer.bias.repeat_interleave(stride)

    def forward(x: torch.Tensor) -> torch.Tensor:
        phases = functional.conv1d(x, weight, bias, padding=taps - 1)
        length = phases.shape[-1]
        return phases.reshape(-1, outputs, stride, length).transpose(2, 3).reshape(-1, outputs, length * stride)

    return forward


@contextmanager
def polyphase(network: torch.nn.Module) -> Iterator[None]:
    """While in it, every transposed convolution of the network that can be runs as a plain one."""
    layers = [layer for layer in network.modules() if isinstance(layer, ConvTranspose1d) and _fits(layer)]
    for layer in layers:
        vars(layer)["forward"] = _forward(layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]
