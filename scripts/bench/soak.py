"""A long run through the pilot models in one process: does anything grow with the number of items?

    python -m scripts.bench.soak --items 2000 --docs

Each item is a fresh recording of half a second that goes through the whole chain, stage by stage, as the jobs of `snakemake` take
it through; all stages share this process, so that a leak in any of them shows. Sampled by item: resident memory, open files and
sockets, threads, and files in the store beside finished entries. From item `--from` on a straight line is fitted to each; its
rise over the rest of the run must stay below its bound. Writes artifacts/eval/soak.json and, with --docs, the section "Soak" of
docs/lab/reliability.md. Ends with 1 where something grew.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audiorestorer.files import write_text_atomic
from scripts.sections import ROOT, write_section

# largest rise of the fitted line from `--from` to the end
BOUNDS = {"rss_mb": 16.0, "handles": 1.0, "threads": 1.0, "garbage": 0.5}
UNITS = {
    "rss_mb": "resident memory, MB",
    "handles": "open files and sockets",
    "threads": "threads",
    "garbage": "left beside entries",
}
RATE = 22_050


@dataclass(frozen=True)
class Sample:
    """The state after an item."""

    item: int
    seconds: float
    rss_mb: float
    handles: int
    threads: int
    garbage: int


def rise(items: list[int], values: list[float]) -> float:
    """Rise of a straight line (least squares) through the points, from the first to the last."""
    import numpy as np

    return float(np.polyfit(items, values, 1)[0] * (items[-1] - items[0]))


def sampled(item: int, start: float, store: Path) -> Sample:
    import gc
    import threading

    import psutil

    gc.collect()
    process = psutil.Process()
    # not Path.rglob: Python 3.11's keeps every path of the walk until its end, and the walk grows with the store
    garbage = sum(name.startswith(".") for _, folders, files in os.walk(store) for name in (*folders, *files))
    return Sample(
        item, round(time.monotonic() - start, 1), round(process.memory_info().rss / 2**20, 2),
        len(os.listdir("/proc/self/fd")), threading.active_count(), garbage,
    )  # fmt: skip


def write_recording(path: Path, number: int) -> None:
    """Half a second, different for each number."""
    import numpy as np
    import soundfile as sf

    rng = np.random.default_rng(number)
    time_axis = np.arange(int((0.45 + 0.1 * rng.random()) * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * (90 + 120 * (number % 97) / 97) * k * time_axis) / k for k in range(1, 12))
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, 0.1 * voice + 0.02 * rng.standard_normal(len(time_axis)), RATE)


def commands(folder: Path, shard: int) -> list[list[str]]:
    """The chain for one shard, with the pilot models."""
    config = {"input": str(folder / "input" / str(shard)), "shards": 1}

    def manifest(stage: str) -> str:
        return str(folder / "manifests" / stage / f"{shard}.jsonl")

    def model(name: str) -> list[str]:
        return ["--model", str(folder / "models" / f"{name}.json"), "--device", "cpu", "--threads", "1"]

    store = ["--store", str(folder / "store")]
    out = [["ingest", manifest("ingest"), "--config", json.dumps(config), *store]]
    for name in ("a", "b"):
        separator = json.dumps({"name": name, "model": f"pilot_sep_{name}"})
        files = [manifest("ingest"), manifest(f"separate/{name}")]
        out.append(["separate", *files, "--config", separator, *model(f"pilot_sep_{name}"), *store])
    out.append(
        [
            "fuse",
            manifest("separate/a"),
            manifest("separate/b"),
            manifest("fuse"),
            "--config",
            '{"method": "mean"}',
            *store,
        ]
    )
    denoiser = json.dumps({"model": "pilot_denoiser"})
    out.append(
        ["denoise", manifest("fuse"), manifest("denoise"), "--config", denoiser, *model("pilot_denoiser"), *store]
    )
    for stage, before in (("postmask", "denoise"), ("loudness", "postmask")):
        out.append([stage, manifest(before), manifest(stage), "--config", "{}", *store])
    metrics = json.dumps({"metrics": ["loudness", "signal"]})
    out.append(["evaluate", manifest("loudness"), manifest("evaluate"), "--config", metrics, *store])
    places = ["--output", str(folder / "output"), "--ledger", str(folder / "published")]
    out.append(["publish", manifest("loudness"), manifest("publish"), *places, *store])
    return out


def soak(folder: Path, items: int, shard_items: int, ceiling_mb: float) -> list[Sample]:
    """Run the items, `shard_items` per shard; a sample after each shard.

    Raises:
        SystemExit: a stage failed, or the memory is above the ceiling.
    """
    import torch

    from audiorestorer.__main__ import app

    torch.set_num_threads(1)
    for name in ("pilot_sep_a", "pilot_sep_b", "pilot_denoiser"):
        app(
            [
                "fetch-model",
                name,
                str(folder / "models" / f"{name}.json"),
                "--registry",
                str(ROOT / "config/models.yaml"),
            ],
            standalone_mode=False,
        )
    start, samples = time.monotonic(), []
    for shard in range(-(-items // shard_items)):
        done = min(items, (shard + 1) * shard_items)
        for number in range(shard * shard_items, done):
            write_recording(folder / "input" / str(shard) / f"{number:05d}.wav", number)
        for command in commands(folder, shard):
            app(command, standalone_mode=False)
        samples.append(sampled(done, start, folder / "store"))
        print(samples[-1], flush=True)
        if samples[-1].rss_mb > ceiling_mb:
            sys.exit(f"soak: {samples[-1].rss_mb:.0f} MB after {done} items, the ceiling is {ceiling_mb:g} MB")
    published = sum(1 for path in (folder / "output").rglob("*.wav"))
    if published != items:
        sys.exit(f"soak: {published} of {items} items were published")
    return samples


def verdict(samples: list[Sample], first: int) -> dict[str, dict[str, Any]]:
    """The rise of each figure from item `first` on, against its bound."""
    late = [sample for sample in samples if sample.item >= first]
    figures = {}
    for name, bound in BOUNDS.items():
        values = [float(getattr(sample, name)) for sample in late]
        grown = rise([sample.item for sample in late], values)
        figures[name] = {
            "first": values[0], "last": values[-1], "highest": max(values), "rise": round(grown, 3), "bound": bound,
            "ok": grown <= bound,
        }  # fmt: skip
    return figures


def section(samples: list[Sample], figures_of: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    lines = [
        "## Soak",
        "",
        f"`python -m scripts.bench.soak --items {options.items} --docs` wrote this: {options.items} recordings of half a second,",
        f"through the pilot chain in one process, {options.shard_items} per shard, in {samples[-1].seconds / 60:.0f} minutes, with a",
        f"ceiling of {options.ceiling_mb:g} MB. The rise is that of a straight line through the samples from item {options.first} on.",
        "",
        f"| | at item {options.first} | at item {samples[-1].item} | highest | rise | bound |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in figures_of.items():
        figures = [f"{row[key]:g}" for key in ("first", "last", "highest", "rise", "bound")]
        lines.append(f"| {UNITS[name]} | {' | '.join(figures)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=2000, help="number of items")
    parser.add_argument("--shard-items", type=int, default=20, help="items per shard")
    parser.add_argument("--from", dest="first", type=int, default=200, help="number of items that count as warming up")
    parser.add_argument("--ceiling-mb", type=float, default=2000, help="largest resident memory; more ends the run")
    parser.add_argument("--json", type=Path, default=ROOT / "artifacts/eval/soak.json", help="file for the figures")
    parser.add_argument("--docs", action="store_true", help="write the section of docs/lab/reliability.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = soak(Path(folder), options.items, options.shard_items, options.ceiling_mb)
    figures = verdict(samples, options.first)
    result = {"items": options.items, "verdict": figures, "samples": [asdict(sample) for sample in samples]}
    write_text_atomic(options.json, json.dumps(result, indent=1) + "\n")
    print(section(samples, figures, options))
    if options.docs:
        write_section(ROOT / "docs/lab/reliability.md", "soak", section(samples, figures, options))
    return int(not all(row["ok"] for row in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
