"""Profile a checkpoint: latency, real-time factor, memory, size and arithmetic, for several run times side by side."""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.utils.flop_counter import FlopCounterMode

from audiorestorer.devices import pick_device
from audiorestorer.errors import AudioRestorerError
from audiorestorer.files import write_bytes_atomic, write_json
from audiorestorer.models.backends import BACKENDS, runner
from audiorestorer.models.export import export
from audiorestorer.models.mask_unet import MaskUNet, load_checkpoint
from audiorestorer.report.figures import AFTER, BEFORE, png_bytes
from audiorestorer.training.settings import check_network

WARM_UP_RUNS = 3
TOLERANCE = 1e-3  # between backends, for an input of RMS 1: more is another model, not another run time


def run(
    checkpoint: Path,
    out_json: Path,
    *,
    config: Path | None = None,
    device: str = "auto",
    secs: float = 10.0,
    runs: int = 20,
    threads: int = 1,
    backends: Sequence[str] = BACKENDS,
    figure: Path | None = None,
) -> dict[str, Any]:
    """Write the profile as JSON and print it as a table.

    Each backend runs in a process of its own, so that its peak memory is its own; `memory_mb` is the peak above what the process held
    with its libraries loaded. FLOPs are those of the torch operators that `FlopCounterMode` counts (convolutions and products), and of
    the recurrent cells by their formula: 2 (inputs + hidden) gates hidden, a step and direction.

    Raises:
        AudioRestorerError: not a checkpoint, or impossible arguments.
    """
    network, _ = load_checkpoint(checkpoint)
    if config is not None:
        check_network(network.config, Path(config))
    if secs <= 0 or runs < 1:
        raise AudioRestorerError("--secs must be above 0 and --runs at least 1")
    device = pick_device(device, threads)
    rate = network.config.sample_rate
    content = export(network, {}, int(2 * rate))
    result: dict[str, Any] = {
        "checkpoint": str(checkpoint),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "file_mb": round(Path(checkpoint).stat().st_size / 1e6, 3),
        "gflop_per_second_of_audio": round(flops(network) / 1e9, 3),
        "secs": secs,
        "runs": runs,
        "threads": threads,
        "device": device,
        "backends": {},
    }
    for backend in backends:
        figures = _in_its_own_process(backend, str(checkpoint), content, device, threads, secs, runs)
        result["backends"][backend] = figures
        print(_line(backend, figures), flush=True)
    write_json(out_json, result)
    if figure:
        write_bytes_atomic(figure, _figure(result))
    print(f"{result['parameters']} parameters, {result['gflop_per_second_of_audio']} GFLOP a second of audio")
    return result


def flops(network: MaskUNet) -> float:
    """Floating-point operations a second of audio."""
    seconds = 4
    counter = FlopCounterMode(display=False)
    steps: list[tuple[torch.nn.RNNBase, int]] = []
    cells = [module for module in network.modules() if isinstance(module, torch.nn.RNNBase)]
    hooks = [cell.register_forward_hook(lambda m, given, _: steps.append((m, given[0].shape[1]))) for cell in cells]
    with torch.no_grad(), counter:
        network(torch.randn(1, 1, seconds * network.config.sample_rate))
    for hook in hooks:
        hook.remove()
    recurrent = 0.0
    for cell, count in steps:
        gates, directions = (4 if isinstance(cell, torch.nn.LSTM) else 3), (2 if cell.bidirectional else 1)
        recurrent += 2.0 * (cell.input_size + cell.hidden_size) * gates * cell.hidden_size * directions * count
    return (counter.get_total_flops() + recurrent) / seconds


def _in_its_own_process(*arguments: Any) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_worker, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        figures: dict[str, Any] = ours.recv()
    except EOFError:
        process.join()
        return {"reason": f"the process ended with code {process.exitcode}"}
    process.join()
    return figures


def _worker(
    pipe: Any, backend: str, checkpoint: str, content: bytes, device: str, threads: int, secs: float, runs: int
) -> None:
    try:
        pipe.send(measure(backend, checkpoint, content, device, threads, secs, runs))
    except Exception as error:  # a backend that is missing or fails is a row of the table, not the end of it
        pipe.send({"reason": f"{type(error).__name__}: {error}".splitlines()[0]})


def measure(
    backend: str, checkpoint: str, content: bytes, device: str, threads: int, secs: float, runs: int
) -> dict[str, Any]:
    """One backend's figures, in this process."""
    network, _ = load_checkpoint(checkpoint)
    audio = np.random.default_rng(0).standard_normal((1, 1, int(secs * network.config.sample_rate))).astype(np.float32)
    torch.set_num_threads(threads)
    with torch.no_grad():
        wanted = network(torch.from_numpy(audio[:, :, : network.config.sample_rate])).numpy()
    _forget_peak()
    idle = _peak_mb()
    start = time.perf_counter()
    call = runner(backend, network, content, device, threads)
    load_sec = time.perf_counter() - start
    difference = float(np.abs(call(audio[:, :, : network.config.sample_rate]) - wanted).max())
    if difference > TOLERANCE:
        raise AudioRestorerError(f"differs from PyTorch by {difference:.1e}")
    for _ in range(WARM_UP_RUNS):
        call(audio)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call(audio)
        times.append(time.perf_counter() - start)
    p50, p90, p99 = (float(value) * 1000 for value in np.percentile(times, [50, 90, 99]))
    found = {
        "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "mean_ms": float(np.mean(times)) * 1000,
        "real_time_factor": p50 / 1000 / secs, "load_sec": load_sec, "memory_mb": _peak_mb() - idle, "peak_rss_mb": _peak_mb(),
    }  # fmt: skip
    if device.startswith("cuda") and backend == "torch":
        found["gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return {**{name: round(value, 4) for name, value in found.items()}, "max_difference": difference}


def _peak_mb() -> float:
    """Peak resident memory of this process. Not `getrusage`'s: that one remembers the process that started this one."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError, ValueError):  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _forget_peak() -> None:
    """Linux: the peak starts again from what is held now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _line(backend: str, figures: dict[str, Any]) -> str:
    if "reason" in figures:
        return f"{backend:12} absent: {figures['reason']}"
    return (
        f"{backend:12} p50 {figures['p50_ms']:8.1f} ms  p90 {figures['p90_ms']:8.1f}  p99 {figures['p99_ms']:8.1f}"
        f"  real-time factor {figures['real_time_factor']:.4f}  memory {figures['memory_mb']:.0f} MB"
    )


def _figure(result: dict[str, Any]) -> bytes:
    """p50 as bars, p99 as marks."""
    measured = {name: row for name, row in result["backends"].items() if "reason" not in row}
    figure = Figure(figsize=(7, 2.4), layout="constrained")
    axis = figure.add_subplot()
    names = list(measured)
    axis.barh(names, [measured[name]["p50_ms"] for name in names], color=AFTER, label="p50")
    axis.plot([measured[name]["p99_ms"] for name in names], names, "|", color=BEFORE, markersize=14, label="p99")
    axis.set_xlabel(f"ms for {result['secs']:g} s of audio, {result['threads']} thread(s)")
    axis.legend(frameon=False)
    return png_bytes(figure)
