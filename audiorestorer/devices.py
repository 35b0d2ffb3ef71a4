"""The device of a job: on a machine with several GPUs it takes a free one and holds it until it ends. Imports torch only when asked.

Snakemake counts GPUs (`--resources gpu=2`) and does not say which one a job may use. Each GPU has a lock file, named by its UUID, that
the kernel drops when the process dies, kill -9 included. Where the caller sees one GPU or none (a cluster's scheduler has chosen, or
there is nothing to choose) nothing is locked.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from audiorestorer import locks
from audiorestorer.errors import AudioRestorerError
from audiorestorer.installed import SETUP_MODELS

log = logging.getLogger("audiorestorer")

VISIBLE = "CUDA_VISIBLE_DEVICES"
LOCKS = Path("/tmp")  # not $TMPDIR, which differs between jobs; the machine's, since GPUs are the machine's
POLL_SEC = 0.5
GPU_NODES = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))  # NVIDIA, AMD, and Windows' Linux
_held: dict[str, int] = {}  # the GPU of this process -> the descriptor that locks it


def installed() -> list[str]:
    """The UUIDs of the machine's GPUs in the driver's order; empty where there is no driver."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []


def visible(gpus: list[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The GPUs that `CUDA_VISIBLE_DEVICES` leaves of these: its entries (indices, or UUIDs or their beginnings) -> UUID.

    As CUDA reads it: without the variable all, and nothing behind the first entry that names no GPU. Parts of a GPU (MIG) stand for
    themselves.
    """
    if VISIBLE not in environment:
        return {uuid: uuid for uuid in gpus}
    entries: dict[str, str] = {}
    for entry in (part.strip() for part in environment[VISIBLE].split(",")):
        if entry.startswith("MIG-"):
            entries[entry] = entry
            continue
        named = gpus[int(entry) : int(entry) + 1] if entry.isdecimal() else []
        named = named or [uuid for uuid in gpus if entry.startswith("GPU-") and uuid.startswith(entry)]
        if len(named) != 1:
            break
        entries[entry] = named[0]
    return entries


def claim(device: str) -> str | None:
    """Take a free GPU and make it the only one that CUDA sees in this process; wait while none is free. Before CUDA starts.

    Args:
        device: `auto` or `cuda`; nothing is done for `cpu` and for a device that was chosen by its number.

    Returns:
        the entry of `CUDA_VISIBLE_DEVICES` that was taken; None if there was nothing to choose.
    """
    if device not in ("auto", "cuda"):
        return None
    if _held:
        return next(iter(_held))
    choice = visible(installed(), os.environ)
    if len(choice) < 2:
        return None
    waiting = False
    while True:
        for entry, uuid in choice.items():
            descriptor = _lock(LOCKS / f"audiorestorer_{uuid}.lock")
            if descriptor is not None:
                _held[entry] = descriptor
                os.environ[VISIBLE] = entry
                log.info("GPU %s of %s", entry, ", ".join(choice))
                return entry
        if not waiting:
            log.info("all %d GPUs are in use: waiting for one", len(choice))
        waiting = True
        time.sleep(POLL_SEC)


def on_gpu(device: str) -> bool:
    return device.startswith("cuda")


def pick_device(device: str, threads: int) -> str:
    """Resolve `auto` and set the threads of torch: one of `cpu`, `cuda`, `cuda:n`. Of several GPUs, `auto` and `cuda` take a free one.

    Where no GPU can be, torch is not imported; whoever imports it then calls `use_threads`.

    Raises:
        AudioRestorerError: a GPU is asked for and there is none (or not that one), or torch is not installed.
    """
    if device == "cpu" or (device == "auto" and not may_have_gpu()):
        if "torch" in sys.modules:
            use_threads(threads)
        return "cpu"
    claim(device)
    try:
        import torch
    except ImportError as error:
        if device == "auto":
            log.warning("a GPU is here and is not used: torch is not installed (`%s` installs it)", SETUP_MODELS)
            return "cpu"
        raise AudioRestorerError(
            f"device {device}: torch is not installed: `{SETUP_MODELS}` installs it, or use `cpu`"
        ) from error
    use_threads(threads)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        if not count:
            log.warning("a GPU is here and is not used: torch %s cannot use it (driver or build)", torch.__version__)
        return "cuda" if count else "cpu"
    if on_gpu(device):
        index = int(device.partition(":")[2] or 0)
        if index >= count:
            raise AudioRestorerError(f"device {device}: this machine has {count} usable GPUs; use `auto` or `cpu`")
    return device


def use_threads(threads: int) -> None:
    """Set how many threads torch computes with on a CPU."""
    import torch

    torch.set_num_threads(max(1, threads))


def may_have_gpu() -> bool:
    """Whether a GPU that torch could use may be visible here; asks no library."""
    hidden = any(os.environ.get(name) in ("", "-1") for name in (VISIBLE, "HIP_VISIBLE_DEVICES"))
    return not hidden and any(path.exists() for path in GPU_NODES)


def _lock(path: Path) -> int | None:
    """The descriptor that holds the lock; None if another process has it. Reading suffices: the file may be another user's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        descriptor = os.open(path, os.O_RDONLY)
    if locks.taken(descriptor):
        return descriptor
    os.close(descriptor)
    return None
