"""A mask network as an ONNX graph, written by a rule from the arrays of its checkpoint: no torch, no tracing.

The graph holds `MaskUNet.network` but for its padding: features `[B, 2, F, N]` (F = n_fft / 2, N a multiple of the network's time
stride) to a mask `[B, F, N]`; with taps, features `[B, 4, F, N]` to mask and taps `[B, 1 + 2 taps, F, N]`. Batch norms are folded
into the convolutions before them, which changes float32's rounding alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from audiorestorer.errors import AudioRestorerError
from audiorestorer.models.mask_config import ATTENTION_HEADS, MaskUNetConfig, band_edges

OPSET, IR_VERSION = 17, 8
INPUT, OUTPUT = "features", "mask"
NORM_EPS = 1e-5  # of batch and layer norms, PyTorch's default
POSITION_KERNEL = 15
# the gates of a recurrent layer: PyTorch's order (input, forget, cell, output; reset, update, new) to ONNX's (i, o, f, c; z, r, h)
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
DIRECTIONS = ("", "_reverse")


class Bands(Protocol):
    """Shape of a network over bands, see `MaskUNetConfig`."""

    @property
    def sample_rate(self) -> int: ...
    @property
    def bands(self) -> int: ...
    @property
    def band_width(self) -> int: ...
    @property
    def band_hidden(self) -> int: ...
    @property
    def rnn_hidden(self) -> int: ...
    @property
    def rnn_layers(self) -> int: ...


class Writer:
    """Nodes and constants of a graph; each method appends one operation and returns the name of its output."""

    def __init__(self, state: Mapping[str, NDArray[Any]], where: str) -> None:
        self.state, self.where = dict(state), where
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def weight(self, name: str, *shape: int) -> NDArray[np.float32]:
        """Take an array out of the state.

        Raises:
            AudioRestorerError: it is not there, of another shape, or no floating-point numbers.
        """
        value = self.state.pop(name, None)
        if value is None or value.shape != shape or value.dtype != np.float32:
            raise AudioRestorerError(f"{self.where}: weights do not fit the config: {name}")
        return value

    def constant(self, value: NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def add(self, operation: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"n{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(operation, inputs, names, **attributes))
        return names[0]

    def split(self, x: str, sizes: Sequence[int], axis: int) -> list[str]:
        self.add("Split", x, self.constant(np.array(sizes, np.int64)), outputs=len(sizes), axis=axis)
        return list(self.nodes[-1].output)

    def reshape(self, x: str, *shape: int) -> str:
        """0 keeps an axis as it is, -1 is what is left."""
        return self.add("Reshape", x, self.constant(np.array(shape, np.int64)))

    def transpose(self, x: str, *axes: int) -> str:
        return self.add("Transpose", x, perm=axes)

    def silu(self, x: str) -> str:
        return self.add("Mul", x, self.add("Sigmoid", x))

    def linear(self, x: str, name: str, inputs: int, outputs: int) -> str:
        weight = self.constant(self.weight(f"{name}.weight", outputs, inputs).T)
        bias = self.constant(self.weight(f"{name}.bias", outputs))
        return self.add("Add", self.add("MatMul", x, weight), bias)

    def layer_norm(self, x: str, name: str, width: int) -> str:
        scale, bias = (self.constant(self.weight(f"{name}.{part}", width)) for part in ("weight", "bias"))
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=NORM_EPS)

    def convolution(self, x: str, name: str, norm: str, inputs: int, outputs: int) -> str:
        """A 3x3 convolution without bias and the batch norm behind it, as one."""
        gain, shift, mean, variance = (
            self.weight(f"{norm}.{part}", outputs).astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        if self.state.pop(f"{norm}.num_batches_tracked", None) is None:
            raise AudioRestorerError(f"{self.where}: weights do not fit the config: {norm}.num_batches_tracked")
        gain = gain / np.sqrt(variance + NORM_EPS)
        weight = self.weight(f"{name}.weight", outputs, inputs, 3, 3) * gain[:, None, None, None]
        constants = (self.constant(part.astype(np.float32)) for part in (weight, shift - mean * gain))
        return self.add("Conv", x, *constants, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def recurrent(self, x: str, name: str, kind: str, width: int, hidden: int) -> str:
        """A bidirectional layer, time first: `[N, B, width] -> [N, B, 2 hidden]`."""
        order = GATES[kind]

        def gates(part: str, *columns: int) -> NDArray[np.float32]:
            """`[directions, gates hidden, ...]` in ONNX's order."""
            rows = [
                self.weight(f"{name}.{part}_l0{direction}", len(order) * hidden, *columns) for direction in DIRECTIONS
            ]
            apart = np.stack(rows).reshape(2, len(order), hidden, *columns)
            return apart[:, list(order)].reshape(2, len(order) * hidden, *columns)

        weights = [self.constant(gates("weight_ih", width)), self.constant(gates("weight_hh", hidden))]
        bias = self.constant(np.concatenate([gates("bias_ih"), gates("bias_hh")], axis=1))
        more = {"linear_before_reset": 1} if kind == "GRU" else {}
        y = self.add(kind, x, *weights, bias, hidden_size=hidden, direction="bidirectional", **more)
        return self.reshape(self.transpose(y, 0, 2, 1, 3), 0, 0, 2 * hidden)


