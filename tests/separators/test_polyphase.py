"""Transposed convolutions as plain ones: the same numbers, and the network is left as it was."""

from __future__ import annotations

import pytest
import torch

from audiorestorer.separators.runtime.polyphase import polyphase


@pytest.mark.parametrize(("kernel", "stride", "bias"), [(8, 4, True), (4, 4, False), (6, 2, True), (2, 2, True)])
def test_equals_the_transposed_convolution(kernel: int, stride: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer = torch.nn.ConvTranspose1d(3, 5, kernel, stride, bias=bias).double()
    x = torch.randn(2, 3, 17, dtype=torch.float64)
    with torch.no_grad():
        expected = layer(x)
        with polyphase(torch.nn.Sequential(layer)):
            assert "forward" in vars(layer)
            torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
        assert "forward" not in vars(layer)


@pytest.mark.parametrize("change", [{"padding": 1}, {"kernel_size": 7}, {"stride": 1}, {"groups": 2}])
def test_others_are_left_alone(change: dict[str, int]) -> None:
    layer = torch.nn.ConvTranspose1d(**{"in_channels": 4, "out_channels": 4, "kernel_size": 8, "stride": 4, **change})
    with polyphase(layer):
        assert "forward" not in vars(layer)
