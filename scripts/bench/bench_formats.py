"""How fast coded recordings are decoded and coded, in times real time on one core; the limit is 30.

    python -m scripts.bench.bench_formats [--minutes 5] [--write]

Noise in stereo at 48 kHz (the worst case of a coder), 128 kbit/s. Decoding is that of ingest: a process of its own, and a WAV file
on the disk. `--write` puts the table into docs/lab/performance.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from audiorestorer import audio
from audiorestorer.formats import containers
from audiorestorer.report.tables import markdown_table
from scripts.machine import hardware
from scripts.sections import ROOT, write_section

RATE, CHANNELS = 48_000, 2
FORMATS = (("MP3", ".mp3"), ("AAC", ".m4a"), ("ALAC", ".m4a"), ("OPUS", ".opus"))
LIMIT = 30.0


def noise(minutes: float) -> Iterator[audio.Audio]:
    rng = np.random.default_rng(0)
    for _ in range(round(6 * minutes)):
        yield 0.1 * rng.standard_normal((CHANNELS, 10 * RATE), np.float32)


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def both(given: list[audio.Audio], format: str, path: Path) -> tuple[float, float]:
    """Seconds to code and to decode."""
    coding = seconds(
        lambda: audio.write_blocks(path, given, RATE, CHANNELS, format=format, subtype="PCM_16", bit_rate=128_000)
    )
    kind = audio.coded(path)
    if kind is None:
        return coding, seconds(lambda: sum(block.shape[1] for block in audio.blocks(path)))
    return coding, seconds(lambda: containers.decoded(path, path.with_suffix(".copy.wav"), kind))


def rows(minutes: float) -> list[list[str]]:
    given, length, out = list(noise(minutes)), 60 * minutes, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for format, suffix in FORMATS:
            coding, decoding = (length / spent for spent in both(given, format, folder / f"{format}{suffix}"))
            out.append([format, f"{coding:.0f}", f"{decoding:.0f}", "yes" if min(coding, decoding) >= LIMIT else "no"])
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5, help="length of the recording")
    parser.add_argument("--write", action="store_true", help="put the table into docs/lab/performance.md")
    args = parser.parse_args()
    head = ["format", "coding, times real time", "decoding, times real time", f"at least {LIMIT:g}"]
    text = f"{markdown_table(head, rows(args.minutes))}\n\nMeasured on {hardware()}."
    print(text)
    if args.write:
        write_section(ROOT / "docs/lab/performance.md", "formats", text)


if __name__ == "__main__":
    main()
