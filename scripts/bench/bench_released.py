"""Released networks for GPUs on this CPU: another implementation's forward, ours in plain torch, and ours in OpenVINO.

    python -m scripts.bench.bench_released [--only NAME] [--rounds N] [--threads N] [--json FILE]

Random weights of the released sizes (time does not depend on the values), a window of 8 s. The peer is pymss-core, which tests prove
ours equal to; Bandit's peer runs in its training's gradient checkpoints, as its authors wrote it. Prints Markdown; docs/models.md has
it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiorestorer.models import bandit, registry, released, roformer
from audiorestorer.separators import ModelFiles, Options, load
from audiorestorer.separators.runtime.compiled import has_bfloat16
from scripts.bench.bench_common import machine

NAMES = ("mel_roformer_kim", "bs_roformer_viperx", "bandit_v2")
ROOT = Path(__file__).parents[2]


def peer(name: str, settings: Any) -> torch.nn.Module:
    from pymss_core.modules.bandit_v2.bandit import Bandit
    from pymss_core.modules.bs_roformer.bs_roformer import BSRoformer
    from pymss_core.modules.bs_roformer.mel_band_roformer import MelBandRoformer

    if name == "bandit_v2":
        return Bandit(
            in_channels=1, stems=settings.stems, fs=48_000, n_sqm_modules=8, rnn_type="GRU", pad_mode="reflect"
        ).eval()
    sizes = {
        "dim": settings.dim, "depth": settings.depth, "stereo": True, "time_transformer_depth": 1, "freq_transformer_depth": 1,
        "stft_hop_length": 441, "mask_estimator_depth": 2,
    }  # fmt: skip
    if settings.num_bands:
        return MelBandRoformer(**sizes, num_bands=settings.num_bands, mlp_hidden_layers=2).eval()
    return BSRoformer(**sizes).eval()


def own(name: str, folder: Path, backend: Any, precision: Any, threads: int) -> Any:
    entry = registry.load(ROOT / "config/models.yaml").get(name)
    settings = released.settings_of(entry.kind, entry.network, [], name)
    module: Any = {"roformer": roformer, "bandit": bandit}[entry.kind]
    path = folder / f"{name}.ckpt"
    if not path.exists():
        build = roformer.Roformer if entry.kind == "roformer" else bandit.Bandit
        torch.save(build(settings, list(module.layout(settings).widths)).state_dict(), path)
    model = ModelFiles(
        name, entry.kind, "none", [path], {str(path): name}, name, entry.sample_rate, False, entry.network
    )
    options = Options(backend=backend, precision=precision, threads=threads, cache=folder / "compiled")
    return load(model, options).network


def timed(run: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """The first call's seconds, and the median of the next ones."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds[0], statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=NAMES, help="measure one network")
    parser.add_argument("--rounds", type=int, default=2, help="windows that are timed, after the first")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of each")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    print(f"{machine()}; {args.threads} threads; a window of 8 s\n")
    print(
        "| network | run as | seconds | real time | times the peer | first call, s |\n| --- | --- | ---: | ---: | ---: | ---: |"
    )
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for name in [name for name in NAMES if args.only in (None, name)]:
            entry = registry.load(ROOT / "config/models.yaml").get(name)
            settings = released.settings_of(entry.kind, entry.network, [], name)
            channels = 1 if name == "bandit_v2" else 2
            audio = (
                np.random.default_rng(0).standard_normal((1, channels, 8 * settings.sample_rate)).astype(np.float32)
                / 10
            )
            ways: dict[str, Callable[[], Any]] = {}
            theirs = peer(name, settings)
            ways["pymss-core"] = lambda theirs=theirs, audio=audio: theirs(torch.from_numpy(audio))
            kinds = [
                ("torch", "float32"),
                ("openvino", "float32"),
                *([("openvino", "bfloat16")] if has_bfloat16() else []),
            ]
            base = None
            for what, (backend, precision) in [("pymss-core", ("", "")), *((" ".join(kind), kind) for kind in kinds)]:
                if backend:
                    network = own(name, Path(folder), backend, precision, args.threads)
                    ways[what] = lambda network=network, audio=audio: network(audio)
                first, seconds = timed(ways.pop(what), args.rounds)
                base = base or seconds
                rows.append(
                    {"network": name, "way": what, "seconds": seconds, "ratio": base / seconds, "first_sec": first}
                )
                print(
                    f"| {name} | {what} | {seconds:.1f} | {seconds / 8:.2f} | {base / seconds:.2f} | {first:.0f} |",
                    flush=True,
                )
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
