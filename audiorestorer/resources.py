"""What a job needs: memory and minutes as functions of its shard, its stage or model, and the attempt.

The figures are docs/lab/performance.md's (a test compares them), the margins are for slower machines. A first attempt that was cut too
short is corrected by the next one, which asks for twice as much and finds the finished items in the store. No torch import.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

MEMORY_MARGIN = 1.5
MEMORY_BASE_MB = 300
TIME_MARGIN = 4.0  # the slowest cores that we care for, and a file system with other users
TIME_BASE_MIN = 10  # start-up, weights from a cold disk, converting networks on a first run


@dataclass(frozen=True)
class Load:
    """The usable audio of a shard: seconds, and seconds times channels."""

    seconds: float
    channel_seconds: float


UNKNOWN = Load(3600.0, 7200.0)  # before ingest has looked; asked again when the job is ready


@dataclass(frozen=True)
class Cost:
    """What a stage or a model takes.

    Attributes:
        memory_mb: peak, which does not depend on the length of a file.
        channel: core seconds a second of each channel, on a CPU; a GPU takes less.
        file: core seconds a second of a file, of as many channels as it may have.
    """

    memory_mb: int
    channel: float = 0.0
    file: float = 0.0

    def ask_mb(self, attempt: int, processes: int = 1) -> int:
        """Memory to ask for, MB, in hundreds; twice as much with each attempt."""
        whole = self.memory_mb * max(1, processes) * MEMORY_MARGIN + MEMORY_BASE_MB
        return math.ceil(whole / 100) * 100 * 2 ** (attempt - 1)

    def ask_minutes(self, load: Load, threads: int, attempt: int) -> int:
        """Wall time to ask for, minutes; twice as much with each attempt."""
        work = self.channel * load.channel_seconds + self.file * load.seconds
        return math.ceil(TIME_BASE_MIN + TIME_MARGIN * work / max(1, threads) / 60) * 2 ** (attempt - 1)


HTDEMUCS = Cost(1650, file=0.57)
MDX_BAG = Cost(6530, file=0.96)
DNS64 = Cost(2030, channel=0.09)
MASK_NETWORK = Cost(1750, channel=0.1)
DEEPFILTERNET = Cost(3000, channel=0.06)
FRAME_BY_FRAME = Cost(1000, channel=0.1)  # GTCRN, DTLN
FUSION = Cost(2200, channel=0.06)
ROFORMER = Cost(5000, file=11.0)  # Kim's, in OpenVINO in float32, in pairs of channels; its memory was not measured
BANDIT = Cost(4000, channel=4.0)  # not measured: to be on the safe side
ENHANCER = Cost(
    3000, channel=9.0
)  # of the reference size, which was timed on its architecture alone; the pilot takes less
EXTENSION = Cost(2500, channel=1.0)  # with its denoiser; clipped recordings take the most
BY_SOURCE = {"hf:htdemucs": HTDEMUCS, "hf:htdemucs_ft": HTDEMUCS}
BY_KIND = {
    "dns64": DNS64, "mask_network": MASK_NETWORK, "enhancer": ENHANCER, "demucs": MDX_BAG, "deepfilternet": DEEPFILTERNET,
    "extension": EXTENSION, "gtcrn": FRAME_BY_FRAME, "dtln": FRAME_BY_FRAME, "fusion": FUSION, "roformer": ROFORMER, "bandit": BANDIT,
}  # fmt: skip
WHOLE_BAG = 4  # members


def of_model(kind: str, source: str, *, whole_bag: bool = False) -> Cost:
    """A network's cost by the registry's `kind` and `source`; one that was never measured counts as the dearest.

    Args:
        whole_bag: all members of a fine-tuned bag run (`accompaniment: stems`), not only the one that carries the vocals.
    """
    cost = BY_SOURCE.get(source) or BY_KIND.get(kind, MDX_BAG)
    if whole_bag and source == "hf:htdemucs_ft":
        return Cost(cost.memory_mb * WHOLE_BAG, file=cost.file * WHOLE_BAG)
    return cost


def one_after_the_other(costs: Sequence[Cost]) -> Cost:
    """What a job takes that does several things (the groups of metrics): seconds add up, of the memory the largest counts."""
    memory = max((cost.memory_mb for cost in costs), default=100)
    return Cost(memory, sum(cost.channel for cost in costs), sum(cost.file for cost in costs))


def load_of(manifest: str | Path) -> Load:
    """What ingest found in a shard; `UNKNOWN` until its manifest is there. Read once as long as the file stays the same."""
    try:
        stamp = Path(manifest).stat()
        return _read(str(manifest), stamp.st_mtime_ns, stamp.st_size)
    except FileNotFoundError:
        return UNKNOWN


@lru_cache(maxsize=4096)
def _read(manifest: str, mtime_ns: int, size: int) -> Load:
    seconds = channel_seconds = 0.0
    with open(manifest, encoding="utf-8") as file:
        for row in (json.loads(line) for line in file if line.strip()):
            if row.get("status", "ok") == "ok":
                duration = row.get("duration") or 0.0
                seconds += duration
                channel_seconds += duration * (row.get("channels") or 1)
    return Load(seconds, channel_seconds)


def growing(mem_mb: int, runtime: int) -> dict[str, Callable[..., int]]:
    """`mem_mb` and `runtime` of a job that is no shard's, for `resources:`: twice as much at each attempt."""
    return {
        "mem_mb": lambda wildcards, attempt: mem_mb * 2 ** (attempt - 1),
        "runtime": lambda wildcards, attempt: runtime * 2 ** (attempt - 1),
    }
