"""Growth: memory with the length of a file, seconds per item with the number of items, the time of two jobs side by side.

    python -m scripts.bench.bench_limits memory [--hours 3]     every stage on a long file and on one of three minutes
    python -m scripts.bench.bench_limits growth [--most 1000]   the pilot chain on 10, 100, ... items
    python -m scripts.bench.bench_limits threads                two jobs of two threads at once against one after the other

Each prints Markdown; docs/lab/performance.md has it. `--json FILE` writes the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
import yaml

from audiorestorer.config import Config
from scripts.bench.bench_common import (
    RATE,
    ROOT,
    SOURCES,
    machine,
    package,
    record,
    rows,
    stage,
    started,
    timed,
    write_clips,
    write_models,
)

MINUTES = 3
GROWTH_SEC = 2.0
SEPARATORS = ("pilot_sep_a", "pilot_sep_b")
PILOTS = (*SEPARATORS, "pilot_denoiser")
# without wer: it hears every second, at real time
MEASURED = ["loudness", "music", "signal", "intelligibility", "pesq", "dnsmos"]


def small_demucs(folder: Path) -> Path:
    """The record of a small HTDemucs: recordings are streamed alike for all sizes."""
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(0)
    network = HTDemucs(SOURCES, channels=8, segment=Fraction(39, 5), t_layers=1, t_heads=2, samplerate=RATE)
    path = folder / "small.th"
    torch.save(package(network), path)
    return record(folder, "small", [path])


def memory_of_stages(folder: Path, seconds: float, tag: str, models: dict[str, Path], threads: int) -> dict[str, float]:
    """Peak memory (MB) of each stage on one stereo file."""
    work = folder / tag
    write_clips(work / "in", 1, seconds, RATE, channels=2)
    config = Config()
    peaks_mb: dict[str, float] = {}
    common = ["--store", work / "store"]
    network = ["--device", "cpu", "--threads", threads]

    def go(name: str, *arguments: Any) -> Path:
        out = work / f"{name}.jsonl"
        command = stage(name.partition(":")[0], *arguments[:-1], out, *arguments[-1], *common)
        peaks_mb[name] = timed(command)[1]
        print(f"{tag}: {name}: {peaks_mb[name]:.0f} MB", file=sys.stderr, flush=True)
        return out

    whole = config.model_copy(update={"input": str(work / "in"), "shards": 1, "references": str(work / "in")})
    start = go("ingest", ["--config", whole.model_dump_json(), "--shard", 0])
    stems = []
    for number, settings in enumerate(config.separators):
        cfg = ["--config", settings.model_dump_json(), "--model", models[settings.model], *network]
        stems.append(go(f"separate:{'ab'[number]}", start, cfg))
    small = config.separators[0].model_copy(update={"name": "small", "model": "small"})
    go("separate:htdemucs", start, ["--config", small.model_dump_json(), "--model", models["small"], *network])
    averaged = config.fuse.model_copy(update={"method": "average"})
    fused = go("fuse", *stems, ["--config", averaged.model_dump_json()])
    cfg = ["--config", config.denoise.model_dump_json(), "--model", models["pilot_denoiser"], *network]
    clean = go("denoise", fused, cfg)
    clean = go("postmask", clean, ["--config", config.postmask.model_dump_json()])
    clean = go("loudness", clean, ["--config", config.loudness.model_dump_json()])
    for group in MEASURED:
        settings_of = config.evaluate.model_copy(update={"metrics": [group]})
        go(f"evaluate:{group}", clean, ["--config", settings_of.model_dump_json()])
    return peaks_mb


def bench_memory(args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as name:
        folder = Path(name)
        models = {"small": small_demucs(folder)}
        for model in PILOTS:
            models[model] = folder / f"{model}.json"
            timed(stage("fetch-model", model, models[model], "--models-dir", folder / "models"))
        short = memory_of_stages(folder, MINUTES * 60, f"{MINUTES} min", models, args.threads)
        long = memory_of_stages(folder, args.hours * 3600, f"{args.hours:g} h", models, args.threads)
    print(f"{machine()}; stereo, {RATE} Hz, {args.threads} threads\n")
    print(f"| stage | {MINUTES} min, MB | {args.hours:g} h, MB | ratio |\n| --- | ---: | ---: | ---: |")
    for key, value in short.items():
        print(f"| {key} | {value:.0f} | {long[key]:.0f} | {long[key] / value:.2f} |")
    return {"memory": {key: {"short_mb": value, "long_mb": long[key]} for key, value in short.items()}}


def bench_growth(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a whole run on 10, 100, ... clips, and the cost of one more item. One shard, so that only its items grow."""
    counts = [count for count in (10, 100, 1000, 10_000) if count <= args.most]
    runs = []
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as name:
        for count in counts:
            folder = Path(name) / str(count)
            write_clips(folder / "in", count, GROWTH_SEC, 22_050)
            config = folder / "config.yaml"
            config.write_text(
                yaml.safe_dump(
                    {"input": str(folder / "in"), "output": str(folder / "out"), "artifacts": str(folder / "art"), "shards": 1,
                     "device": "cpu", "evaluate": {"metrics": ["loudness", "music", "signal"]}}
                )
            )  # fmt: skip
            command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", str(args.threads),
                       "--directory", str(folder), "--configfile", str(config)]  # fmt: skip
            runs.append(timed(command))
            print(f"growth: {count} items: {runs[-1][0]:.1f} s", file=sys.stderr, flush=True)
    print(f"{machine()}; clips of {GROWTH_SEC:g} s, one shard\n")
    print("| items | seconds | one more item, s | peak memory, MB |\n| ---: | ---: | ---: | ---: |")
    result: dict[str, Any] = {}
    for number, (count, (seconds, memory)) in enumerate(zip(counts, runs, strict=True)):
        more = (seconds - runs[number - 1][0]) / (count - counts[number - 1]) if number else None
        print(f"| {count} | {seconds:.1f} | {'' if more is None else f'{more:.3f}'} | {memory:.0f} |")
        result[str(count)] = {"seconds": seconds, "marginal_sec": more, "peak_mb": memory}
    return {"growth": result}


