"""A batch through a real SLURM of one node (tests/slurm/one_node.sh) with `profiles/slurm`, against the same batch run locally."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import ROOT, Workspace, environment, make_workspace
from tests.workflow.stand_ins import stand_in_python

NEEDED = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "munged", "unshare")
MISSING = [name for name in NEEDED if shutil.which(name) is None]
if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
    MISSING.append("snakemake-executor-plugin-slurm")
if os.geteuid() != 0:
    MISSING.append("root")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING), reason=f"no real SLURM: {', '.join(MISSING)} missing (apt-get install slurm-wlm munge, as root)"
    ),
]

# One shard through all stages; of the other its ingest alone, which hangs meanwhile.
TARGETS = [f"artifacts/manifests/{name}.jsonl" for name in ("publish/0", "evaluate/0", "ingest/1")]
# The first ingest of shard 1 hangs, as on a file system that does not answer: SLURM ends it at its time limit.
STALLS_ONCE = """#!/bin/sh
case "$*" in
  *" ingest "*"--shard 1 "*) mkdir "{stalled}" 2> /dev/null && exec sleep 600 ;;
esac
exec "{python}" "$@"
"""


@dataclass
class Job:
    """A line of `scontrol show job`; times in ISO format, so they compare as text."""

    name: str
    state: str
    limit: str
    gpus: bool
    submit: str
    start: str
    end: str


@dataclass
class Runs:
    local: Workspace
    slurm: Workspace
    log: str
    jobs: list[Job]

    def named(self, part: str) -> list[Job]:
        return [job for job in self.jobs if part in job.name]


def edited_profile(folder: Path) -> Path:
    """`profiles/slurm` with what docs/cluster.md says to edit for this cluster, and a minute for the ingest that will hang."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text())
    profile["jobs"] = 6
    profile["slurm-status-command"] = "squeue"
    profile["slurm-init-seconds-before-status-checks"] = 1
    profile["latency-wait"] = 5
    profile["set-threads"] = {"separate": 1, "denoise": 1, "evaluate": 1}  # the node has two cores
    profile["set-resources"]["ingest"] = {"runtime": "16 ** (attempt - 1) if wildcards.shard == '1' else 16"}
    path = folder / "profile/profile.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(profile))
    return path.parent


def parsed(text: str) -> list[Job]:
    def of(line: str, key: str) -> str:
        found = re.search(rf"(?:^|\s){key}=(\S*)", line)
        return found.group(1) if found else ""

    return [
        Job(
            of(line, "Comment"), of(line, "JobState"), of(line, "TimeLimit"), "gpu" in of(line, "TresPerJob"),
            of(line, "SubmitTime"), of(line, "StartTime"), of(line, "EndTime"),
        )
        for line in text.splitlines()
    ]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("slurm")
    workspace = make_workspace(folder / "w")
    workspace.config |= {"evaluate": {"metrics": ["loudness", "music", "signal"]}}
    workspace.config["separators"] = [{"name": "a", "model": "tiny_a"}, {"name": "b", "model": "tiny_a", "shifts": 1}]
    workspace.run("--set-threads", "separate=1", "denoise=1", "--", *TARGETS)
    (folder / "w/artifacts").rename(
        folder / "artifacts"
    )  # the same batch at the same place, so every byte can be compared

    python = stand_in_python(folder / "venv", STALLS_ONCE.replace("{stalled}", str(folder / "stalled")))
    command = [
        str(python),
        *workspace.command("--workflow-profile", str(edited_profile(folder)), "--", *TARGETS)[1:],
    ]
    script = f'"$@"; status=$?; scontrol --oneliner show job > {folder}/jobs; exit $status'
    done = subprocess.run(
        [str(ROOT / "tests/slurm/one_node.sh"), str(folder / "slurm"), "bash", "-c", script, "-", *command],
        capture_output=True, text=True, env=environment(), timeout=840,
    )  # fmt: skip
    log = done.stdout + done.stderr
    assert done.returncode == 0, log[-8000:]
    local = Workspace(folder)
    return Runs(local, workspace, log, parsed((folder / "jobs").read_text()))


def files(workspace: Workspace, pattern: str) -> dict[str, bytes]:
    root = workspace.folder / "artifacts"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob(pattern))}


def test_the_result_equals_the_local_run_byte_for_byte(runs: Runs):
    assert len(runs.slurm.outputs()) == 2 and runs.slurm.outputs() == runs.local.outputs()
    manifests = files(runs.slurm, "manifests/**/*.jsonl")
    assert "manifests/publish/0.jsonl" in manifests and manifests == files(runs.local, "manifests/**/*.jsonl")


def test_a_job_killed_by_its_time_limit_is_retried_with_more(runs: Runs):
    attempts = sorted(runs.named("rule_ingest_wildcards_1"), key=lambda job: job.submit)
    assert [(job.state, job.limit) for job in attempts] == [("TIMEOUT", "00:01:00"), ("COMPLETED", "00:16:00")]
    assert {job.state for job in runs.jobs if job not in attempts} == {"COMPLETED"}


def test_gpu_jobs_run_one_at_a_time(runs: Runs):
    gpu = sorted((job for job in runs.jobs if job.gpus), key=lambda job: job.start)
    assert len(gpu) == 3 and all("separate" in job.name or "denoise" in job.name for job in gpu)
    assert any(after.submit < before.end for before, after in zip(gpu, gpu[1:], strict=False)), "two were in the queue"
    assert all(before.end <= after.start for before, after in zip(gpu, gpu[1:], strict=False))


def test_cpu_stages_of_a_shard_are_one_job_with_the_memory_and_time_of_the_profile(runs: Runs):
    (finish,) = runs.named("finish")
    assert all(stage in finish.name for stage in ("postmask", "loudness", "evaluate", "publish"))
    assert not runs.named("rule_postmask") and not runs.named("rule_publish")
    assert {job.limit for job in runs.named("separate")} == {"00:11:00"}
    assert finish.limit == "00:33:00", "three stages one after the other; evaluate and publish at once"
