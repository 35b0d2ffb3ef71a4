"""Growth of a run's cost with the number of items: tiny clips, a tiny network, the whole workflow.

    python -m scripts.bench.bench_scale [--items 10000] [--json FILE] [--write]

For 100, 1,000, ... items: a run from nothing, one with nothing to be done, one with one more file, one with other shards, the report.
Prints the table; `--write` puts it into docs/lab/performance.md. `--json` has `noop_seconds`, `parse_seconds`, `peak_mb` (the run with
nothing to be done) and `seconds_per_item` of the largest, and every step's figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import yaml

from scripts.bench.bench_common import ROOT, machine, timed
from scripts.sections import write_section
from tests.tiny_models import write_tiny_mask_unet

RATE, CLIP_SEC = 16_000, 0.02
PER_SHARD = 250
PER_FOLDER = 100
MANY_SHARDS = 4000  # a million items at 250 per shard: planned in a dry run on the items of the largest batch
STAGES = ("ingest", "separate/tiny", "fuse", "postmask", "loudness", "evaluate/loudness", "evaluate/music")
HEAD = (
    "| items | shards | from nothing, s | one more item, s | nothing to be done, s | of it parsing, s | peak, MB | one more file, s |"
    " other shards, s | results.html, MB | report.html, MB |\n| " + "---: | " * 11
)


class Batch:
    """A folder of tiny clips and its configuration."""

    def __init__(self, folder: Path, items: int) -> None:
        self.folder, self.items = folder, 0
        self.shards = -(-items // PER_SHARD)
        folder.mkdir(parents=True)
        self.add(items)
        write_tiny_mask_unet(folder / "tiny.safetensors")
        (folder / "models.yaml").write_text(
            "models:\n  tiny: {kind: mask_network, task: separate, source: tiny.safetensors, licence: none, sample_rate: 22050}\n"
        )

    def add(self, count: int) -> None:
        """Add clips that all differ: equal ones would be computed once."""
        for number in range(self.items, self.items + count):
            rng = np.random.default_rng(number)
            path = self.folder / "in" / f"{number // PER_FOLDER:05d}" / f"clip_{number:07d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, 0.1 * rng.standard_normal(round(CLIP_SEC * RATE)), RATE)
        self.items += count

    def command(self, *arguments: str) -> list[str]:
        config = {
            "input": "in", "registry": str(self.folder / "models.yaml"), "shards": self.shards, "device": "cpu",
            "ingest": {"min_duration_sec": CLIP_SEC / 2}, "separators": [{"name": "tiny", "model": "tiny"}],
            "postmask": {"enabled": True, "floor": 1.0},
            "evaluate": {"metrics": ["loudness", "music"]}, "snippets": {"seconds": 1.0},
        }  # fmt: skip
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))
        return [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder),
            "--configfile", str(self.folder / "config.yaml"), "--workflow-profile", str(ROOT / "profiles/default"),
            "--cores", "1", *arguments,
        ]  # fmt: skip

    def computed(self) -> dict[str, int]:
        """Finished items of each stage."""
        store = self.folder / "artifacts/store"
        return {stage: sum(1 for _ in store.glob(f"{stage}/??/*.json")) for stage in STAGES}

    def new(self, *arguments: str) -> tuple[float, float, dict[str, int]]:
        """Seconds and MB of a run, and how many items each stage computed in it."""
        before = self.computed()
        seconds, memory = timed(self.command(*arguments))
        return seconds, memory, {stage: count - before[stage] for stage, count in self.computed().items()}

    def size_mb(self, name: str) -> float:
        return (self.folder / name).stat().st_size / 1e6


def measure(folder: Path, items: int, plan: bool) -> dict[str, Any]:
    """One size's figures, with `plan` those of very many shards too; what must not be computed is checked."""
    batch = Batch(folder, items)
    cold, _, computed = batch.new()
    assert set(computed.values()) == {items}, computed
    parse, _ = timed(batch.command("--list-rules"))
    noop, memory, computed = batch.new()
    assert not any(computed.values()), computed
    timed(batch.command("--report", "report.html"))
    report = {"results_mb": batch.size_mb("artifacts/report/results.html"), "report_mb": batch.size_mb("report.html")}
    batch.add(1)
    one, _, computed = batch.new()
    assert set(computed.values()) == {1}, computed
    shards, batch.shards = batch.shards, 2 * batch.shards
    other, _, computed = batch.new()
    assert not any(computed.values()), computed
    if plan:
        batch.shards = MANY_SHARDS
        many, many_memory = timed(batch.command("--dry-run", "--quiet", "all"))
        report |= {"many_shards_seconds": many, "many_shards_peak_mb": many_memory}
    return {
        "metrics_mb": batch.size_mb("artifacts/eval/metrics.json"),
        "store_files": sum(1 for path in (batch.folder / "artifacts/store").rglob("*") if path.is_file()),
        "shards": shards, "cold_seconds": cold, "noop_seconds": noop, "parse_seconds": parse, "peak_mb": memory,
        "one_more_seconds": one, "other_shards_seconds": other, **report,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, default=10_000, help="number of items in the largest batch")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--write", action="store_true", help="put the table into docs/lab/performance.md")
    args = parser.parse_args()
    sizes = [size for size in (100, 1000, 10_000, 100_000) if size < args.items] + [args.items]
    figures_of: dict[int, dict[str, Any]] = {}
    table = HEAD
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        for place, size in enumerate(sizes):
            row = figures_of[size] = measure(Path(name) / str(size), size, plan=size == sizes[-1])
            least = figures_of[sizes[place - 1]]["cold_seconds"] if place else 0.0
            row["seconds_per_item"] = (row["cold_seconds"] - least) / (size - (sizes[place - 1] if place else 0))
            table += (
                f"\n| {size} | {row['shards']} | {row['cold_seconds']:.0f} | {row['seconds_per_item']:.3f} |"
                f" {row['noop_seconds']:.1f} | {row['parse_seconds']:.1f} | {row['peak_mb']:.0f} | {row['one_more_seconds']:.1f} |"
                f" {row['other_shards_seconds']:.0f} | {row['results_mb']:.1f} | {row['report_mb']:.1f} |"
            )
            print(table.splitlines()[-1], file=sys.stderr, flush=True)
    last = figures_of[sizes[-1]]
    table += (
        f"\n\nA plan of {MANY_SHARDS} shards (a million items at {PER_SHARD} a shard; a dry run): {last['many_shards_seconds']:.0f} s,"
        f" {last['many_shards_peak_mb']:.0f} MB. Of {sizes[-1]} items: {last['store_files']} files in the store,"
        f" metrics.json {last['metrics_mb']:.1f} MB."
    )
    table += f"\n\n{machine()}; clips of {1000 * CLIP_SEC:.0f} ms, {PER_SHARD} to a shard, one core."
    print(table)
    if args.write:
        write_section(ROOT / "docs/lab/performance.md", "scale", table)
    if args.json:
        names = ("noop_seconds", "parse_seconds", "peak_mb", "seconds_per_item")
        figures = {"machine": machine(), **{name: last[name] for name in names}, "sizes": figures_of}
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
