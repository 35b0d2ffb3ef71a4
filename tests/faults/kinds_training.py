"""Faults of a training: it goes on from its last whole state and ends with the undisturbed run's model, byte for byte."""

from __future__ import annotations

import json
import random
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from audiorestorer.store import sha256_file
from tests.faults import damage
from tests.faults.injection import Fault
from tests.faults.kinds import ATTEMPTS, Trial, guarded
from tests.faults.workbench import Ended, Workbench

EXPERIMENT = {
    "name": "tiny", "seed": 5, "steps": 8, "steps_per_epoch": 2, "batch_size": 2, "precision": "32-true",
    "warmup_steps": 2, "mixtures": {"segment_sec": 0.3}, "perceptual_eval": {"every_epochs": 1, "items": 1, "seconds": 0.6},
    "audio_debug": {"every_epochs": 1, "items": 1, "seconds": 0.6}, "data_audit": {"every_epochs": 1, "items": 2},
    "network": {
        "sample_rate": 8000, "n_fft": 128, "hop_length": 64, "frequency_fold": 2, "channels": [4, 4],
        "time_strides": [1, 2], "rnn_hidden": 4,
    },
}  # fmt: skip
EPOCHS = 4  # of EXPERIMENT
WORKER_SEC, POLL_SEC = 0.05, 0.002  # how old a worker is when it is killed, at most; how often one is looked for
TOGETHER_SEC = 0.5
MODEL = "artifacts/model.safetensors"
COMMAND = [
    "train", "--config", "experiment.json", "--data", "audio", "--out", MODEL, "--work", "artifacts/runs", "--threads", "1",
]  # fmt: skip


@dataclass
class TrainingReference:
    """An undisturbed training: its workspace before and after, its model, how many events it had."""

    fresh: Workbench
    done: Workbench
    model: str
    events: int


def training_reference(folder: Path) -> TrainingReference:
    """Train undisturbed.

    Raises:
        RuntimeError: it failed; with its log.
    """
    from tests.datasets.conftest import write_training_audio

    fresh = Workbench(folder / "fresh_training")
    fresh.folder.mkdir(parents=True)
    write_training_audio(fresh.folder / "audio")
    (fresh.folder / "experiment.json").write_text(json.dumps(EXPERIMENT))
    done = _copied(fresh, folder / "done_training")
    count = folder / "training_events"
    ended = done.run(Fault(counted=str(count)), [COMMAND])
    if ended.code:
        raise RuntimeError(f"an undisturbed training failed\n{ended.text[-4000:]}")
    return TrainingReference(fresh, done, sha256_file(done.folder / MODEL), int(count.read_text()))


def _copied(source: Workbench, target: Path) -> Workbench:
    shutil.copytree(source.folder, target, dirs_exist_ok=True)
    return Workbench(target, 1, source.context)


def _again(ref: TrainingReference, bench: Workbench, trial: Trial) -> None:
    """The same command until it ends well: the same model."""
    for _ in range(ATTEMPTS):
        ended = bench.run(None, [COMMAND])
        if ended.code == 0:
            break
        _told(trial, ended)
        for record in (bench.folder / "artifacts/runs").glob("*/run.json"):
            if str(record.relative_to(bench.folder)) in ended.message:
                shutil.rmtree(record.parent)
        for path in bench.folder.rglob("artifacts/runs/**/*.*"):
            if path.is_file() and str(path.relative_to(bench.folder)) in ended.message:
                path.unlink()
    model = bench.folder / MODEL
    if not model.exists() or sha256_file(model) != ref.model:
        trial.problems.append(f"the model is {'another' if model.exists() else 'missing'}")
    left = [path for path in (bench.folder / "artifacts/runs").glob("*/checkpoints/*.ckpt") if not path.stat().st_size]
    trial.problems += [f"half-written: {path}" for path in left]


def _told(trial: Trial, ended: Ended) -> None:
    trial.outcome = "message"
    trial.messages.append(ended.message[:600] or ended.text[-600:])
    if not ended.clear():
        trial.problems.append(f"no clear message (exit {ended.code}):\n{ended.text[-1500:]}")


def kill(ref: TrainingReference, bench: Workbench, rng: random.Random, trial: Trial) -> None:
    at = rng.randint(1, ref.events)
    trial.detail = f"event {at} of {ref.events}"
    bench.run(Fault("kill", at), [COMMAND])
    _again(ref, bench, trial)


