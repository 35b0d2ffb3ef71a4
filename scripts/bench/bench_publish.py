"""Cost of publishing by copies: seconds and disk space of links, copies and clones of the same finished files.

python -m scripts.bench.bench_publish [FOLDER]     FOLDER: on the file system to measure (a temporary folder in it is used)
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from audiorestorer import store

ROOT = Path(__file__).resolve().parents[2]

FILES, MEGABYTES, ROUNDS = 200, 5, 3


def link(source: Path, target: Path) -> None:
    """The former way: output and store are one file."""
    os.link(source, target)


def copy(source: Path, target: Path) -> None:
    """Copy without the attempt to share blocks."""
    cloned, store._cloned = store._cloned, lambda *_: False
    try:
        store.place(source, target)
    finally:
        store._cloned = cloned


def used_mb(folder: Path) -> float:
    os.sync()
    return shutil.disk_usage(folder).used / 1e6


def measure(folder: Path, publish: Callable[[Path, Path], None], sources: list[Path]) -> tuple[float, float]:
    """Seconds and MB of publishing all of them once."""
    before = used_mb(folder)
    start = time.perf_counter()
    for number, source in enumerate(sources):
        (folder / "out").mkdir(exist_ok=True)
        publish(source, folder / f"out/{number}.wav")
    seconds = time.perf_counter() - start
    space = used_mb(folder) - before
    shutil.rmtree(folder / "out")
    return seconds, space


def main() -> None:
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        sources = [folder / f"{number}.wav" for number in range(FILES)]
        for source in sources:
            source.write_bytes(os.urandom(MEGABYTES * 1_000_000))
        ways = {"hard link": link, "copy": copy, "place": store.place}
        figures_of: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for way, publish in ways.items():
                figures_of[way].append(measure(folder, publish, sources))
        cloned = store.copied(sources[0], folder / "trial")
        print(
            f"{FILES} files of {MEGABYTES} MB, median of {ROUNDS}; blocks {'are' if cloned else 'cannot be'} shared here\n"
        )
        print("| way | seconds | MB of disk |\n| --- | ---: | ---: |")
        for way, figures in figures_of.items():
            print(
                f"| {way} | {statistics.median(f[0] for f in figures):.2f} | {statistics.median(f[1] for f in figures):.0f} |"
            )


if __name__ == "__main__":
    main()
