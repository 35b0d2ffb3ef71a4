"""Recordings that share passes: full passes, the same bytes whatever the company, errors, and memory that runs out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from audiorestorer.errors import AudioRestorerError
from audiorestorer.separators import Loaded
from audiorestorer.separators.runtime.shared_passes import PassSplitter, SharedPasses, fitting_rows
from audiorestorer.separators.runtime.streaming import Recording, estimates
from tests import tiny_models as tiny
from tests.separators.test_demucs import noise, ready


class Doubler:
    """Notes the shape of each pass, and how many rows were not zero."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.filled: list[int] = []

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        self.shapes.append(windows.shape)
        self.filled.append(int((np.abs(windows).sum(axis=(1, 2)) > 0).sum()))
        return 2 * windows


def test_threads_fill_the_passes() -> None:
    passes, network, together = SharedPasses(4), Doubler(), threading.Barrier(4)

    def item(number: int) -> None:
        with passes.member():
            together.wait()
            for window in range(5):
                given = np.full((1, 1, 8), 1 + number + 10 * window, np.float32)
                assert np.array_equal(passes.run(0, network, given), 2 * given)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(item, range(4)))
    assert network.shapes == [(4, 1, 8)] * 5 and network.filled == [4] * 5


def test_a_pass_is_filled_up_with_zeros_and_long_calls_are_cut() -> None:
    passes, network = SharedPasses(4), Doubler()
    given = np.arange(1, 7, dtype=np.float32).reshape(6, 1, 1)
    assert np.array_equal(passes.run(0, network, given), 2 * given)
    assert network.shapes == [(4, 1, 1)] * 2 and network.filled == [4, 2]


def test_lengths_and_networks_go_apart() -> None:
    passes, network, together = SharedPasses(2), Doubler(), threading.Barrier(3)

    def item(case: tuple[str, int]) -> None:
        with passes.member():
            together.wait()
            given = np.ones((1, 1, case[1]), np.float32)
            assert np.array_equal(passes.run(case[0], network, given), 2 * given)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(item, [("a", 5), ("a", 6), ("b", 5)]))
    assert sorted(network.shapes) == [(2, 1, 5), (2, 1, 5), (2, 1, 6)]


def test_an_error_reaches_everyone_who_was_in_the_pass_and_nobody_waits_for_ever() -> None:
    passes, together = SharedPasses(2), threading.Barrier(3)

    def broken(windows: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError("x")

    def item(number: int) -> str:
        with passes.member():
            together.wait()
            try:
                passes.run(0, broken if number < 2 else Doubler(), np.ones((3, 1, 4 + number // 2), np.float32))
            except ZeroDivisionError:
                return "failed"
            return "done"

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(item, range(3))) == ["failed", "failed", "done"]


def test_halves_until_it_fits_and_remembers() -> None:
    sizes = []

    def small(windows: np.ndarray) -> np.ndarray:
        sizes.append(len(windows))
        if len(windows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return windows + 1

    splitter, given = PassSplitter(), np.arange(8, dtype=np.float32).reshape(8, 1, 1)
    assert np.array_equal(splitter(small, given), given + 1)
    assert sizes == [8, 4, 2, 2, 2, 2]
    splitter(small, given[:5])
    assert sizes[6:] == [2, 2, 1]


def test_one_window_that_does_not_fit_says_what_to_do() -> None:
    def none(windows: np.ndarray) -> np.ndarray:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(AudioRestorerError, match="one window of 9 samples.*segment_sec"):
        PassSplitter()(none, np.zeros((4, 1, 9), np.float32))
    with pytest.raises(RuntimeError, match="other"):  # what is not about memory is not hidden
        PassSplitter()(lambda windows: (_ for _ in ()).throw(RuntimeError("other")), np.zeros((4, 1, 9), np.float32))


def test_rows_from_free_memory() -> None:
    def peak(rows: int) -> int:
        return 100 + 50 * rows

    assert fitting_rows(peak, 1000) == 14  # 100 + 50 * 14 = 800: four fifths
    assert peak(fitting_rows(peak, 5000)) <= 4000
    assert fitting_rows(peak, 10) == 1 and fitting_rows(peak, 10**9, most=32) == 32


def test_what_a_gpu_does_gives_on_the_cpu_what_one_recording_alone_gives(tmp_path) -> None:
    """The path of a GPU (shared passes, memory for two windows only) on the CPU device, with a network of demucs' own class."""
    loaded = replace(ready(tmp_path, tiny.write_bag(tmp_path, "m", [tiny.tiny_htdemucs()])), rows=2)
    network = loaded.network
    recordings = [noise(length) for length in (4000, 9000, 14_001)]

    def separated(audio: np.ndarray, loaded: Loaded) -> np.ndarray:
        recording = Recording(lambda: iter([audio]), network.sample_rate, 2, audio.shape[1])
        return np.concatenate([block["vocals"] for block in estimates(loaded, recording)], axis=1)

    alone = [separated(audio, loaded) for audio in recordings]
    original, sizes = network._run, []

    def small(index: int, audio: np.ndarray):
        sizes.append(len(audio))
        if len(audio) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(index, audio)

    network._run = small
    shared = replace(loaded, passes=SharedPasses(4))

    def item(audio: np.ndarray) -> np.ndarray:
        with shared.passes.member():
            return separated(audio, shared)

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(item, recordings))
    for made, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(made, expected, atol=1e-5)
    assert sizes[0] == 4 and set(sizes[1:]) == {2}
