"""Soft ratio masks and their fusion."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.float32]


def share(part: NDArray[Any], rest: NDArray[Any], power: float, eps: float) -> Mask:
    """|part|^p / (|part|^p + |rest|^p + eps), in [0, 1].

    Both magnitudes are first divided by the larger of the two, cell by cell: the ratio is the same, but eps is then relative, so it
    cannot erase quiet sound, and no power of a small number underflows. Cells without any energy get 1: nothing is there to remove.

    Args:
        part, rest: spectra or magnitudes of one shape.
    """
    a, b = np.abs(part), np.abs(rest)
    top = np.maximum(a, b)
    silent = top == 0
    top[silent] = 1
    a, b = (a / top) ** power, (b / top) ** power
    mask: Mask = (a / (a + b + eps)).astype(np.float32)
    mask[silent] = 1
    return mask


def ratio_mask(vocals: NDArray[Any], accompaniment: NDArray[Any], eps: float = 1e-12, power: float = 2.0) -> Mask:
    """The ratio mask of one separator: |V|^p / (|V|^p + |A|^p + eps), of the spectra's shape.

    Where V = m X and A = (1 - m) X, as a network of one real mask gives them, power 1 is m itself and 2 a sharper mask.
    """
    return share(vocals, accompaniment, power, eps)


def fuse_max(masks: Iterable[Mask]) -> Mask:
    """M = max_i M_i: everything that any separator takes for speech is kept."""
    return reduce(np.maximum, masks)


def fuse_mean(masks: Iterable[Mask]) -> Mask:
    """M = mean_i M_i: the separators' errors average out."""
    stacked = list(masks)
    return np.asarray(reduce(np.add, stacked) / np.float32(len(stacked)), np.float32)
