"""Weights in the form in which Resemble Enhance's were released: its names, its shapes, half precision. Random, the same each time."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

MELS, EXTRA, LATENT, WIDTH, FLOW = 128, 32, 64, 1024, 512
STRIDES, DILATIONS, PREDICTOR = (7, 5, 4, 3), 4, 64


def shapes(channels: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape; `weight_g` and `weight_v` are the length and the direction of a weight-normed layer."""
    out: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int, bias: bool = True) -> None:
        out[f"{name}.weight"] = shape
        if bias:
            out[f"{name}.bias"] = shape[:1]

    def normed(name: str, *shape: int, outputs: int | None = None) -> None:
        out[f"{name}.weight_g"] = (shape[0], *[1] * (len(shape) - 1))
        out[f"{name}.weight_v"] = shape
        out[f"{name}.bias"] = (outputs or shape[0],)

    for part, entry in (("encoder", MELS), ("decoder", LATENT)):
        layer(f"lcfm.ae.{part}.0", WIDTH, entry, 3)
        for block in range(1, 5):
            for place in (0, 3, 6, 9):
                layer(f"lcfm.ae.{part}.{block}.{place}", WIDTH)
                normed(f"lcfm.ae.{part}.{block}.{place + 2}", WIDTH, WIDTH, 3)
    for index in range(4):
        layer(f"lcfm.ae.encoder.{5 + index}", LATENT, LATENT if index else WIDTH, 1, bias=False)
    layer("lcfm.ae.decoder.5", MELS + EXTRA, WIDTH, 1)
    layer("lcfm.ae.head.0", WIDTH, MELS + EXTRA, 3)
    layer("lcfm.ae.head.2", MELS, WIDTH, 1)
    layer("lcfm.cfm.net.start", FLOW, LATENT, 1)
    layer("lcfm.cfm.net.end", LATENT, FLOW, 1)
    for index in range(30):
        layer(f"lcfm.cfm.net.layers.{index}.gconv", FLOW, 128, 1)
        layer(f"lcfm.cfm.net.layers.{index}.lconv", 2 * FLOW, MELS, 1)
        layer(f"lcfm.cfm.net.layers.{index}.dconv", 2 * FLOW, FLOW, 3)
        layer(f"lcfm.cfm.net.layers.{index}.out", 2 * FLOW, FLOW, 1)
    layer("denoiser.net.input_proj", 16, 3, 3, 3)
    widths = [16, 32, 64, 128, 256]
    pairs = {"encoder": list(zip(widths, widths[1:], strict=False)), "middle": [(256, 256)] * 2}
    pairs["decoder"] = [(large, small) for small, large in reversed(pairs["encoder"])]
    for part, sizes in pairs.items():
        for index, (entry, width) in enumerate(sizes):
            name = f"denoiser.net.{part}_blocks.{index}"
            layer(f"{name}.pre_conv", width, entry, 3, 3)
            for block in (1, 2):
                for place in (0, 3):
                    layer(f"{name}.res_block{block}.{place}", width)
                    layer(f"{name}.res_block{block}.{place + 2}", width, width, 3, 3)
    layer("denoiser.net.head.0", 16, 16, 3, 3)
    layer("denoiser.net.head.2", 3, 16, 1, 1)
    normed("vocoder.conv_pre", channels, 128, 7)
    normed("vocoder.conv_post.1", 1, channels, 7)
    for index, stride in enumerate(STRIDES):
        name = f"vocoder.blocks.{index}"
        normed(f"{name}.convt_pre.1", channels, channels, 2 * stride)
        normed(f"{name}.kernel_predictor.input_conv.0", PREDICTOR, MELS + EXTRA, 5)
        for residual in range(3):
            normed(f"{name}.kernel_predictor.residual_convs.{residual}.1", PREDICTOR, PREDICTOR, 3)
            normed(f"{name}.kernel_predictor.residual_convs.{residual}.3", PREDICTOR, PREDICTOR, 3)
        normed(f"{name}.kernel_predictor.kernel_conv", 2 * channels * channels * 3 * DILATIONS, PREDICTOR, 3)
        normed(f"{name}.kernel_predictor.bias_conv", 2 * channels * DILATIONS, PREDICTOR, 3)
        for place in range(DILATIONS):
            normed(f"{name}.conv_blocks.{place}.1", channels, channels, 3)
        for place in range(3):
            normed(f"{name}.amp_block.{place}.0", channels, channels, 3)
            normed(f"{name}.amp_block.{place}.2", channels, channels, 3)
            out[f"{name}.amp_block.{place}.1.act.log_alpha"] = out[f"{name}.amp_block.{place}.1.act.log_beta"] = (
                channels,
            )
            out[f"{name}.amp_block.{place}.1.upsample.filter"] = (1, 1, 12)
            out[f"{name}.amp_block.{place}.1.downsample.lowpass.filter"] = (1, 1, 12)
    for name in ("mel_fn", "denoiser.mel_fn"):
        out[f"{name}.stft_magnitude_min"] = (1,)
        out[f"{name}.melspec.spectrogram.window"] = (2048,)
        out[f"{name}.melspec.mel_scale.fb"] = (1025, MELS)
    for name in ("normalizer", "lcfm.ae.estimator"):
        out[f"{name}.running_mean_unsafe"] = out[f"{name}.running_var_unsafe"] = ()
    out["dummy"] = (1,)
    return out


def value(name: str, shape: tuple[int, ...]) -> Tensor:
    """What a name holds: drawn by it, and of a size that keeps the signal's."""
    from audiorestorer.models.enhancer.alias_free import kaiser_sinc
    from audiorestorer.models.enhancer.mel import slaney_filters

    if name.endswith("filter"):
        return kaiser_sinc(12).reshape(shape)
    if name.endswith("window"):
        return torch.hann_window(*shape)
    if name.endswith("fb"):
        return slaney_filters(44_100, 2048, MELS).T
    fixed = {"running_mean_unsafe": 0.3, "running_var_unsafe": 0.05, "stft_magnitude_min": 1e-4, "dummy": 0.0}
    last = name.rpartition(".")[2]
    if last in fixed:
        return torch.full(shape, fixed[last])
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "little")
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if last == "weight_g":
        return (0.5 + drawn.abs() / 8) * (0.1 if "conv_post" in name else 1)  # within the tanh's range
    if last.startswith("log_"):
        return drawn / 10
    if last == "weight" and len(shape) == 1:
        return 1 + drawn / 10
    return drawn / 20 if len(shape) == 1 else drawn / (2 * math.sqrt(math.prod(shape[1:])))


def state(channels: int = 96) -> dict[str, Tensor]:
    """A file's weights. `channels`: of the vocoder; the released one has 96."""
    return {name: value(name, shape).half() for name, shape in shapes(channels).items()}