def bench_threads(args: argparse.Namespace) -> dict[str, Any]:
    """Two jobs that were each given all threads, at once, against one after the other; OMP_WAIT_POLICY as a user's shell leaves it."""
    jobs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-threads-") as name:
        folder = Path(name)
        records = write_models(folder)
        for backend in ("openvino", "torch"):
            for model in [model for model in ("htdemucs_ft", "dns64") if model in records]:
                rate = 16_000 if model == "dns64" else RATE
                settings = {"model": model, "backend": backend, "precision": "float32"}
                command_of = "denoise" if model == "dns64" else "separate"
                settings |= {} if model == "dns64" else {"name": model}
                commands = []
                for run in ("warm", "one", "two", "three", "four"):
                    clips = write_clips(folder / f"{model}-{run}", 8 if model == "dns64" else 2, 10.0, rate)
                    table = rows(folder / f"{model}-{run}.jsonl", clips, 10.0, rate)
                    commands.append(
                        stage(command_of, table, table.with_suffix(".out"), "--config", json.dumps(settings), "--model",
                              records[model], "--store", folder / "stores" / f"{backend}-{run}", "--device", "cpu", "--threads",
                              args.threads)
                    )  # fmt: skip
                wait = {"OMP_WAIT_POLICY": "active"} if args.spin else {"OMP_WAIT_POLICY": ""}
                timed(commands[0], **wait)
                serial = sum(timed(command, **wait)[0] for command in commands[1:3])
                start = time.perf_counter()
                both = [started(command, **wait) for command in commands[3:]]
                for process in both:
                    process.communicate()
                together = time.perf_counter() - start
                if any(process.returncode for process in both):
                    sys.exit("a job failed")
                jobs[f"{model}, {backend}"] = {"serial_sec": serial, "together_sec": together}
    print(f"{machine()}; each job with {args.threads} threads\n")
    print("| two jobs of | one after the other, s | at the same time, s | ratio |\n| --- | ---: | ---: | ---: |")
    for key, row in jobs.items():
        ratio = row["together_sec"] / row["serial_sec"]
        print(f"| {key} | {row['serial_sec']:.1f} | {row['together_sec']:.1f} | {ratio:.2f} |")
    return {"threads": jobs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("memory", "growth", "threads"), help="the limit to measure")
    parser.add_argument("--hours", type=float, default=3.0, help="memory: length of the long file")
    parser.add_argument("--most", type=int, default=1000, help="growth: largest number of items")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads per job")
    parser.add_argument("--spin", action="store_true", help="threads: run with OMP_WAIT_POLICY=active, the worst case")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    figures = {"memory": bench_memory, "growth": bench_growth, "threads": bench_threads}[args.what](args)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), **figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
