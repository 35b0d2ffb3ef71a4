"""Common parts of the benchmarks: models of the released sizes with random weights, clips, a timer, the machine's GEMM peak."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile as sf
import torch
import yaml

from audiorestorer.manifest import Item, write_manifest
from audiorestorer.store import sha256_file
from audiorestorer.training.settings import TrainSettings
from scripts.machine import hardware

ROOT = Path(__file__).resolve().parents[2]

RATE = 44_100
SOURCES = ["drums", "bass", "other", "vocals"]
ONE_HOT = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
GEMM_SIZE = 3072


def package(model: Any) -> dict[str, Any]:
    args, kwargs = model._init_args_kwargs
    return {"klass": type(model), "args": args, "kwargs": kwargs, "state": model.state_dict()}


def network_of(name: str) -> Any:
    """A network of the released size with random weights: a member of a bag, or DNS64."""
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs

    if name == "htdemucs_ft":
        return HTDemucs(SOURCES, segment=Fraction(39, 5), t_layers=5, bottom_channels=512, samplerate=RATE)
    if name == "mdx_extra_q":
        return HDemucs(SOURCES, samplerate=RATE, segment=44)
    from denoiser.demucs import Demucs

    return Demucs(hidden=64, sample_rate=16_000)


def write_models(folder: Path) -> dict[str, Path]:
    """Full-size bags in `folder/repo` and a DNS64 with random weights; for each the record that our stages read.

    `folder/models.yaml` is the registry of the same.
    """
    torch.manual_seed(0)
    repo = folder / "repo"
    repo.mkdir()
    bags: dict[str, dict[str, Any]] = {
        "htdemucs_ft": {"models": [f"{0xA0 + k:08x}" for k in range(4)], "weights": ONE_HOT},
        "mdx_extra_q": {"models": [f"{0xB0 + k:08x}" for k in range(4)], "segment": 44},
    }
    for name, bag in bags.items():
        for signature in bag["models"]:
            torch.save(package(network_of(name)), repo / f"{signature}.th")
        (repo / f"{name}.yaml").write_text(yaml.safe_dump(bag))
    files = {name: [repo / f"{name}.yaml", *(repo / f"{s}.th" for s in bag["models"])] for name, bag in bags.items()}
    try:
        from denoiser.utils import serialize_model

        path = folder / "dns64.th"
        torch.save(serialize_model(network_of("dns64")), path)
        files["dns64"] = [path]
    except ImportError:
        print("the denoiser package is not installed (make setup-extras): dns64 is not measured", file=sys.stderr)
    registry = {
        name: {"kind": _kind(name), "task": "denoise" if name == "dns64" else "separate", "source": str(paths[0].parent),
               "licence": "none", "sample_rate": _rate(name), "files": [{"name": path.name} for path in paths]}
        for name, paths in files.items()
    }  # fmt: skip
    (folder / "models.yaml").write_text(yaml.safe_dump({"models": registry}))
    return {name: record(folder, name, paths) for name, paths in files.items()}


def _kind(name: str) -> str:
    return "dns64" if name == "dns64" else "demucs"


def _rate(name: str) -> int:
    return 16_000 if name == "dns64" else RATE


def record(folder: Path, name: str, files: list[Path]) -> Path:
    """The record of a fetched model."""
    content = {
        "name": name, "kind": _kind(name), "source": "bench", "digest": name, "trust": False, "licence": "none",
        "files": [{"path": str(path), "sha256": sha256_file(path)} for path in files], "sample_rate": _rate(name),
    }  # fmt: skip
    out = folder / f"{name}.json"
    out.write_text(json.dumps(content))
    return out


def write_clips(folder: Path, count: int, seconds: float, rate: int, channels: int = 1) -> list[Path]:
    """Gliding harmonic tones in syllables over noise; files `[C, T]` of equal length, all different, written in parts."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        rng = np.random.default_rng(number)
        pitch = 120 + 40 * rng.random()
        path = folder / f"clip{number:05d}.wav"
        total, done = int(seconds * rate), 0
        kind = "RF64" if total * channels * 4 > 4_000_000_000 else "WAV"
        with sf.SoundFile(str(path), "w", rate, channels, "FLOAT", format=kind) as file:
            while done < total:
                t = np.arange(done, min(total, done + 60 * rate)) / rate
                phase = 2 * np.pi * (pitch * t - 30 / (2 * np.pi * 0.7) * np.cos(2 * np.pi * 0.7 * t))
                voice = sum(np.sin(k * phase) / k for k in range(1, 20)) * (np.sin(2 * np.pi * 3 * t) > -0.3)
                wave = 0.1 * voice[:, None] + 0.02 * rng.standard_normal((len(t), channels))
                file.write(wave.astype(np.float32))
                done += len(t)
        paths.append(path)
    return paths


