"""How light the program is: the start of `audiorestorer run --help`, the wheel's size, a run with nothing to do.

    python -m scripts.bench.bench_start [--count 15] [--write]

The wheel is built here and its command is installed in a new virtual environment, which finds the other packages in this one.
Seconds are those of a clock; of `--count` starts the least and the median, beside the seconds of processor time, which other work on
the machine moves less. `--write` puts the table into docs/lab/performance.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import soundfile as sf

from scripts.machine import hardware
from scripts.sections import write_section

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/lab/performance.md"
IDLE_COUNT = 3


def installed(folder: Path) -> tuple[Path, int]:
    """The command of the wheel in a new virtual environment, and the wheel's bytes."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv/lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(str(Path(np.__file__).parents[1]) + "\n")
    subprocess.run([*pip, "--python", str(folder / "venv/bin/python"), "install", "--no-deps", str(wheel)], check=True)
    return folder / "venv/bin/audiorestorer", wheel.stat().st_size


def timed(command: list[str], count: int) -> tuple[float, float, float]:
    """The least and the median of the clock's seconds, and the median of the processor's."""
    clock, work = [], []
    for _ in range(count):
        before, start = os.times(), time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        clock.append(time.monotonic() - start)
        after = os.times()
        work.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(clock), median(clock), median(work)


def recordings(folder: Path) -> None:
    folder.mkdir()
    t = np.arange(3 * 22_050) / 22_050
    sf.write(folder / "a.wav", 0.2 * np.sin(2 * np.pi * 200 * t) * (np.sin(9 * t) > 0), 22_050)


def measured(count: int, say: Callable[[str], None]) -> str:
    """The table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program, size = installed(folder)
        rows = []
        for words in (["run", "--help"], ["presets"], ["--help"]):
            timed([str(program), *words], 2)  # bytecode, and the disk's cache
            rows.append((f"`audiorestorer {' '.join(words)}`", *timed([str(program), *words], count)))
            say(str(rows[-1]))
        recordings(folder / "in")
        command = [str(program), "run", str(folder / "in"), str(folder / "out"), "--set", "evaluate.metrics=[loudness]"]
        timed(command, 1)
        rows.append(("`audiorestorer run IN OUT`, nothing to do", *timed(command, IDLE_COUNT)))
        say(str(rows[-1]))
    lines = [f"| {title} | {least:.2f} | {middle:.2f} | {work:.2f} |" for title, least, middle, work in rows]
    head = (
        f"Measured on {hardware()}, at a load of {os.getloadavg()[0]:.1f}; the least and the median of {count} starts"
    )
    head += f" ({IDLE_COUNT} of the run)."
    head += f" The wheel: {size / 1e6:.1f} MB.\n\n"
    return head + "\n".join(
        ["| command | least, s | median, s | processor, s |", "| --- | ---: | ---: | ---: |", *lines]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="into docs/lab/performance.md")
    args = parser.parse_args()
    table = measured(args.count, lambda text: print(text, file=sys.stderr))
    print(table)
    if args.write:
        write_section(PAGE, "start", table)


if __name__ == "__main__":
    main()
