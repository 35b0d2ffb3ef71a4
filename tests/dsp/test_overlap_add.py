"""Overlap-add: partition of unity, independence of block sizes and batches, context, bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from audiorestorer.dsp.overlap_add import Audio, Plan, centred, process, triangle


def pieces(audio: Audio, size: int) -> Iterator[Audio]:
    for begin in range(0, audio.shape[1], size):
        yield audio[:, begin : begin + size]


def run_all(audio: Audio, plan: Plan, run=lambda x: x, size: int = 7) -> Audio:
    return np.concatenate(list(process(pieces(audio, size), audio.shape[1], plan, run)), axis=1)


@pytest.mark.parametrize("total", [1, 5, 16, 17, 100, 101])
@pytest.mark.parametrize("stride", [1, 5, 12, 16])
@pytest.mark.parametrize("edges", ["zeros", "cut"])
def test_identity(total: int, stride: int, edges) -> None:
    audio = np.random.default_rng(0).standard_normal((2, total)).astype(np.float32)
    for context in (lambda n: (0, 0), lambda n: (6, 3), centred(lambda n: 20)):
        out = run_all(audio, Plan(16, stride, context, edges, batch_size=3))
        assert out.shape == audio.shape
        np.testing.assert_allclose(out, audio, atol=1e-6)


def test_context_is_real_signal() -> None:
    audio = np.arange(1, 101, dtype=np.float32)[None]
    delayed = run_all(audio, Plan(10, 10, lambda n: (4, 0)), lambda x: np.roll(x, 3, axis=-1))
    np.testing.assert_allclose(delayed[0], np.maximum(np.arange(1, 101) - 3, 0))


def test_blocks_and_batches_change_nothing() -> None:
    audio = np.random.default_rng(1).standard_normal((1, 500)).astype(np.float32)
    net = lambda x: np.cumsum(x, axis=-1)  # noqa: E731 - depends on the whole window
    outs = [
        run_all(audio, Plan(64, 48, centred(lambda n: 80), "zeros", b), net, s) for b, s in [(1, 500), (4, 1), (9, 33)]
    ]
    for out in outs[1:]:
        np.testing.assert_allclose(out, outs[0], atol=1e-4)


def test_memory_does_not_grow_and_output_follows_input() -> None:
    read = 0

    def source() -> Iterator[Audio]:
        nonlocal read
        for _ in range(1000):
            read += 100
            yield np.ones((1, 100), np.float32)

    done = 0
    for block in process(source(), 100_000, Plan(400, 300, lambda n: (100, 50), "zeros", 2), lambda x: x):
        done += block.shape[1]
        assert read - done < 3000
    assert done == 100_000


def test_triangle_is_demucs() -> None:
    np.testing.assert_allclose(triangle(5), np.array([1, 2, 3, 2, 1]) / 3)
    assert triangle(1).tolist() == [1.0]


def test_short_stream_and_bad_stride_are_errors() -> None:
    with pytest.raises(ValueError, match="ended after 10"):
        list(process(iter([np.zeros((1, 10), np.float32)]), 20, Plan(8, 8), lambda x: x))
    with pytest.raises(ValueError, match="stride"):
        Plan(8, 9)
