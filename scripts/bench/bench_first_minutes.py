"""What a user waits for: from the clone to the first report, a few files, and where a thousand files' time goes.

    python -m scripts.bench.bench_first_minutes [--clone] [--files 1000] [--json FILE] [--write]

`--clone`: a fresh clone with a fresh environment (`make setup`, `make pilot` twice); without it the environment of this clone renders.
Then three files of 16 s with every default metric that needs no transcript, and `--files` files of 10 s with the default sample of
words. Seconds are those of a clock, `busy` is the share of the cores that worked. `--write` puts the tables into
docs/lab/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from audiorestorer import audio, progress
from scripts.machine import hardware
from scripts.sections import write_section

ROOT = Path(__file__).resolve().parents[2]
CORES = 2
FEW, FEW_SEC = 3, 16.0
MANY_SEC = 10.0
RATE = 22_050
TITLES = {
    "clone": "`git clone`", "setup": "`make setup`: the environment", "pilot": "`make pilot`: twelve clips, with the report",
    "again": "`make pilot` again", "few": f"{FEW} files of {FEW_SEC:g} s", "many": "{count} files of " + f"{MANY_SEC:g} s",
}  # fmt: skip


def step(command: list[str], folder: Path) -> dict[str, float]:
    """Run to the end; the seconds, and the share of the cores that worked.

    The machine's own count: jobs run in a server's processes, which are not this one's children. So it must be idle otherwise.
    """
    before, start = worked_sec(), time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    seconds = time.monotonic() - start
    return {"seconds": round(seconds, 1), "busy": round((worked_sec() - before) / seconds / CORES, 3)}


def worked_sec() -> float:
    """Seconds that all cores of the machine have worked (proc(5), /proc/stat: user, nice, system)."""
    user, nice, system = Path("/proc/stat").read_text(encoding="ascii").split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def megabytes(folder: Path) -> float:
    """Space that the files of a folder take, links not followed."""
    files = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
    return round(sum(path.lstat().st_size for path in files) / 1e6, 1)


def recordings(folder: Path, count: int, seconds: float) -> None:
    """Speech under music: the pilot's clips one after the other from changing places, each file another one, with references and
    transcripts (of the clip that it begins with)."""
    pilot = ROOT / "data/pilot"
    rows = [line.split("\t") for line in (pilot / "transcripts.tsv").read_text(encoding="utf-8").splitlines()]
    place, text = rows[0].index("path"), rows[0].index("transcript")
    voices = {kind: _joined(pilot, kind, [row[place] for row in rows[1:]]) for kind in ("input", "clean")}
    size, length = int(seconds * RATE), len(voices["input"])
    lines = ["path\ttranscript"]
    for number in range(count):
        begin = number * 7919 % (length - size)
        for kind, voice in voices.items():
            (folder / kind).mkdir(parents=True, exist_ok=True)
            sf.write(folder / kind / f"{number:05d}.flac", voice[begin : begin + size], RATE)
        lines.append(f"{number:05d}.flac\t{rows[1 + number % (len(rows) - 1)][text]}")
    (folder / "transcripts.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _joined(pilot: Path, kind: str, names: list[str]) -> np.ndarray:
    parts = []
    for name in names:
        path = next((pilot / kind / name).parent.glob(f"{Path(name).stem}.*"))
        parts.append(audio.read_mono(path, RATE))
    return np.concatenate(parts)


def snakemake(folder: Path, python: Path, *config: str) -> list[str]:
    return [
        str(python), "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder),
        "--workflow-profile", str(ROOT / "profiles/default"), "--cores", str(CORES), "--config", "input=input", *config,
    ]  # fmt: skip


def shares(artifacts: Path) -> dict[str, dict[str, float]]:
    """Seconds of each stage's jobs and their share, the groups of metrics as one."""
    seconds: dict[str, float] = {}
    for work in progress.records(artifacts / "manifests"):
        name = work.stage.partition("/")[0]
        seconds[name] = seconds.get(name, 0.0) + work.work_sec + work.load_sec
    whole = sum(seconds.values())
    return {name: {"seconds": round(spent, 1), "share": round(spent / whole, 3)} for name, spent in seconds.items()}


def measure(folder: Path, *, clone: bool, files: int) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    python = Path(sys.executable)
    if clone:
        rows["clone"] = step(["git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), "clone"], folder)
        rows["clone"]["mb"] = megabytes(folder / "clone")
        rows["setup"] = step(["make", "setup"], folder / "clone")
        rows["setup"]["mb"] = megabytes(folder / "clone/.venv")
        rows["pilot"] = step(["make", "pilot"], folder / "clone")
        rows["again"] = step(["make", "pilot"], folder / "clone")
        python = folder / "clone/.venv/bin/python"
    for name, count, seconds, more in (("few", FEW, FEW_SEC, ["transcripts=null"]), ("many", files, MANY_SEC, [])):
        if count:
            recordings(folder / name, count, seconds)
            rows[name] = {"count": count, **step(snakemake(folder / name, python, *more), folder)}
            rows[name]["stages"] = shares(folder / name / "artifacts")
            rows[name]["mb"] = megabytes(folder / name / "artifacts")
    return {"machine": hardware(), "cores": CORES, "rows": rows}


def tables(result: dict[str, Any]) -> str:
    rows = result["rows"]
    lines = ["| step | seconds | cores busy | MB |", "| --- | ---: | ---: | ---: |"]
    for name, row in rows.items():
        title = TITLES[name].format(count=f"{row.get('count', 0):,}")
        lines.append(f"| {title} | {row['seconds']:.0f} | {100 * row['busy']:.0f}% | {row.get('mb', '')} |")
    if "many" in rows:
        each = sorted(rows["many"]["stages"].items(), key=lambda pair: -pair[1]["seconds"])
        lines += [
            "",
            f"Of the {rows['many']['count']:,} files' work:",
            "",
            "| stage | seconds | share |",
            "| --- | ---: | ---: |",
        ]
        lines += [f"| {name} | {part['seconds']:.0f} | {100 * part['share']:.0f}% |" for name, part in each]
    return "\n".join([*lines, "", f"Measured with two cores of: {result['machine']}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clone", action="store_true", help="a fresh clone with an environment of its own first")
    parser.add_argument("--files", type=int, default=1000, help="files of the larger batch; 0: none")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/lab/performance.md")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="first-minutes-"))
    try:
        result = measure(folder, clone=options.clone, files=options.files)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(tables(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.write:
        write_section(ROOT / "docs/lab/performance.md", "first minutes", tables(result))


if __name__ == "__main__":
    main()
