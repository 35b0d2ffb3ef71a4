"""What this process holds, as its allocators count it: resident memory also has what they keep for later."""

from __future__ import annotations

import ctypes
import gc
import sys


class _Mallinfo2(ctypes.Structure):
    """glibc's `struct mallinfo2` (malloc.h, from 2.33 on)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def malloc_bytes() -> int | None:
    """Bytes that malloc has given out: torch's and libraries' memory, and Python's larger objects; None without glibc 2.33."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return None
    mallinfo2.restype = _Mallinfo2
    gc.collect()
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)


def python_blocks() -> int:
    """How many blocks Python's own allocator has given out (objects of up to 512 bytes, some 60 bytes each)."""
    gc.collect()
    return sys.getallocatedblocks()
