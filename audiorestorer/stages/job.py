"""Where a job finds and keeps finished items, and what it may use. No torch import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STORE = Path("artifacts/store")


@dataclass(frozen=True)
class Job:
    """The part of a command line that changes no result.

    Attributes:
        store: folder of finished items.
        device: where networks run: auto, cpu, cuda or cuda:N.
        threads: threads of a network on a CPU.
    """

    store: Path = STORE
    device: str = "auto"
    threads: int = 1