def graph(config: MaskUNetConfig, state: Mapping[str, NDArray[Any]], where: str) -> bytes:
    """The ONNX file's content.

    Args:
        state: float32 weights, as `arrays.read` gives them.
        where: the file that they come from, for messages.

    Raises:
        AudioRestorerError: weights that are not the network's.
    """
    writer = Writer(state, where)
    bins = config.n_fft // 2
    shape = bins, config.features, config.outputs
    logits = band_split(writer, config, *shape) if config.bands else _unet(writer, config, bins)
    span = writer.constant(np.array(config.mask_limit - config.mask_floor, np.float32))
    least = writer.constant(np.array(config.mask_floor, np.float32))

    def mask(logits: str) -> str:
        return writer.add("Add", writer.add("Mul", writer.add("Sigmoid", logits), span), least)

    given: list[int | str] = ["batch", config.features, bins, "frames"]
    if not config.taps:
        return finished(writer, mask(logits), "mask_network", given, ["batch", bins, "frames"])
    each = writer.transpose(writer.reshape(logits, 0, bins, config.outputs, -1), 0, 2, 1, 3)
    first, taps = writer.split(each, [1, 2 * config.taps], axis=1)
    both = writer.add("Concat", mask(first), writer.add("Tanh", taps), axis=1)
    return finished(writer, both, "mask_network", given, ["batch", config.outputs, bins, "frames"])


