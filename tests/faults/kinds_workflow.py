"""Faults of a whole run by Snakemake: the same command is started again, as a person would."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from audiorestorer.job_server import JOB
from tests.faults import damage, disks
from tests.faults.kinds import ATTEMPTS, Trial, guarded
from tests.faults.workbench import REMEDY
from tests.workflow.conftest import Workspace, environment, make_workspace

LIMIT_SEC = 900
SLEEP_SEC = 0.02


@dataclass
class WorkflowReference:
    """An undisturbed run: its workspace before and after, its output, how many items its store has."""

    fresh: Path
    done: Path
    outputs: dict[str, bytes]
    entries: int


def workflow_reference(folder: Path) -> WorkflowReference:
    """Run Snakemake undisturbed; raises RuntimeError with its log where it fails."""
    make_workspace(folder / "fresh", items=3)
    workspace = _copied(folder / "fresh", folder / "done")
    code, text = _run(workspace)
    if code:
        raise RuntimeError(f"an undisturbed run failed\n{text[-4000:]}")
    return WorkflowReference(folder / "fresh", folder / "done", workspace.outputs(), len(_kept(workspace)))


def _copied(source: Path, target: Path) -> Workspace:
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    workspace = Workspace(target)
    # relative, so that a copy at another place is the same batch; figures and pages cost time and take no part
    workspace.config |= {"input": "batch/input", "registry": "models.yaml", "evaluate": {"metrics": ["loudness"]}}
    return workspace


def _command(workspace: Workspace) -> list[str]:
    return workspace.command("--", *(f"artifacts/manifests/publish/{shard}.jsonl" for shard in (0, 1)))


def _start(workspace: Workspace) -> tuple[subprocess.Popen[bytes], Path]:
    log = workspace.folder.parent / f"{workspace.folder.name}.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            _command(workspace), stdout=out, stderr=out, start_new_session=True, env=environment()
        )
    return process, log


def _run(workspace: Workspace) -> tuple[int, str]:
    process, log = _start(workspace)
    return process.wait(LIMIT_SEC), log.read_text(errors="replace")


def _jobs(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The running stages below a Snakemake process."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
        return [one for one in family if one.name().startswith(JOB)]
    except psutil.Error:
        return []


def _moment(
    ref: WorkflowReference, workspace: Workspace, rng: random.Random, process: subprocess.Popen[bytes], trial: Trial
) -> None:
    """Wait until a random number of items is finished: a moment of the run, however busy the machine is."""
    wanted = rng.randrange(ref.entries)
    while len(_kept(workspace)) < wanted and process.poll() is None:
        time.sleep(SLEEP_SEC)
    trial.detail = f"after {wanted} of {ref.entries} items"
    if process.poll() is not None:
        trial.problems.append("the run ended before the fault")


def _again(ref: WorkflowReference, workspace: Workspace, trial: Trial, kept: dict[Path, int] | None = None) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        code, text = _run(workspace)
        if code == 0:
            break
        trial.outcome = "message"
        told = [line for line in text.splitlines() if REMEDY.search(line)]
        trial.messages.append("\n".join(told[:3]) or text[-600:])
        if not told:
            trial.problems.append(f"no remedy in the message (exit {code}):\n{text[-2500:]}")
        for path in sorted((workspace.folder / "artifacts/manifests").rglob("*.jsonl")):
            if any(str(path.relative_to(workspace.folder)) in line and "delete it" in line for line in told):
                path.unlink()
        if attempt == ATTEMPTS:
            trial.problems.append(f"still fails at attempt {ATTEMPTS}")
            return
    if workspace.outputs() != ref.outputs:
        trial.problems.append(f"outputs differ: {sorted(workspace.outputs())}")
    lost = [path for path, stamp in (kept or {}).items() if not path.exists() or path.stat().st_mtime_ns != stamp]
    if lost:
        trial.problems.append(f"{len(lost)} finished items were made again: {lost[0]}")


def _kept(workspace: Workspace) -> dict[Path, int]:
    """The finished entries. A folder may go while it is looked through: `rglob` would end there."""
    store = workspace.folder / "artifacts/store"
    found = (Path(root, name) for root, _, names in os.walk(store) for name in names)
    whole = (path for path in found if path.suffix == ".json" and "/." not in str(path.relative_to(store.parent)))
    return {path: path.stat().st_mtime_ns for path in whole}


def kill_all(ref: WorkflowReference, workspace: Workspace, rng: random.Random, trial: Trial) -> None:
    process, _ = _start(workspace)
    _moment(ref, workspace, rng, process, trial)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.2)
    _again(ref, workspace, trial, _kept(workspace))


def kill_snakemake(ref: WorkflowReference, workspace: Workspace, rng: random.Random, trial: Trial) -> None:
    """Snakemake alone: its jobs live on, and the next run starts beside them."""
    process, _ = _start(workspace)
    _moment(ref, workspace, rng, process, trial)
    process.kill()
    process.wait()
    _again(ref, workspace, trial)


def kill_job(ref: WorkflowReference, workspace: Workspace, rng: random.Random, trial: Trial) -> None:
    """A job alone: Snakemake says so, and goes on with the others."""
    process, _ = _start(workspace)
    _moment(ref, workspace, rng, process, trial)
    while process.poll() is None and not (jobs := _jobs(process)):
        time.sleep(SLEEP_SEC)
    if process.poll() is None:
        trial.detail += f": {jobs[0].name()}"
        jobs[0].kill()
    else:
        trial.problems.append("no job was running")
    process.wait(LIMIT_SEC)
    _again(ref, workspace, trial, _kept(workspace))


def second_run(ref: WorkflowReference, workspace: Workspace, rng: random.Random, trial: Trial) -> None:
    """A second run while the first is at work: refused, or after it."""
    first, log = _start(workspace)
    while first.poll() is None and not (workspace.folder / "artifacts/.lock").exists():
        time.sleep(SLEEP_SEC)
    second = subprocess.run(_command(workspace), capture_output=True, text=True, env=environment())
    if second.returncode:
        trial.outcome = "message"
        trial.messages.append(
            next((line for line in second.stderr.splitlines() if "another run" in line), second.stderr[-600:])
        )
        if "another run is working" not in second.stderr + second.stdout:
            trial.problems.append(f"no clear message\n{second.stderr[-1500:]}")
    if first.wait(LIMIT_SEC):
        trial.problems.append(f"the first run failed\n{log.read_text()[-2500:]}")
    _again(ref, workspace, trial)


def damaged_artifact(ref: WorkflowReference, workspace: Workspace, rng: random.Random, trial: Trial) -> None:
    """In a finished run a manifest is damaged, and an input is newer: its stages are run again."""
    shutil.copytree(ref.done, workspace.folder, symlinks=True, dirs_exist_ok=True)
    paths = sorted((workspace.folder / "artifacts/manifests").rglob("*.jsonl"))
    path = rng.choice(paths)
    how = damage.harm(path, rng, rng.choice(["cut", "empty", "zeros", "delete"]))
    trial.detail = f"{how}: {path.relative_to(workspace.folder)}"
    shutil.rmtree(workspace.folder / "artifacts/output")
    _again(ref, workspace, trial)


def full_disk(ref: WorkflowReference, workspace: Workspace, rng: random.Random, trial: Trial) -> None:
    """The disk of the artifacts is full from one moment on; then there is room again."""
    (workspace.folder / "artifacts").mkdir()
    with disks.small_disk(workspace.folder / "artifacts", 64):
        process, log = _start(workspace)
        _moment(ref, workspace, rng, process, trial)
        ballast = workspace.folder / "artifacts/ballast"
        try:
            ballast.write_bytes(bytes(64 << 20))
        except OSError as error:
            trial.detail += f": {error.strerror}"
        code = process.wait(LIMIT_SEC)
        text = log.read_text(errors="replace")
        if code:
            trial.outcome = "message"
            told = [line for line in text.splitlines() if "No space left" in line]
            trial.messages.append("\n".join(told[:3]) or text[-600:])
            if not told:
                trial.problems.append(f"the message does not say that the disk is full\n{text[-2500:]}")
        kept = _kept(workspace)
        ballast.unlink(missing_ok=True)
        _again(ref, workspace, trial, kept)


KINDS: dict[str, tuple[str, Callable[[WorkflowReference, Workspace, random.Random, Trial], None]]] = {
    "workflow_kill_all": ("Snakemake: kill -9 of the whole run", kill_all),
    "workflow_kill_snakemake": ("Snakemake: kill -9 of Snakemake alone, its jobs live on", kill_snakemake),
    "workflow_kill_job": ("Snakemake: kill -9 of a job", kill_job),
    "workflow_second": ("Snakemake: a second run on the same folder", second_run),
    "workflow_damaged": ("Snakemake: a manifest damaged, the output gone", damaged_artifact),
    "workflow_full_disk": ("Snakemake: disk full (tmpfs)", full_disk),
}


def play(ref: WorkflowReference, folder: Path, kind: str, seed: int) -> Trial:
    """Play one fault; never raises."""
    return guarded(
        Trial(kind, seed), folder,
        lambda trial: KINDS[kind][1](ref, _copied(ref.fresh, folder), random.Random(f"{kind}-{seed}"), trial),
    )  # fmt: skip
