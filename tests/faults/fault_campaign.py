"""The fault campaign: so many faults, each of a kind and a seed, and what came of them."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from audiorestorer.files import read_json, write_json
from audiorestorer.store import key_of, sha256_file
from tests.faults import disks, kinds, kinds_training, kinds_workflow
from tests.faults.kinds import Trial

ROOT = Path(__file__).parents[2]
FOLDER = "faults-"  # what the names of campaigns' folders begin with
TRAINING = {
    "training_kill": 10, "training_worker": 8, "training_two": 3, "training_damaged": 10, "training_full_disk": 4,
}  # fmt: skip
WORKFLOW_EACH = 9  # so many faults go with one of a whole Snakemake run, which takes some twenty times as long
COUNTS = ("tried", "identical", "message", "lost", "not_here")
SHORT = {
    "kill": 1, "full_disk": 1, "input_away": 1, "damaged_store": 1, "damaged_in_use": 1, "two_at_once": 1,
}  # fmt: skip


def plan(faults: int) -> dict[str, int]:
    """How many faults of each kind, by their shares; at least one of each."""
    workflow = max(1, faults // WORKFLOW_EACH)
    shares = {name: kind.share for name, kind in kinds.KINDS.items()} | TRAINING
    left, total = faults - workflow, sum(shares.values())
    counts = {name: max(1, math.floor(left * share / total)) for name, share in shares.items()}
    counts["kill"] += max(0, left - sum(counts.values()))
    names = list(kinds_workflow.KINDS)
    for number in range(workflow):
        name = names[number % len(names)]
        counts[name] = counts.get(name, 0) + 1
    return counts


def titles() -> dict[str, str]:
    return {
        **{name: kind.title for name, kind in kinds.KINDS.items()},
        **{name: title for name, (title, _) in {**kinds_training.KINDS, **kinds_workflow.KINDS}.items()},
    }


class Stage:
    """References made once, when the first fault needs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: dict[str, Any] = {}

    def once(self, name: str, make: Any) -> Any:
        if name not in self._made:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            self._made[name] = make(self.folder / name)
        return self._made[name]

    def play(self, kind: str, seed: int) -> Trial | None:
        """One fault; None where this machine does not allow it."""
        place = self.folder / "trial"
        if kind in kinds.KINDS:
            chosen = kinds.KINDS[kind]
            if not self.once(f"may_{chosen.needs.__name__}", lambda folder: chosen.needs(self.folder / "probe")):
                return None
            threads = chosen.threads
            return kinds.scene_of(
                self.once(f"ref{threads}", lambda at: kinds.reference(at, threads)), place, kind, seed
            )
        if "full_disk" in kind and not disks.can_mount(self.folder / "probe"):
            return None
        if kind in kinds_training.KINDS:
            return kinds_training.play(self.once("training", kinds_training.training_reference), place, kind, seed)
        return kinds_workflow.play(self.once("workflow", kinds_workflow.workflow_reference), place, kind, seed)


def trials(
    folder: Path, counts: dict[str, int], seed: int, played: Collection[tuple[str, int]] = ()
) -> Iterator[tuple[str, Trial | None]]:
    """Play them kind by kind, but for those (kind, seed) that were played; `folder` is emptied at the end."""
    stage = Stage(folder)
    try:
        for kind, count in counts.items():
            for number in range(count):
                if (kind, seed * 1000 + number) not in played:
                    yield kind, stage.play(kind, seed * 1000 + number)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def campaign(
    folder: Path, counts: dict[str, int], seed: int, *, show: bool = True, record: Path | None = None
) -> dict[str, Any]:
    """Run it.

    Args:
        record: where the result is written after each fault. One that holds a part of the same campaign (seed, counts, code) is gone
            on with.

    Returns:
        `kinds`: a row each (tried, identical, message, lost, not possible here); `lost`: what went wrong, in full; `trials`.
    """
    plan = {"seed": seed, "counts": counts, "code": code_digest(), "folder": str(folder)}
    played, spent = _played(record, plan) if record else ([], 0.0)
    start = time.monotonic() - spent
    rows = {
        kind: {
            "kind": kind,
            "title": titles()[kind],
            "tried": 0,
            "identical": 0,
            "message": 0,
            "lost": 0,
            "not_here": 0,
        }
        for kind in counts
    }
    for trial in played:
        _count(rows, trial)
    if played and show:
        print(f"{len(played)} faults were played before: going on", file=sys.stderr, flush=True)
    for kind, trial in trials(folder, counts, seed, {(trial.kind, trial.seed) for trial in played}):
        if trial is None:
            rows[kind]["not_here"] += 1
            continue
        played.append(trial)
        _count(rows, trial)
        if show:
            what = "LOST" if trial.problems else trial.outcome
            print(
                f"{time.monotonic() - start:7.0f} s  {kind} {trial.seed}: {what}: {trial.detail}",
                file=sys.stderr,
                flush=True,
            )
            for problem in trial.problems:
                print(f"    {problem}", file=sys.stderr, flush=True)
        if record:
            write_json(record, _result(rows, played, plan, start), indent=1)
    return _result(rows, played, plan, start)