def finished(writer: Writer, output: str, name: str, given: Sequence[int | str], made: Sequence[int | str]) -> bytes:
    """The ONNX file of a writer's nodes, whose last value is `output`.

    Args:
        given, made: shapes of the input and of the output; a name stands for any size.

    Raises:
        AudioRestorerError: weights are left over.
    """
    if writer.state:
        raise AudioRestorerError(
            f"{writer.where}: weights do not fit the config: {', '.join(sorted(writer.state)[:4])}"
        )
    writer.nodes.append(helper.make_node("Identity", [output], [OUTPUT]))
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, given)]
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, made)]
    constants = [numpy_helper.from_array(value, key) for key, value in writer.constants.items()]
    whole = helper.make_graph(writer.nodes, name, inputs, outputs, constants)
    opsets = [helper.make_opsetid("", OPSET)]
    return bytes(helper.make_model(whole, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString())


def _block(writer: Writer, x: str, name: str, inputs: int, outputs: int) -> str:
    """`mask_unet._Block`."""
    x = writer.silu(writer.convolution(x, f"{name}.first", f"{name}.first_norm", inputs, outputs))
    y = writer.convolution(x, f"{name}.second", f"{name}.second_norm", outputs, outputs)
    return writer.silu(writer.add("Add", x, y))


def _unet(writer: Writer, config: MaskUNetConfig, bins: int) -> str:
    """Logits `[B, F, N]` by `MaskUNet._unet`."""
    fold, height = config.frequency_fold, bins // config.frequency_fold
    x = writer.transpose(writer.reshape(INPUT, 0, 2, height, fold, -1), 0, 1, 3, 2, 4)
    x = writer.reshape(x, 0, 2 * fold, height, -1)
    skips, width = [], 2 * fold
    for level, (channels, stride) in enumerate(zip(config.channels, config.time_strides, strict=True)):
        x = _block(writer, x, f"encoder.{level}", width, channels)
        skips.append(x)
        kernel = writer.constant(writer.weight(f"down.{level}.weight", channels, channels, 2, stride))
        x = writer.add("Conv", x, kernel, kernel_shape=[2, stride], strides=[2, stride])
        width = channels
    x = _along_time(writer, config, x, width, bins // config.frequency_stride)
    for place, (channels, stride) in enumerate(
        zip(reversed(config.channels), reversed(config.time_strides), strict=True)
    ):
        kernel = writer.constant(writer.weight(f"up.{place}.weight", width, channels, 2, stride))
        x = writer.add("ConvTranspose", x, kernel, kernel_shape=[2, stride], strides=[2, stride])
        x = _block(writer, writer.add("Concat", x, skips.pop(), axis=1), f"decoder.{place}", 2 * channels, channels)
        width = channels
    last, bias = writer.weight("head.weight", fold, width, 1, 1), writer.weight("head.bias", fold)
    x = writer.add("Conv", x, writer.constant(last), writer.constant(bias), kernel_shape=[1, 1])
    return writer.reshape(writer.transpose(x, 0, 2, 1, 3), 0, bins, -1)


def _along_time(writer: Writer, config: MaskUNetConfig, x: str, depth: int, low: int) -> str:
    """`MaskUNet._along_time`."""
    if config.bottleneck == "none":
        return x
    width = 2 * config.rnn_hidden
    y = writer.reshape(writer.transpose(x, 0, 3, 1, 2), 0, 0, depth * low)
    y = writer.linear(y, "squeeze", depth * low, width)
    y = (_attention if config.bottleneck == "attention" else _recurrent)(writer, config, y, width)
    y = writer.linear(writer.silu(y), "expand", width, depth * low)
    return writer.add("Add", x, writer.transpose(writer.reshape(y, 0, 0, depth, low), 0, 2, 3, 1))


def _recurrent(writer: Writer, config: MaskUNetConfig, x: str, width: int) -> str:
    """`bottleneck.Recurrent`; the layers go time first."""
    x = writer.transpose(x, 1, 0, 2)
    for layer in range(config.rnn_layers):
        y = writer.layer_norm(x, f"bottleneck.norms.{layer}", width)
        y = writer.recurrent(y, f"bottleneck.cells.{layer}", config.bottleneck.upper(), width, config.rnn_hidden)
        x = writer.add("Add", x, writer.linear(y, f"bottleneck.outs.{layer}", width, width))
    return writer.transpose(x, 1, 0, 2)


def _attention(writer: Writer, config: MaskUNetConfig, x: str, width: int) -> str:
    """`bottleneck.Attention`."""
    for layer in range(config.rnn_layers):
        name = f"bottleneck.places.{layer}"
        kernel = writer.constant(writer.weight(f"{name}.weight", width, 1, POSITION_KERNEL))
        bias = writer.constant(writer.weight(f"{name}.bias", width))
        half = POSITION_KERNEL // 2
        y = writer.add("Conv", writer.transpose(x, 0, 2, 1), kernel, bias, group=width, pads=[half, half])
        x = writer.add("Add", x, writer.silu(writer.transpose(y, 0, 2, 1)))
        y = writer.layer_norm(x, f"bottleneck.norms.{2 * layer}", width)
        x = writer.add("Add", x, _attend(writer, y, layer, width))
        y = writer.layer_norm(x, f"bottleneck.norms.{2 * layer + 1}", width)
        y = writer.silu(writer.linear(y, f"bottleneck.feeds.{layer}.0", width, width))
        x = writer.add("Add", x, writer.linear(y, f"bottleneck.feeds.{layer}.2", width, width))
    return x


def _attend(writer: Writer, x: str, layer: int, width: int) -> str:
    """Scaled dot-product attention of several heads (Vaswani et al. 2017, eq. 1)."""
    each = width // ATTENTION_HEADS
    parts = writer.split(writer.linear(x, f"bottleneck.projections.{layer}", width, 3 * width), [width] * 3, axis=2)
    query, key, value = (writer.reshape(part, 0, 0, ATTENTION_HEADS, each) for part in parts)
    scores = writer.add("MatMul", writer.transpose(query, 0, 2, 1, 3), writer.transpose(key, 0, 2, 3, 1))
    scores = writer.add("Mul", scores, writer.constant(np.array(each**-0.5, np.float32)))
    mixed = writer.add("MatMul", writer.add("Softmax", scores, axis=-1), writer.transpose(value, 0, 2, 1, 3))
    mixed = writer.reshape(writer.transpose(mixed, 0, 2, 1, 3), 0, 0, width)
    return writer.linear(mixed, f"bottleneck.outs.{layer}", width, width)


def band_split(writer: Writer, config: Bands, bins: int, features: int, outputs: int) -> str:
    """Logits `[B, F outputs, N]` by `band_split.BandSplit`, of the graph's input `[B, features, F, N]`."""
    edges = band_edges(bins, config.bands, config.sample_rate)
    sizes, width, count = [int(size) for size in np.diff(edges)], config.band_width, config.bands
    entered = []
    for band, part in enumerate(writer.split(writer.transpose(INPUT, 3, 0, 2, 1), sizes, axis=2)):
        flat = writer.reshape(part, 0, 0, 1, features * sizes[band])
        entered.append(writer.linear(flat, f"split.entries.{band}", features * sizes[band], width))
    x = writer.add("Concat", *entered, axis=2)
    for turn in range(config.rnn_layers):
        x = _turn(writer, config, x, f"split.turns.{turn}")
    x = writer.silu(writer.linear(writer.layer_norm(x, "split.norm", width), "split.widen", width, 2 * width))
    parts = writer.split(x, [1] * count, axis=2)
    leaves = [
        writer.linear(writer.reshape(part, 0, 0, 2 * width), f"split.exits.{band}", 2 * width, outputs * sizes[band])
        for band, part in enumerate(parts)
    ]
    return writer.transpose(writer.add("Concat", *leaves, axis=2), 1, 2, 0)


def _turn(writer: Writer, config: Bands, x: str, name: str) -> str:
    """`band_split._Turn`: `[N, B, K, D] -> [N, B, K, D]`."""
    count, width, hidden = config.bands, config.band_width, config.rnn_hidden
    y = writer.reshape(writer.layer_norm(x, f"{name}.band_norm", width), 0, -1, width)
    y = writer.recurrent(y, f"{name}.band_cell", "LSTM", width, config.band_hidden)
    y = writer.linear(y, f"{name}.band_out", 2 * config.band_hidden, width)
    x = writer.add("Add", x, writer.reshape(y, 0, -1, count, width))
    y = writer.reshape(writer.layer_norm(x, f"{name}.frame_norm", width), 0, 0, count * width)
    y = writer.silu(writer.linear(y, f"{name}.squeeze", count * width, 2 * hidden))
    y = writer.silu(writer.add("Add", y, writer.recurrent(y, f"{name}.cell", "LSTM", 2 * hidden, hidden)))
    y = writer.linear(y, f"{name}.expand", 2 * hidden, count * width)
    return writer.add("Add", x, writer.reshape(y, 0, 0, count, width))
