"""Slots of several GPUs, with a driver's tool that lists what the test says: who gets which, who waits, what a kill frees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from audiorestorer.devices import visible

ROOT = Path(__file__).parents[1]
JOB = """
import os, sys, time
from audiorestorer.devices import claim
first, second = claim(sys.argv[1]), claim(sys.argv[1])
print(first, second, os.environ.get("CUDA_VISIBLE_DEVICES"), "torch" in sys.modules, flush=True)
sys.stdin.read()
"""


class Machine:
    """A machine with so many GPUs: an `nvidia-smi` that lists them, and jobs that ask for one."""

    def __init__(self, folder: Path, count: int) -> None:
        self.gpus = [f"GPU-{uuid.uuid4()}" for _ in range(count)]
        self.tools = folder / "bin"
        self.tools.mkdir()
        (self.tools / "nvidia-smi").write_text("#!/bin/sh\nprintf '%s\\n' " + " ".join(self.gpus) + "\n")
        (self.tools / "nvidia-smi").chmod(0o755)
        self.jobs: list[subprocess.Popen[str]] = []

    def start(self, device: str = "auto", **environment: str) -> subprocess.Popen[str]:
        own = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
        own |= {"PATH": f"{self.tools}{os.pathsep}{own['PATH']}", "PYTHONPATH": str(ROOT), **environment}
        job = subprocess.Popen(
            [sys.executable, "-c", JOB, device], env=own, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.jobs.append(job)
        return job

    def close(self) -> None:
        for job in self.jobs:
            job.kill()
            job.communicate()
        for gpu in self.gpus:
            Path(f"/tmp/audiorestorer_{gpu}.lock").unlink(missing_ok=True)


@pytest.fixture
def machine(tmp_path: Path):
    found = Machine(tmp_path, 2)
    yield found
    found.close()


def answer(job: subprocess.Popen[str]) -> list[str]:
    assert job.stdout is not None
    return job.stdout.readline().split()


def test_each_job_has_a_gpu_of_its_own_and_a_kill_frees_it(machine: Machine):
    first, second = machine.start(), machine.start("cuda")
    answers = [answer(first), answer(second)]
    assert sorted(line[0] for line in answers) == sorted(machine.gpus)
    for line in answers:
        assert line[0] == line[1] == line[2], "asked again, a job keeps its GPU; CUDA sees that one alone"
        assert line[3] == "False", "CUDA reads the variable once: torch must not have started"
    third = machine.start()
    time.sleep(1.5)
    os.set_blocking(third.stdout.fileno(), False)
    assert third.stdout.readline() == "", "both GPUs are taken: the third job waits"
    os.set_blocking(third.stdout.fileno(), True)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert answer(third)[0] == answers[0][0]


def test_a_choice_that_was_made_elsewhere_stands(machine: Machine):
    assert answer(machine.start("cpu"))[0] == "None"
    assert answer(machine.start("cuda:1"))[0] == "None"
    assert answer(machine.start(CUDA_VISIBLE_DEVICES="1"))[:3] == ["None", "None", "1"], (
        "what a cluster's scheduler gave"
    )
    assert answer(machine.start(CUDA_VISIBLE_DEVICES="1,0"))[2] == "1", "the caller's order"
    assert answer(machine.start())[2] == machine.gpus[0], "an index and a UUID are the same GPU: 1 is taken"


def test_the_variable_is_read_as_cuda_reads_it():
    gpus = ["GPU-aa11", "GPU-aa22", "GPU-bb33"]
    assert visible(gpus, {}) == {gpu: gpu for gpu in gpus}
    assert visible(gpus, {"CUDA_VISIBLE_DEVICES": "2, 0"}) == {"2": "GPU-bb33", "0": "GPU-aa11"}
    assert visible(gpus, {"CUDA_VISIBLE_DEVICES": "GPU-bb,1"}) == {"GPU-bb": "GPU-bb33", "1": "GPU-aa22"}
    assert visible(gpus, {"CUDA_VISIBLE_DEVICES": "1,-1,0"}) == {"1": "GPU-aa22"}, (
        "nothing behind the first invalid entry"
    )
    assert visible(gpus, {"CUDA_VISIBLE_DEVICES": "GPU-aa,0"}) == {}, "an ambiguous beginning is invalid"
    assert visible(gpus, {"CUDA_VISIBLE_DEVICES": "7"}) == visible(gpus, {"CUDA_VISIBLE_DEVICES": ""}) == {}
    assert visible(gpus, {"CUDA_VISIBLE_DEVICES": "MIG-x,MIG-y"}) == {"MIG-x": "MIG-x", "MIG-y": "MIG-y"}
