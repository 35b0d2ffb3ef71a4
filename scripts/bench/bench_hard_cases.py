"""Where it hurts: what the default chain does to twelve kinds of recordings that separators find hard.

    python -m scripts.bench.bench_hard_cases --data DIR --out OUT [--write] [--page]

`--data`: real voices, music and sounds, laid out as for bench_quality; the clips are made of them (`scripts/audio/hard_cases.py`) and
lie in OUT. *Speech lost* is the share of the reference's energy, in frames of 50 ms, that is no longer in the output, in dB (below 0.5
is the target for speech that nothing was added to). `--page` renders the worst clip of each kind with the pipeline, for listening:
OUT/worst/output. `--write` puts the table into docs/lab/quality.md.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from audiorestorer.audio import Audio
from audiorestorer.config import Config, load
from audiorestorer.report.tables import markdown_table
from scripts.audio.hard_cases import CLEAN, KINDS, make
from scripts.bench.bench_common import machine
from scripts.bench.quality_figures import ClipMeter
from scripts.bench.quality_sets import ROOT, Clip, one_folder
from scripts.bench.quality_systems import WHOLE, Networks, System, our_systems
from scripts.sections import write_section

FRAME_SEC = 0.05
FIGURES = (
    ("si_sdr_in_db", "SI-SDR in, dB", 1), ("si_sdr_db", "SI-SDR out, dB", 1), ("stoi_in", "STOI in", 3), ("stoi", "STOI out", 3),
    ("pesq", "PESQ out", 2), ("lost_db", "speech lost, dB", 2),
)  # fmt: skip


def lost_db(output: Audio, clean: Audio, rate: int) -> float:
    """How much of the reference's energy the output lacks, dB: each frame's part of the output that is the reference, no more than
    it, over the reference. Both `[1, T]`."""
    size = int(FRAME_SEC * rate)
    count = clean.shape[1] // size
    y, s = (signal[0, : count * size].astype(np.float64).reshape(count, size) for signal in (output, clean))
    energy = np.square(s).sum(axis=1)
    share = np.clip((y * s).sum(axis=1) / np.maximum(energy, 1e-12), 0, 1)
    return float(-10 * np.log10(max((np.square(share) * energy).sum() / energy.sum(), 1e-12)))


def measured(kind: str, folder: Path, system: System, meter: ClipMeter) -> list[dict[str, Any]]:
    """The figures of each clip of a kind, the worst clip last (by SI-SDR, against that of the input)."""
    rows = []
    for pair in one_folder(kind, folder).pairs:
        with Clip(pair) as clip:
            output, _ = clip.made_by(system.run)  # type: ignore[arg-type]
            before, after = (meter(clip, signal, kind in CLEAN).values for signal in (clip.noisy, output))
            row = {"name": pair.name, **after, "lost_db": lost_db(output, clip.truth, clip.rate)}
            if kind not in CLEAN:
                row |= {
                    f"{name}_in{suffix}": before[f"{name}{suffix}"]
                    for name, suffix in (("si_sdr", "_db"), ("stoi", ""))
                }
        rows.append(row)
        print(
            kind, {name: round(value, 3) for name, value in row.items() if name != "name"}, file=sys.stderr, flush=True
        )
    return sorted(rows, key=lambda row: -(row["si_sdr_db"] - row.get("si_sdr_in_db", 0.0)))


def table(rows: dict[str, list[dict[str, Any]]]) -> str:
    lines = []
    for kind, clips in rows.items():
        cells = []
        for name, _, digits in FIGURES:
            values = [clip[name] for clip in clips if name in clip]
            cells.append(f"{np.median(values):.{digits}f}" if values else "")
        cells.append(f"{max(clip['lost_db'] for clip in clips):.2f}")
        lines.append([kind.replace("_", " ") + (" (clean)" if kind in CLEAN else ""), *cells])
    head = ["kind", *(title for _, title, _ in FIGURES), "most lost, dB"]
    return markdown_table(head, lines) + f"\n\nMedians over four clips each. {machine()}."


def worst_page(rows: dict[str, list[dict[str, Any]]], clips: Path, out: Path) -> None:
    """Render the worst clip of each kind with its reference: its report has the listening page."""
    for kind, of_kind in rows.items():
        for side, folder in (("noisy", "input"), ("clean", "clean")):
            (out / folder).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(clips / kind / f"{of_kind[-1]['name']}_{side}.flac", out / folder / f"{kind}.flac")
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(out), "--cores", "2",
         "--workflow-profile", str(ROOT / "profiles/default"), "--config", "input=input", "references=clean"], check=True,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--out", type=Path, required=True, help="folder for the clips")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only these kinds")
    parser.add_argument("--page", action="store_true", help="render the worst clip of each kind for listening")
    parser.add_argument("--write", action="store_true", help="put the table into docs/lab/quality.md")
    args = parser.parse_args()
    make(args.data, args.out / "clips")
    config = load(Config, str(ROOT / "config/config.yaml"))
    networks = Networks(config, {}, ROOT / "artifacts/models", args.out / "work", 1)
    (system,) = (one for one in our_systems(config, networks, []) if one.name == WHOLE)
    meter = ClipMeter(False, None, 1)
    rows = {kind: measured(kind, args.out / "clips" / kind, system, meter) for kind in args.kind or KINDS}
    print(table(rows))
    if args.write:
        write_section(ROOT / "docs/lab/quality.md", "hard cases", table(rows))
    if args.page:
        worst_page(rows, args.out / "clips", args.out / "worst")


if __name__ == "__main__":
    main()