def rows(path: Path, clips: list[Path], seconds: float, rate: int, channels: int = 1) -> Path:
    """A manifest of clips as any stage takes it."""
    items = []
    for clip in clips:
        digest = sha256_file(clip)
        items.append(
            Item(
                id=clip.stem, noisy=str(clip), path=str(clip), sha256=digest, noisy_sha256=digest, sr=rate, channels=channels,
                duration=seconds, stems={"vocals": str(clip)}, output=clip.name,
            )
        )  # fmt: skip
    write_manifest(path, items)
    return path


def stage(name: str, *arguments: Any) -> list[str]:
    """The command line of a stage."""
    return [sys.executable, "-m", "audiorestorer", name, *map(str, arguments)]


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(ROOT), "PATH": path}


def started(command: list[str], **environment: str) -> subprocess.Popen[bytes]:
    """`environment`: what differs; an empty value takes the variable away."""
    chosen = {key: value for key, value in {**_environment(), **environment}.items() if value}
    return subprocess.Popen(command, cwd=ROOT, env=chosen, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _watch(process: psutil.Process, highest: dict[int, float], ended: threading.Event) -> None:
    """Highest resident memory (MB) of a process and its children. The kernel's own figure counts the parent's memory too."""
    while not ended.wait(0.1):
        try:
            family = [process, *process.children(recursive=True)]
        except psutil.Error:
            return
        for member in family:
            try:
                text = Path(f"/proc/{member.pid}/status").read_text()
            except OSError:
                continue
            found = re.search(r"VmHWM:\s+(\d+)", text)
            if found:
                highest[member.pid] = max(highest.get(member.pid, 0.0), int(found[1]) / 1024)


def timed(command: list[str], **environment: str) -> tuple[float, float]:
    """Wall seconds and peak memory (MB; of the largest process) of a command.

    Raises:
        SystemExit: it failed; its last lines.
    """
    highest: dict[int, float] = {}
    ended = threading.Event()
    start = time.perf_counter()
    process = started(command, **environment)
    watcher = threading.Thread(target=_watch, args=(psutil.Process(process.pid), highest, ended))
    watcher.start()
    _, text = process.communicate()
    wall = time.perf_counter() - start
    ended.set()
    watcher.join()
    if process.returncode:
        sys.exit(f"failed: {' '.join(command)[:300]}\n{text.decode(errors='replace')[-3000:]}")
    return wall, max(highest.values(), default=0.0)


def gemm_peak(precision: str, threads: int) -> float:
    """FLOP/s of a large matrix product: the best of torch's, of a 1 x 1 convolution (oneDNN) and, in float32, of numpy's (OpenBLAS).

    Which of them is the best depends on the CPU's maker.
    """
    torch.set_num_threads(threads)
    kind = getattr(torch, precision)
    a, b = (torch.randn(GEMM_SIZE, GEMM_SIZE).to(kind) for _ in range(2))
    image, kernel = a.reshape(1, GEMM_SIZE, 1, GEMM_SIZE), b.reshape(GEMM_SIZE, GEMM_SIZE, 1, 1)
    ways = [lambda: a @ b, lambda: torch.nn.functional.conv2d(image, kernel)]
    if precision == "float32":
        c, d = a.numpy(), b.numpy()
        ways.append(lambda: c @ d)  # type: ignore[arg-type, return-value]
    best = float("inf")
    for way in ways * 4:
        start = time.perf_counter()
        way()
        best = min(best, time.perf_counter() - start)
    return 2 * GEMM_SIZE**3 / best


def training_step(settings: TrainSettings) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """A mask network's step on one thread, of mixture and target `[B, 1, T]`: forward, loss, backward, optimiser."""
    from audiorestorer.training.module import MaskModule

    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = MaskModule(settings).train()
    module.log = module.log_dict = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    optimiser = module.configure_optimizers()["optimizer"]

    def step(mixture: torch.Tensor, target: torch.Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16-mixed"):
            loss = module.training_step((mixture, target), 0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def flops(network: torch.nn.Module, channels: int, length: int) -> float:
    """Floating-point operations of a pass over one window: matrix products and convolutions, LSTMs by their formula."""
    from torch.utils.flop_counter import FlopCounterMode

    recurrent = 0.0

    def count(layer: torch.nn.LSTM, inputs: Any, _: Any) -> None:
        nonlocal recurrent
        steps, batch = inputs[0].shape[:2]
        sizes = [layer.input_size] + [layer.hidden_size * (1 + layer.bidirectional)] * (layer.num_layers - 1)
        each = sum(8 * layer.hidden_size * (size + layer.hidden_size) for size in sizes)
        recurrent += steps * batch * each * (1 + layer.bidirectional)

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, torch.nn.LSTM)]
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        network.eval()(torch.zeros(1, channels, length))
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops() + recurrent


def machine() -> str:
    """One line on the machine."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{hardware()}, {gpu}, torch {torch.__version__}"
