"""Location-variable convolution in the vocoder: ours against unfold + einsum, both in this run and on the same numbers.

    python -m scripts.bench.bench_lvc [--seconds 3] [--size reference] [--threads N] [--repeats 3] [--json FILE]

`operation`: the convolution alone, kernels given in each formulation's own order. `with kernels`: a stage's four layers with the
product that makes their kernels. `vocoder`: all of it. Unfold + einsum takes kernels as a convolution leaves them, frames last.
Times are the best of the repeats; the formulations take turns. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from audiorestorer.models.enhancer import univnet
from audiorestorer.models.enhancer.lvc import linear, lvc_made
from audiorestorer.models.enhancer.settings import SIZES, of_size
from audiorestorer.models.enhancer.univnet import UnivNet, fold_weight_norm
from scripts.bench.bench_common import gemm_peak, machine

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}  # largest relative difference of the two


def unfold_einsum(x: Tensor, kernels: Tensor, bias: Tensor) -> Tensor:
    """`[B, C, T]`, kernels `[B, C, O, K, L]`, bias `[B, O, L]` to `[B, O, T]`: the formula, word by word."""
    taps, locations = kernels.shape[3:]
    hop, reach = x.shape[2] // locations, taps // 2
    windows = functional.pad(x, (reach, reach)).unfold(2, hop + 2 * reach, hop).unfold(3, taps, 1)
    out = torch.einsum("bclsk,bcokl->bols", windows, kernels) + bias[..., None]
    return out.flatten(2)


def best(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Seconds of each, the best of so many turns after one to warm up."""
    seconds = dict.fromkeys(ways, math.inf)
    for turn in range(repeats + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            if turn:
                seconds[name] = min(seconds[name], time.perf_counter() - begin)
    return seconds


class Stage:
    """One stage's predictor with folded weights; the same kernels in both orders."""

    def __init__(self, model: UnivNet, number: int, frames: int, dtype: torch.dtype) -> None:
        self.predictor: Any = model.stages[number].predictor
        self.hop = math.prod(model.settings.strides[: number + 1])
        self.layers = len(model.settings.dilations)
        outputs, channels, taps = self.predictor.shape
        weight, bias = self.predictor.kernels.weight, self.predictor.kernels.bias
        shape = (self.layers, outputs, channels, taps)
        swapped = weight.view(*shape, -1).transpose(1, 2).reshape(weight.shape)
        self.einsum_weight, self.einsum_bias = swapped, bias.view(shape).transpose(1, 2).reshape(-1)
        hidden = model.settings.predictor_hidden
        generator = torch.Generator().manual_seed(number)
        self.hidden = torch.randn(1, hidden, frames, generator=generator).to(dtype)
        self.around = functional.pad(self.hidden, (1, 1)).unfold(2, 3, 1).permute(0, 2, 1, 3).flatten(2)
        self.x = torch.randn(1, channels, frames * self.hop, generator=generator).to(dtype)

    def ours(self, layer: int) -> Tensor:
        """One layer, kernels made a portion at a time."""
        size, outputs = self.predictor.numbers, self.predictor.shape[0]
        rows, biases = (slice(layer * n, (layer + 1) * n) for n in (size, outputs))
        kernels, bias = self.predictor.kernels, self.predictor.bias

        def make(item: int, begin: int, end: int) -> tuple[Tensor, Tensor]:
            chosen = self.around[item, begin:end]
            made = linear(chosen, kernels.weight.flatten(1)[rows], kernels.bias[rows])
            shift = functional.linear(chosen, bias.weight.flatten(1)[biases], bias.bias[biases])
            return made.view(-1, *self.predictor.shape), shift

        return lvc_made(self.x, self.around.shape[1], size, self.predictor.shape[2], make)

    def all_kernels(self) -> tuple[Tensor, Tensor]:
        """Kernels of all layers, frames last: `[B, layers, C, O, K, L]`, and biases `[B, layers, O, L]`."""
        outputs, channels, taps = self.predictor.shape
        padded = functional.pad(self.hidden, (1, 1))
        kernels = functional.conv1d(padded, self.einsum_weight, self.einsum_bias)
        bias = functional.conv1d(padded, self.predictor.bias.weight, self.predictor.bias.bias)
        shape = (1, self.layers, channels, outputs, taps, -1)
        return kernels.view(shape), bias.view(1, self.layers, outputs, -1)

    def theirs(self) -> list[Tensor]:
        kernels, bias = self.all_kernels()
        return [unfold_einsum(self.x, kernels[:, layer], bias[:, layer]) for layer in range(self.layers)]


def operation(stage: Stage, repeats: int) -> dict[str, float]:
    """The convolution alone, one layer: kernels are there, in each one's order."""
    kernels, bias = (value[:, 0] for value in stage.all_kernels())
    ready = kernels[0].permute(3, 1, 0, 2).contiguous()
    shift = bias[0].T.contiguous()
    size, taps, frames = stage.predictor.numbers, kernels.shape[3], kernels.shape[4]
    return best(
        {
            "unfold + einsum": lambda: unfold_einsum(stage.x, kernels, bias),
            "ours": lambda: lvc_made(stage.x, frames, size, taps, lambda _, a, b: (ready[a:b], shift[a:b])),
        },
        repeats,
    )


def with_kernels(stage: Stage, repeats: int) -> dict[str, float]:
    """All layers of a stage, and the predictor of their kernels."""
    return best(
        {
            "unfold + einsum": stage.theirs,
            "ours": lambda: [stage.ours(layer) for layer in range(stage.layers)],
        },
        repeats,
    )


def difference(stage: Stage) -> float:
    """Largest difference of the two, relative to the largest value."""
    wanted = stage.theirs()
    return max(float((stage.ours(n) - w).abs().max() / w.abs().max()) for n, w in enumerate(wanted))


def whole(model: UnivNet, condition: Tensor, drawn: Tensor, repeats: int) -> dict[str, float]:
    """The vocoder; for unfold + einsum the stages' operation is exchanged."""
    own = univnet.Stage._variable

    def theirs(self: Any, x: Tensor, frames: Tensor, number: int, tables: tuple[Tensor, ...]) -> Tensor:
        outputs, channels, taps = self.predictor.shape
        if number == 0:  # all layers' kernels at once, frames last
            hidden = frames.unflatten(2, (-1, 3))[..., 1].transpose(1, 2)
            padded = functional.pad(hidden, (1, 1))
            shape = (len(x), -1, channels, outputs, taps, frames.shape[1])
            self.made = functional.conv1d(padded, tables[0].unflatten(1, (-1, 3)), tables[1]).view(shape)
            biases = functional.conv1d(padded, tables[2].unflatten(1, (-1, 3)), tables[3])
            self.made_bias = biases.view(len(x), -1, outputs, frames.shape[1])
        gate, value = unfold_einsum(x, self.made[:, number], self.made_bias[:, number]).chunk(2, dim=1)
        return gate.sigmoid() * value.tanh()

    def run(function: Any) -> None:
        univnet.Stage._variable = function  # type: ignore[method-assign]
        try:
            model(condition, drawn)
        finally:
            univnet.Stage._variable = own  # type: ignore[method-assign]

    return best({"unfold + einsum": lambda: run(theirs), "ours": lambda: run(own)}, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the audio")
    parser.add_argument("--size", choices=SIZES, default="reference", help="size of the enhancer")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions; the fastest counts")
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=("float32", "bfloat16"),
        default=["float32", "bfloat16"],
        help="types of the weights",
    )
    parser.add_argument("--parts", nargs="+", choices=("operation", "with kernels", "vocoder"),
                        default=["operation", "with kernels", "vocoder"])  # fmt: skip
    parser.add_argument("--no-peak", action="store_true", help="do not measure the machine's GEMM peak")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    settings = of_size(args.size)
    frames = max(2, math.ceil(args.seconds * settings.features.sample_rate / settings.features.hop_length))
    condition = settings.features.n_mels + settings.irmae.extra
    rows: list[dict[str, Any]] = []
    print(f"{machine()}, {args.threads} threads; {args.size}, {frames} frames ({args.seconds:g} s)\n")
    print(
        "| what | precision | unfold + einsum, s | ours, s | ratio | difference |\n| --- | --- | --- | --- | --- | --- |"
    )

    def row(what: str, precision: str, seconds: dict[str, float], apart: float | None = None) -> None:
        theirs, ours = seconds["unfold + einsum"], seconds["ours"]
        rows.append({"what": what, "precision": precision, **seconds, "ratio": theirs / ours, "difference": apart})
        shown = "" if apart is None else f"{apart:.0e}"
        print(f"| {what} | {precision} | {theirs:.3f} | {ours:.3f} | {theirs / ours:.1f} | {shown} |", flush=True)

    with torch.inference_mode():
        for precision in args.precisions:
            dtype = getattr(torch, precision)
            torch.manual_seed(0)
            model = fold_weight_norm(UnivNet(condition, settings.vocoder).eval()).to(dtype)
            assert isinstance(model, UnivNet)
            for number in range(len(settings.vocoder.strides)):
                stage = Stage(model, number, frames, dtype)
                if "operation" in args.parts:
                    row(f"operation, hop {stage.hop}", precision, operation(stage, args.repeats))
                if "with kernels" in args.parts:
                    apart = difference(stage)
                    assert apart < TOLERANCE[dtype], f"hop {stage.hop}: the two differ by {apart}"
                    row(f"with kernels, hop {stage.hop}", precision, with_kernels(stage, args.repeats), apart)
            if "vocoder" in args.parts:
                inputs = (
                    torch.randn(1, condition, frames).to(dtype),
                    torch.randn(1, settings.vocoder.noise, frames).to(dtype),
                )
                row("vocoder", precision, whole(model, *inputs, args.repeats))
            del model
    wanted = [] if args.no_peak else args.precisions
    peaks = {precision: gemm_peak(precision, args.threads) for precision in wanted}
    print("\nGEMM peak: " + ", ".join(f"{name} {value / 1e9:.0f} GFLOP/s" for name, value in peaks.items()))
    if args.json:
        args.json.write_text(
            json.dumps({"machine": machine(), "frames": frames, "rows": rows, "gemm": peaks}, indent=1)
        )


if __name__ == "__main__":
    main()
