"""Hostile audio, file by file, in processes with limits: ingest, then the whole chain on tiny models for what ingest takes.

    python -m tests.faults.campaign FOLDER --json RESULTS.json [--only NAME] [--every N] [--chain-every N] [--together]

Each file has a process of its own, forked from one that has loaded everything, with a limit on memory, on processor time and on time.
Standard output is silent; RESULTS holds a row a case: name, group, outcome (`restored`, `rejected`, `broken`), reason,
processor seconds, seconds, MB.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from audiorestorer import audio
from audiorestorer.manifest import Item
from tests.faults.chain import Chain
from tests.faults.hostile_audio import Case, cases

MEMORY_BYTES = 400 << 20  # beyond what the process has before the file
CPU_SEC, WALL_SEC = 60, 120
ROOT = Path(__file__).parents[2]


def limited(function: Callable[[], dict[str, Any]], memory_bytes: int = MEMORY_BYTES) -> dict[str, Any]:
    """Call in a forked process with limits.

    Returns:
        Its result with `cpu_sec`, `seconds` and `mb` (what its memory grew by), or the outcome `broken` with a reason.
    """
    read_end, write_end = os.pipe()
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        try:
            resident_mb = _limit(memory_bytes)
            result = {
                **function(),
                "mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - resident_mb, 1),
            }
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            result = {
                "outcome": "broken",
                "reason": f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})",
            }
        with os.fdopen(write_end, "w") as pipe:
            json.dump(result, pipe)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        text = pipe.read()
    _, status, usage = os.wait4(pid, 0)
    if status or not text:
        ended = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
        result = {"outcome": "broken", "reason": f"the process ended by {ended}"}
    else:
        result = json.loads(text)
    cpu_sec = round(usage.ru_utime + usage.ru_stime, 3)
    return {"mb": 0.0, **result, "cpu_sec": cpu_sec, "seconds": round(time.monotonic() - start, 3)}


def _limit(memory_bytes: int) -> float:
    """Set the limits of this process; returns its resident memory so far, MB."""
    pages, resident, *_ = (int(number) for number in Path("/proc/self/statm").read_text().split())
    bound = pages * os.sysconf("SC_PAGE_SIZE") + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SEC, CPU_SEC))
    signal.alarm(WALL_SEC)
    return resident * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def wrong_output(row: Item, truth: tuple[int, int, int] | None) -> str | None:
    """Why an output is not what the input calls for (rate, channels, frames, finite, within full scale), or None."""
    path = str(row.published)
    found = audio.probe(path)
    want = truth or (row.sr, row.channels, row.frames)
    if (found.sample_rate, found.channels, found.frames) != tuple(want):
        return f"{found.sample_rate} Hz, {found.channels} channels, {found.frames} samples instead of {want}"
    peak = 0.0
    for block in audio.blocks(path):
        if not np.isfinite(block).all():
            return "the output holds NaN or infinity"
        peak = max(peak, float(np.abs(block).max(initial=0)))
    return f"the output's highest sample is {peak:.3g}" if peak > 1 else None


def take(case: Case, chain: Chain, folder: Path) -> dict[str, Any]:
    """One case through ingest."""
    rows = chain.ingest(folder)
    if len(rows) != 1:
        return {"outcome": "broken", "reason": f"{len(rows)} rows"}
    row = rows[0]
    if row.ok:
        return {"outcome": "restored", "reason": None}
    if row.relative != case.name or not row.reason:
        return {"outcome": "broken", "reason": f"a rejected row that names {row.relative!r}: {row.reason!r}"}
    return {"outcome": "rejected", "reason": row.reason}


def restore(case: Case, chain: Chain, folder: Path) -> dict[str, Any]:
    """One case that ingest took through the rest of the chain."""
    row = chain.render(folder)[0]
    if not row.ok:
        return {"outcome": "rejected", "reason": row.reason}
    if (reason := wrong_output(row, case.truth)) is not None:
        return {"outcome": "broken", "reason": reason}
    return {"outcome": "restored", "reason": (row.notes or {}).get("loudness")}


def through_ingest(case: Case, chain: Chain, folder: Path) -> dict[str, Any] | None:
    """A case's row after ingest; None where this machine cannot make the file."""
    if not case.write(folder / "input"):
        return None
    return {"name": case.name, "group": case.group, **limited(lambda: take(case, chain, folder))}


