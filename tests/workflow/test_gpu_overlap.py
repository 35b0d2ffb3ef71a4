"""GPUs as a resource: the real rules under `profiles/gpu`, with commands that only take time, and hold a GPU where a network would.

What counts is when they ran: GPU stages never beside each other on one GPU, and the CPU stages of other shards beside them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT, make_workspace
from tests.workflow.stand_ins import stand_in_python, tool

SHARDS = 3
UNIT_SEC = 0.6
UNITS = {
    "ingest": 1,
    "separate": 1.5,
    "fuse": 1,
    "denoise": 1.5,
    "postmask": 1,
    "loudness": 1,
    "evaluate": 2,
    "publish": 1,
}
GPU_STAGES = {"separate", "denoise"}
GPUS = [f"GPU-{uuid.uuid4()}" for _ in range(2)]

COMMAND = """#!{python}
import json, os, sys, time
from audiorestorer.devices import claim

UNITS, GPU_STAGES, UNIT_SEC = SETTINGS
stage, arguments = sys.argv[3], sys.argv[4:]
start = time.monotonic()
gpu = claim("cuda") if stage in GPU_STAGES else None
time.sleep(UNITS.get(stage, 0.1) * UNIT_SEC)
paths = [a for a in arguments[: arguments.index("--config")] if "/" in a] if "--config" in arguments else arguments[:2]
with open(paths[-1], "w") as file:
    file.write('{"id": "a", "noisy": "a.wav", "duration": 60.0, "channels": 1, "status": "ok"}\\n')
shard = os.path.basename(paths[-1]).partition(".")[0]
line = json.dumps({"stage": stage, "shard": shard, "gpu": gpu, "start": start, "end": time.monotonic()}) + "\\n"
os.write(os.open("events.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT), line.encode())
""".replace("SETTINGS", repr((UNITS, GPU_STAGES, UNIT_SEC)))


@dataclass
class Event:
    stage: str
    shard: str
    gpu: str | None
    start: float
    end: float

    @property
    def on_gpu(self) -> bool:
        return self.stage in GPU_STAGES


def run(folder: Path, gpus: int) -> list[Event]:
    """Run the rules on a machine with that many GPUs; when each job ran."""
    python = stand_in_python(folder / "venv", COMMAND)
    tool(folder / "venv", "nvidia-smi", "#!/bin/sh\nprintf '%s\\n' " + " ".join(GPUS[:gpus]) + "\n")
    workspace = make_workspace(folder, items=1)
    for number in range(12):  # enough that no shard is empty
        shutil.copy(folder / "batch/input/x one.wav", folder / f"batch/input/{number}.wav")
    workspace.config |= {"shards": SHARDS, "device": "cuda"}
    targets = [
        f"artifacts/manifests/{stage}/{shard}.jsonl" for stage in ("publish", "evaluate") for shard in range(SHARDS)
    ]
    command = [str(python), *workspace.command("--workflow-profile", str(ROOT / "profiles/gpu"), "--cores", "12")[1:]]
    own = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run(
        [*command, "--resources", f"gpu={gpus}", "--", *targets], env=own, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    events = [Event(**json.loads(line)) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [event for event in events if event.stage in UNITS]


def most_at_once(events: list[Event]) -> int:
    return max(sum(other.start <= event.start < other.end for other in events) for event in events)


def beside(events: list[Event]) -> float:
    """Seconds of CPU stages that ran while a GPU stage of another shard did."""
    return sum(
        max(0.0, min(cpu.end, gpu.end) - max(cpu.start, gpu.start))
        for cpu in events if not cpu.on_gpu for gpu in events if gpu.on_gpu and gpu.shard != cpu.shard
    )  # fmt: skip


def wall(events: list[Event]) -> float:
    return max(event.end for event in events) - min(event.start for event in events)


def idle_and_lag(events: list[Event]) -> tuple[float, float]:
    """Seconds in which the one GPU had no job between its first and last; and those of them in which one was ready.

    The latter is what snakemake takes to start a job, and depends on how busy this machine is.
    """
    ended = {(event.stage, event.shard): event.end for event in events}
    gpu = sorted((event for event in events if event.on_gpu), key=lambda event: event.start)
    idle = lag = 0.0
    for before, after in zip(gpu, gpu[1:], strict=False):
        ready = ended["ingest" if after.stage == "separate" else "fuse", after.shard]
        idle += after.start - before.end
        lag += after.start - max(before.end, ready)
    return idle, lag


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    return run(tmp_path_factory.mktemp("one"), 1)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    yield run(tmp_path_factory.mktemp("two"), 2)
    for gpu in GPUS:
        Path(f"/tmp/audiorestorer_{gpu}.lock").unlink(missing_ok=True)


def test_one_gpu_serves_one_job_at_a_time_and_cpu_stages_run_beside_it(one: list[Event]):
    assert sum(event.on_gpu for event in one) == 3 * SHARDS and len(one) == 9 * SHARDS
    assert most_at_once([event for event in one if event.on_gpu]) == 1
    assert most_at_once(one) >= 3
    # Nothing can be quicker than the GPU's work, with the first shard's ingest before it and the last one's CPU stages behind it.
    critical = UNIT_SEC * (
        UNITS["ingest"] + SHARDS * (2 * UNITS["separate"] + UNITS["denoise"])
        + UNITS["postmask"] + UNITS["loudness"] + max(UNITS["evaluate"], UNITS["publish"])
    )  # fmt: skip
    serial = sum(event.end - event.start for event in one)
    idle, lag = idle_and_lag(one)
    print(
        f"one GPU: wall {wall(one):.1f} s ({lag:.1f} s of it snakemake's between two GPU jobs), critical path {critical:.1f} s,"
        f" one after the other {serial:.1f} s"
    )
    busy = sum(event.end - event.start for event in one if event.on_gpu)
    assert idle - lag < 0.2 * busy, "the GPU never waits for the CPU stages of another shard"
    assert critical <= wall(one) and wall(one) - lag < 0.8 * serial
    assert beside(one) > 0.3 * sum(event.end - event.start for event in one if not event.on_gpu)


@pytest.mark.slow
def test_two_gpus_serve_two_jobs_each_its_own(one: list[Event], two: list[Event]):
    assert most_at_once([event for event in two if event.on_gpu]) == 2
    for gpu in GPUS:
        held = [event for event in two if event.gpu == gpu]
        assert len(held) >= SHARDS and most_at_once(held) == 1
    print(f"two GPUs: wall {wall(two):.1f} s, one: {wall(one):.1f} s")
