"""The default chain on clipped recordings with the stage `declip` and without it, and the order of `declip` and `declick`.

    python -m scripts.bench.bench_clipping --out DIR [--write]
    python -m scripts.bench.bench_clipping --order [--write]

The pilot's recordings in WAV and FLAC (speech under music) and their clean references are cut off at a share of their largest sample
and go through `audiorestorer run`. Finished work in `--out` is kept. `--order` repairs four seconds of six clean voices, clipped and
with ten clicks a second, in both orders. `--write` puts the table into docs/lab/quality.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile as sf

from audiorestorer.audio import Audio
from audiorestorer.config import DeclickSettings
from audiorestorer.dsp import click_repair, declipping
from audiorestorer.dsp.active_level import active_level
from audiorestorer.dsp.clicks import ImpulseLaw, draw
from audiorestorer.metrics.signal import Sums, si_sdr
from scripts.sections import write_section

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/lab/quality.md"
PILOT = ROOT / "data/pilot"
SUFFIXES = (".wav", ".flac")  # of inputs that lie sample by sample over their references
SHARES = (0.2, 0.4, 1.0)  # of the largest sample; 1: not clipped
KINDS = {"speech under music": "input", "speech alone": "clean"}
PRESETS = ("speech_over_music", "old_record")
RATE = 44_100
VOICES, ORDER_SHARES = 6, (0.2, 0.4, 0.7)
GROUPS = "evaluate.metrics=[signal, intelligibility, pesq]"
SYSTEMS = {"without": "false", "with": "true"}
COLUMNS = (("si_sdr_db", "{:.1f}"), ("pesq", "{:.2f}"), ("stoi", "{:.3f}"))
BEFORE = {"si_sdr_db": "si_sdr_in_db", "pesq": "pesq_in", "stoi": "stoi_in"}


def make_sets(out: Path) -> None:
    """`sets/<kind>-<share>/in` and `ref`."""
    paths = [path for path in sorted((PILOT / "input").rglob("*")) if path.suffix in SUFFIXES]
    chosen = [path.relative_to(PILOT / "input").with_suffix("") for path in paths if "broken" not in path.parts]
    for folder in KINDS.values():
        for share in SHARES:
            for name in chosen:
                (source,) = (PILOT / folder).glob(f"{name}.*")
                samples, rate = sf.read(source, dtype="float32")
                clean, _ = sf.read(PILOT / f"clean/{name}.flac", dtype="float32")
                limit = share * np.abs(samples).max()
                for kind, signal in (("in", np.clip(samples, -limit, limit)), ("ref", clean)):
                    target = out / f"sets/{folder}-{share}/{kind}/{name}.wav"
                    if not target.exists():
                        target.parent.mkdir(parents=True, exist_ok=True)
                        sf.write(target, signal, rate, subtype="FLOAT")


def figures(out: Path, name: str, preset: str, system: str) -> list[dict[str, float]]:
    """The figures of each recording of a set."""
    work = out / f"work-{name}-{preset}-{system}"
    result = work / "artifacts/eval/metrics.json"
    if not result.exists():
        subprocess.run(
            [sys.executable, "-m", "audiorestorer", "run", str(out / f"sets/{name}/in"), str(out / f"out-{name}-{preset}-{system}"),
             "--preset", preset, "--reference", str(out / f"sets/{name}/ref"), "--set", GROUPS, "--set", "snippets.count=1",
             "--set", f"declip.enabled={SYSTEMS[system]}", "--work", str(work), "--cores", "1"],
            check=True, cwd=ROOT,
        )  # fmt: skip
    return json.loads(result.read_text(encoding="utf-8"))["items"]


def table(out: Path) -> str:
    lines = [
        "| recordings | clipped at | preset | declip | SI-SDR, dB ↑ | PESQ-wb ↑ | STOI ↑ | smallest gain of SI-SDR by declip, dB |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for title, folder in KINDS.items():
        for share in SHARES:
            level = f"{share:g} of the peak" if share < 1 else "not at all"
            for preset in PRESETS:
                found = {system: figures(out, f"{folder}-{share}", preset, system) for system in SYSTEMS}
                count = len(found["without"])
                if preset == PRESETS[0]:
                    cells = [medians(found["without"], BEFORE[key], shape) for key, shape in COLUMNS]
                    lines.append(f"| {title}, n = {count} | {level} | none: the input | | {' | '.join(cells)} | |")
                pairs = zip(found["without"], found["with"], strict=True)
                least = min(other["si_sdr_db"] - one["si_sdr_db"] for one, other in pairs)
                for system, rows in found.items():
                    cells = [medians(rows, key, shape) for key, shape in COLUMNS]
                    end = f"{least:+.1f}" if system == "with" else ""
                    lines.append(
                        f"| {title}, n = {count} | {level} | {preset} | {system} | {' | '.join(cells)} | {end} |"
                    )
    return "\n".join(lines)


def medians(rows: list[dict[str, float]], key: str, shape: str) -> str:
    return shape.format(float(np.median([row[key] for row in rows])))


def declicked(signal: Audio, rate: int) -> Audio:
    repair = click_repair.Repair(threshold=DeclickSettings().threshold)
    blocks = click_repair.repair_blocks([signal], rate, active_level([signal], rate), repair)
    return np.concatenate(list(blocks), axis=1)


def declipped(signal: Audio, rate: int) -> Audio:
    limits = declipping.find(lambda: [signal], len(signal))
    return np.concatenate(list(declipping.declipped([signal], signal.shape[1], rate, limits)), axis=1)


def damaged(clean: Audio, clicks: Audio, share: float) -> dict[str, Audio]:
    limit = share * np.abs(clean).max()
    clipped = np.clip(clean, -limit, limit)
    return {
        "clipped, no clicks": clipped,
        "clicks, then clipped with them": np.clip(clean + clicks, -limit, limit),
        "clipped, then clicks": clipped + clicks,
    }


def order_table() -> str:
    found: dict[tuple[str, float], list[list[float]]] = {}
    for number, path in enumerate(sorted((PILOT / "clean").rglob("*.flac"))[:VOICES]):
        clean, rate = sf.read(path, dtype="float32", always_2d=True, frames=int(4 * RATE))
        clean = clean.T[:1]
        level = active_level([clean], rate) * 10 ** (9 / 20)
        law = ImpulseLaw(10.0, level, 6.0, width_sec=3e-4, resonance_hz=(1500, 6000))
        clicks, _ = draw(np.random.default_rng(number), law, clean.shape[1], rate)
        for share in ORDER_SHARES:
            for kind, signal in damaged(clean, clicks.astype(np.float32), share).items():
                made = (
                    signal, declicked(signal, rate), declipped(signal, rate),
                    declipped(declicked(signal, rate), rate), declicked(declipped(signal, rate), rate),
                )  # fmt: skip
                found.setdefault((kind, share), []).append([_si_sdr(each, clean) for each in made])
    lines = [
        "| voices, n = 6 | clipped at | input | declick alone | declip alone | declick, then declip | declip, then declick |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (kind, share), rows in sorted(found.items()):
        cells = " | ".join(f"{value:.1f}" for value in np.median(rows, axis=0))
        lines.append(f"| {kind} | {share:g} of the peak | {cells} |")
    return "\n".join(lines)


def _si_sdr(made: Audio, clean: Audio) -> float:
    sums = Sums()
    sums.add(made, clean)
    return si_sdr(sums)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--order", action="store_true", help="measure the order of declip and declick")
    parser.add_argument("--write", action="store_true", help="into docs/lab/quality.md")
    args = parser.parse_args()
    if not (args.out or args.order):
        parser.error("--out DIR, or --order")
    if args.out:
        make_sets(args.out.absolute())
    name, text = ("declip-order", order_table()) if args.order else ("declip", table(args.out.absolute()))
    print(text)
    if args.write:
        write_section(PAGE, name, text)


if __name__ == "__main__":
    main()
