"""Memory that a process keeps is not asked for again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from audiorestorer.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
bytearray(1 << 26)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    bytearray(1 << 26)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_kept_memory_is_not_asked_for_again():
    """64 MiB are 16,384 pages of 4 KiB (32 with huge pages, which fault too)."""
    asked = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True, text=True).stdout)
        for how in ("keep", "give back")
    }
    assert asked["keep"] < 16 and asked["give back"] >= 4 * 32