def damaged_run(ref: TrainingReference, bench: Workbench, rng: random.Random, trial: Trial) -> None:
    """Killed, and then a checkpoint, the run's record, a log or the decoded audio is damaged."""
    at = rng.randint(ref.events // 2, ref.events)
    bench.run(Fault("kill", at), [COMMAND])
    checkpoints = sorted((bench.folder / "artifacts/runs").glob("*/checkpoints/last.ckpt"))
    others = sorted(path for path in (bench.folder / "artifacts/runs").glob("*/run.json"))
    others += sorted((bench.folder / "artifacts/runs").glob("*/logs/*.csv"))
    others += sorted((bench.folder / "artifacts/runs/cache").rglob("[!.]*.*"))
    path = rng.choice(checkpoints if checkpoints and rng.random() < 0.6 else checkpoints + others)
    how = damage.harm(path, rng, rng.choice(["cut", "cut", "empty", "zeros", "delete"]))
    trial.detail = f"event {at}; {how}: {path.relative_to(bench.folder / 'artifacts/runs')}"
    _again(ref, bench, trial)


def kill_worker(ref: TrainingReference, bench: Workbench, rng: random.Random, trial: Trial) -> None:
    """kill -9 of the process that makes the examples (a DataLoader's worker; there is a new one each epoch)."""
    for attempt in range(1, ATTEMPTS + 1):
        wanted, delay = (rng.randint(1, EPOCHS), rng.uniform(0, WORKER_SEC)) if attempt < ATTEMPTS else (1, 0.0)
        process = bench.start(None, [COMMAND])
        killed = _kill_worker(process, wanted, delay)
        ended = bench.end(process)
        trial.detail = f"worker {wanted}, {delay:.2f} s old"
        if killed:
            break
        shutil.rmtree(bench.folder)
        _copied(ref.fresh, bench.folder)
    if not killed:
        trial.problems.append("there was no worker to kill")
    if ended.code:
        _told(trial, ended)
        if "a process that makes examples was ended" not in ended.message or "workers: 0" not in ended.message:
            trial.problems.append(f"the message does not say what ended: {ended.message}")
    _again(ref, bench, trial)


def _kill_worker(process: BaseProcess, wanted: int, delay: float) -> bool:
    """Kill the `wanted`-th worker of a training when it is `delay` seconds old, or one after it; False: there was none any more."""
    seen: set[int] = set()
    while process.is_alive():
        for child in _workers(process):
            seen.add(child.pid)
            if len(seen) >= wanted:
                time.sleep(delay)
                with suppress(psutil.NoSuchProcess):
                    child.kill()
                    return True
        time.sleep(POLL_SEC)
    return False


def _workers(process: BaseProcess) -> list[psutil.Process]:
    with suppress(psutil.Error):
        found = psutil.Process(process.pid).children()
        return [
            child for child in found
            if child.status() != psutil.STATUS_ZOMBIE and not any("resource_tracker" in part for part in child.cmdline())
        ]  # fmt: skip
    return []


def two_at_once(ref: TrainingReference, bench: Workbench, rng: random.Random, trial: Trial) -> None:
    """The same training twice: the second is told to wait."""
    wait = rng.uniform(0, TOGETHER_SEC)
    trial.detail = f"the second {wait:.2f} s after the first had begun"
    first = bench.start(None, [COMMAND], log="first")
    while first.is_alive() and not list((bench.folder / "artifacts/runs").glob(".lock_*")):
        time.sleep(POLL_SEC)
    first.join(wait)
    second = bench.end(bench.start(None, [COMMAND], log="second"), "second")
    ended = bench.end(first, "first")
    refused = [each for each in (ended, second) if each.code]  # whichever comes to the lock second
    for each in refused:
        _told(trial, each)
    if len(refused) > 1 or any("another process is training" not in each.message for each in refused):
        trial.problems.append(f"the first: {ended.text[-800:]}\nthe second: {second.text[-800:]}")
    _again(ref, bench, trial)


def full_disk(ref: TrainingReference, bench: Workbench, rng: random.Random, trial: Trial) -> None:
    from tests.faults import disks

    at = rng.randint(1, ref.events)
    trial.detail = f"event {at}"
    with disks.small_disk(bench.folder, 64):
        _copied(ref.fresh, bench.folder)
        (bench.folder / "artifacts").mkdir()
        ended = bench.run(Fault("fill", at, target="artifacts"), [COMMAND])
        if ended.code:
            _told(trial, ended)
        (bench.folder / "artifacts/ballast").unlink(missing_ok=True)
        _again(ref, bench, trial)


KINDS = {
    "training_kill": ("kill -9 of a training", kill),
    "training_worker": ("kill -9 of the process that makes a training's examples", kill_worker),
    "training_two": ("the same training twice at once", two_at_once),
    "training_damaged": ("checkpoint, record, log or cache of a training cut or damaged", damaged_run),
    "training_full_disk": ("disk full (tmpfs) during a training", full_disk),
}


def play(ref: TrainingReference, folder: Path, kind: str, seed: int) -> Trial:
    """Play one fault; never raises."""
    return guarded(
        Trial(kind, seed), folder,
        lambda trial: KINDS[kind][1](ref, _copied(ref.fresh, folder), random.Random(f"{kind}-{seed}"), trial),
    )  # fmt: skip
