"""The evaluation against its limit, 200 ten-second items in three minutes on two cores without the recogniser; each metric's share.

    python -m scripts.bench.bench_evaluate [--items 200] [--jobs 2]

The items are the pilot's clips (mixture, clean, and clean with a tenth of what was mixed in as the output), cut to ten seconds and
different in level, so that nothing is in the store. Prints a Markdown table; docs/lab/performance.md has one.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from audiorestorer import audio
from audiorestorer.manifest import Item, write_manifest
from audiorestorer.store import sha256_file
from scripts.bench.bench_common import ROOT, stage

PILOT = ROOT / "data/pilot"
SECONDS = 10.0
LIMIT_SEC = 180.0
# Variables that Snakemake sets for a job
ONE_THREAD = {
    "OMP_WAIT_POLICY": "passive",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
GROUPS = ("loudness", "music", "signal", "intelligibility", "pesq", "dnsmos")
PROGRESS = re.compile(r"evaluate/(\w+)(?: \([^)]*\))?: \d+/\d+ items \(.*\), ([\d.]+) s(?:,|$)")


def clips() -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Mixture and clean `[C, T]` of ten seconds, repeated where the clip is shorter, and the rate."""
    out = []
    for path in sorted((PILOT / "input").rglob("*")):
        references = (
            sorted((PILOT / "clean").glob(f"{path.relative_to(PILOT / 'input').with_suffix('')}.*"))
            if path.is_file()
            else []
        )
        if references:
            (noisy, rate), (clean, _) = audio.read(path), audio.read(references[0])
            length = min(noisy.shape[1], clean.shape[1])
            places = np.arange(int(SECONDS * rate)) % length
            out.append((noisy[:, places], clean[:, places], rate))
    return out


def make_items(folder: Path, count: int, shards: int) -> list[Path]:
    """Manifests of a shard each, as the loudness stage would leave them."""
    sources, rng = clips(), np.random.default_rng(0)
    rows: list[list[Item]] = [[] for _ in range(shards)]
    for number in range(count):
        noisy, clean, rate = sources[number % len(sources)]
        gain = np.float32(rng.uniform(0.3, 0.9))
        signals = {"noisy": gain * noisy, "clean": gain * clean, "path": gain * (clean + 0.1 * (noisy - clean))}
        paths = {name: folder / f"{number}.{name}.wav" for name in signals}
        for name, signal in signals.items():
            audio.write(paths[name], signal, rate)
        hashes = {name: sha256_file(path) for name, path in paths.items()}
        rows[number % shards].append(
            Item(
                id=f"i{number}", **{name: str(path) for name, path in paths.items()}, sha256=hashes["path"],
                noisy_sha256=hashes["noisy"], clean_sha256=hashes["clean"], sr=rate, duration=SECONDS, channels=len(noisy),
            )
        )  # fmt: skip
    manifests = [folder / f"{shard}.jsonl" for shard in range(shards)]
    for manifest, items in zip(manifests, rows, strict=True):
        write_manifest(manifest, items)
    return manifests


def evaluate(manifest: Path, store: Path) -> str:
    """Run the command as the rule does, with one thread; its progress lines."""
    groups = ", ".join(f'"{group}"' for group in GROUPS)
    done = subprocess.run(
        stage("evaluate", manifest, f"{manifest}.out", "--store", store, "--config", f'{{"metrics": [{groups}]}}'),
        cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, **ONE_THREAD},
    )  # fmt: skip
    return done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, default=200, help="number of items")
    parser.add_argument("--jobs", type=int, default=2, help="jobs at a time, one thread each")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-evaluate-") as folder:
        manifests = make_items(Path(folder), args.items, shards=2 * args.jobs)
        start = time.perf_counter()
        with ThreadPoolExecutor(args.jobs) as pool:
            logs = list(pool.map(lambda manifest: evaluate(manifest, Path(folder) / "store"), manifests))
        wall = time.perf_counter() - start
    spent = dict.fromkeys(GROUPS, 0.0)
    for group, seconds in PROGRESS.findall("\n".join(logs)):
        if group in spent:
            spent[group] += float(seconds)
    print("| metric group | core seconds per item | share |\n| --- | ---: | ---: |")
    for group, seconds in sorted(spent.items(), key=lambda pair: -pair[1]):
        print(f"| {group} | {seconds / args.items:.3f} | {seconds / sum(spent.values()):.0%} |")
    limit = LIMIT_SEC * args.items / 200
    print(f"\n{args.items} items of {SECONDS:g} s, {args.jobs} jobs at a time: {wall:.1f} s,", end=" ")
    print(f"{wall / limit:.2f} of the limit of {limit:.0f} s.")


if __name__ == "__main__":
    main()