def through_all(case: Case, chain: Chain, folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    """The row of a case that ingest took after the rest of the chain."""
    found = limited(lambda: restore(case, chain, folder))
    return {**row, **found, "cpu_sec": row["cpu_sec"] + found["cpu_sec"], "mb": max(row["mb"], found["mb"])}


def judged(case: Case, row: dict[str, Any]) -> dict[str, Any]:
    """The row, `broken` where its outcome is not what the case calls for."""
    wanted = {"ok": "restored", "rejected": "rejected"}.get(case.expect)
    if row["outcome"] == "broken" or wanted in (None, row["outcome"]):
        return row
    return {**row, "outcome": "broken", "reason": f"{row['outcome']} instead of {wanted}: {row['reason']}"}


def run_together(chain: Chain, folder: Path) -> list[dict[str, Any]]:
    """All cases in one folder through ingest in one process with limits; what was rejected there, or may go on."""
    made = {case.name: case for case in cases() if case.group != "ten hours" and case.write(folder / "input")}

    def outcomes() -> dict[str, Any]:
        return {"outcome": "ran", "rows": {str(row.relative): [row.status, row.reason] for row in chain.ingest(folder)}}

    found = limited(outcomes)
    if found["outcome"] == "broken":
        return [{"name": "all", "group": "together", "expect": "either", **found}]
    return [
        {
            "name": name, "group": case.group, "expect": case.expect, "cpu_sec": found["cpu_sec"], "mb": found["mb"],
            "outcome": {"ok": "ok", "rejected": "rejected"}.get(status, "broken"), "reason": reason,
        }
        for name, case in made.items() for status, reason in [found["rows"].get(name, ["no row", "no row"])]
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th case only, and the ten hours")
    parser.add_argument(
        "--chain-every", type=int, default=1, metavar="N", help="the whole chain for every N-th case only"
    )
    parser.add_argument("--together", action="store_true", help="all in one folder, through ingest")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, sys.stderr.fileno())  # progress lines of every stage of every file, and what decoders print
    options.folder.mkdir(parents=True, exist_ok=True)
    chain = Chain.tiny(options.folder)
    if options.together:
        rows = run_together(chain, options.folder / "together")
    else:
        rows = run_each(chain, options.folder, options.only, options.every, options.chain_every)
    options.json.write_text(json.dumps(rows, indent=1) + "\n")


def run_each(chain: Chain, folder: Path, only: str, every: int, chain_every: int) -> list[dict[str, Any]]:
    """The cases that this machine can make whose name holds `only`, each in a folder of its own."""
    chosen = [
        case
        for number, case in enumerate(cases())
        if only in case.name and (number % every == 0 or case.group == "ten hours")
    ]
    places = [folder / f"{number:04d}" for number in range(len(chosen))]
    warm = folder / "warm"  # a good file here first: the cases' processes begin with modules loaded and digests made
    cases()[0].write(warm / "input")
    chain.ingest(warm)
    rows = [through_ingest(case, chain, place) for case, place in zip(chosen, places, strict=True)]
    chain.render(warm)  # only now: without torch a process is made ten times as fast
    for number, (case, place, row) in enumerate(zip(chosen, places, rows, strict=True)):
        if row and row["outcome"] == "restored" and number % chain_every == 0:
            rows[number] = through_all(case, chain, place, row)
    return [judged(case, row) for case, row in zip(chosen, rows, strict=True) if row is not None]


if __name__ == "__main__":
    main()
