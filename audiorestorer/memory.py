"""How a process keeps the memory that it frees. No torch import."""

from __future__ import annotations

import contextlib
import ctypes


def keep_freed_memory() -> None:
    """For commands that need the same tensors again and again: glibc hands what is larger than 128 KiB back to the system as soon as
    it is freed, and asking for it anew (page faults) was 40 % of a training step and a quarter of a network's pass
    (docs/lab/performance.md). With another C library nothing changes."""
    m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(m_mmap_max, 0)
        library.mallopt(m_trim_threshold, 2**31 - 1)