def _count(rows: dict[str, dict[str, Any]], trial: Trial) -> None:
    rows[trial.kind]["tried"] += 1
    rows[trial.kind]["lost" if trial.problems else trial.outcome] += 1


def code_digest() -> str:
    """Of all that a fault meets: results of other code are another campaign's."""
    paths = [path for name in ("audiorestorer", "rules", "tests/faults") for path in (ROOT / name).rglob("*.*")]
    found = [path for path in paths if path.suffix in (".py", ".smk")]
    return key_of(files={str(path.relative_to(ROOT)): sha256_file(path) for path in found})[:16]


def _played(record: Path, plan: dict[str, Any]) -> tuple[list[Trial], float]:
    """The faults of a killed campaign, whose folder is removed, and the seconds that they took; none where the record is another's."""
    found = read_json(record) if record.exists() else {}
    if any(found.get(name) != plan[name] for name in ("seed", "counts", "code")):
        return [], 0.0
    if Path(found["folder"]).name.startswith(FOLDER) and found["folder"] != plan["folder"]:
        disks.clear(Path(found["folder"]))
    lost = {(trial["kind"], trial["seed"]): trial for trial in found["lost"]}
    whole = [lost.get((trial["kind"], trial["seed"]), {**trial, "problems": []}) for trial in found["trials"]]
    return [Trial(**trial) for trial in whole], found["seconds"]


def _result(rows: dict[str, dict[str, Any]], played: list[Trial], plan: dict[str, Any], start: float) -> dict[str, Any]:
    return {
        **plan,
        "seconds": round(time.monotonic() - start, 1),
        "rights": disks.freezing(),
        "kinds": list(rows.values()),
        "lost": [vars(trial) for trial in played if trial.problems],
        "trials": [{**vars(trial), "problems": len(trial.problems)} for trial in played],
    }


def together(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The results of several runs as one: a kind's of different seeds are added, of the same seed the last one counts."""
    rows = {(row["kind"], result["seed"]): (row, result) for result in results for row in result["kinds"]}
    found: dict[str, dict[str, Any]] = {}
    for (kind, _), (row, _) in rows.items():
        sums = found.setdefault(kind, {**row, **dict.fromkeys(COUNTS, 0)})
        sums |= {name: sums[name] + row[name] for name in COUNTS}

    def kept(name: str) -> list[dict[str, Any]]:
        return [trial for (kind, _), (_, result) in rows.items() for trial in result[name] if trial["kind"] == kind]

    return {
        "seed": ", ".join(sorted({str(result["seed"]) for result in results})),
        "parts": len(results),
        "seconds": sum(result["seconds"] for result in results),
        "rights": results[-1]["rights"],
        "kinds": [found[kind] for kind in titles() if kind in found],
        "lost": kept("lost"),
        "trials": kept("trials"),
    }


def table(result: dict[str, Any]) -> str:
    """The section of docs/lab/reliability.md."""
    rows: Sequence[dict[str, Any]] = result["kinds"]

    def total(name: str) -> int:
        return sum(row[name] for row in rows)

    head = ["fault", "tried", "ended with the same bytes", "said what to do, then did", "lost"]
    lines = [f"| {' | '.join(head)} |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        if row["tried"]:
            lines.append(f"| {row['title']} | {row['tried']} | {row['identical']} | {row['message']} | {row['lost']} |")
    lines.append(
        f"| **all** | **{total('tried')}** | **{total('identical')}** | **{total('message')}** | **{total('lost')}** |"
    )
    left_out = [row["title"] for row in rows if row["not_here"]]
    if left_out:
        lines += ["", f"Not possible on the machine that ran it: {'; '.join(left_out)}."]
    return "\n".join(lines)
