"""What a machine is, for the heads of tables."""

from __future__ import annotations

import os
from pathlib import Path


def hardware() -> str:
    """Cores, processor with the instructions that count, memory."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = next(
        (line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown CPU"
    )
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {flag}" in text]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(os.sched_getaffinity(0))} cores, {name} ({', '.join(flags)}), {memory:.0f} GiB"
