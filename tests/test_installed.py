"""What the base environment does without torch, and how it says what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from audiorestorer import digest, installed
from audiorestorer.errors import AudioRestorerError
from scripts.release import write_locks
from tests.test_missing_extras import ROOT, without
from tests.workflow.conftest import Workspace, make_workspace

# what a start of each command must not load: (modules, stages that may)
HEAVY = ("torch", "scipy", "pandas", "matplotlib", "onnxruntime", "librosa", "pocketsphinx", "pystoi", "openvino")
MAY = {
    "separate": {"onnxruntime"}, "denoise": {"onnxruntime"},
    "batch.snippets": {"matplotlib"}, "batch.report": {"matplotlib"},
}  # fmt: skip
STAGES = (
    "ingest", "separate", "fuse", "denoise", "postmask", "loudness", "evaluate", "publish", "batch.collect", "batch.tidy",
    "batch.snippets", "batch.report", "batch.deliver",
)  # fmt: skip
# Snakemake imports every plugin that is installed, and the one for SLURM needs pandas: what it needs stays
PLUGIN = write_locks.needed(["snakemake-executor-plugin-slurm"])
SECOND = sorted(
    name.replace("-", "_") for name in write_locks.packages(write_locks.MODELS.read_text()) if name not in PLUGIN
)


def test_no_stage_imports_what_it_does_not_use() -> None:
    code = """
import os, sys
from importlib import import_module
import audiorestorer.config, audiorestorer.stages.shard
for stage in sys.argv[2:]:
    if os.fork() == 0:
        import_module(f"audiorestorer.stages.{stage}")
        print(stage, *(name for name in sys.argv[1].split(",") if name in sys.modules), flush=True)
        os._exit(0)
    os.wait()
"""
    command = [sys.executable, "-c", code, ",".join(HEAVY), *STAGES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {line.split()[0]: set(line.split()[1:]) for line in done.stdout.splitlines()}
    assert loaded.keys() == set(STAGES)
    assert {stage: names - MAY.get(stage, set()) for stage, names in loaded.items()} == {
        stage: set() for stage in STAGES
    }


def test_every_kind_that_imports_torch_says_so() -> None:
    for kind in ("demucs", "dns64", "enhancer"):
        assert "torch" in digest.constant_of(f"separators.{kind}", "PACKAGES")
    assert digest.constant_of("separators.mask_network", "PACKAGES") == ()


def test_a_package_that_is_not_there_is_named_with_the_command() -> None:
    assert installed.absent(["numpy", "no_such_package"]) == ["no_such_package"]
    installed.check(["numpy"], "the model m")
    with pytest.raises(
        AudioRestorerError, match="the model m needs no_such_package, not installed yet: run `make setup-models`"
    ):
        installed.check(["numpy", "no_such_package"], "the model m")
    told = installed.of_import(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"))
    assert "the package torch is needed and not installed: run `make setup-models`" in str(told)
    assert installed.of_import(ModuleNotFoundError("x", name="audiorestorer.absent")) is None


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("base")
    (folder / "block").mkdir()
    (folder / "block/sitecustomize.py").write_text(without(SECOND))
    made = make_workspace(folder / "w", items=1)
    made.config |= {"shards": 1}
    return made


def run(workspace: Workspace, *arguments: str) -> tuple[int, str]:
    """A run of real interpreters that find the base environment alone."""
    block = str(workspace.folder.parent / "block")
    env = {
        **os.environ, "PYTHONPATH": block, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    command = workspace.command(*arguments)
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_whole_chain_runs_without_the_second_lock(workspace: Workspace) -> None:
    code, text = run(workspace, "--", "artifacts/manifests/publish/0.jsonl", "metrics")
    assert code == 0, text[-4000:]
    assert workspace.outputs()
    items = [row for row in workspace.metrics()["items"] if row["status"] == "ok"]
    assert items and all({"lufs", "stoi", "si_sdr_improvement_db"} <= row.keys() for row in items)


@pytest.mark.parametrize(
    ("target", "change", "said"),
    [
        ("training", {}, "needs torch, lightning, not installed yet: run `make setup-models`"),
        ("artifacts/report/analysis.html", {}, "the rule analysis needs nbconvert, ipykernel, not installed yet"),
        (
            "metrics", {"separators": [{"name": "a", "model": "tiny_a", "backend": "torch"}]},
            "the model tiny_a needs torch, not installed yet: run `make setup-models`",
        ),
        (
            "metrics", {"denoise": {"enabled": True, "model": "big"}, "registry": "big.yaml"},
            "the model big needs demucs, torch, not installed yet: run `make setup-models`",
        ),
    ],
)  # fmt: skip
def test_what_needs_more_is_refused_before_the_first_job(
    workspace: Workspace, target: str, change: dict, said: str
) -> None:
    entry = "  big: {kind: demucs, source: tiny_a.safetensors, licence: MIT, task: separate}\n"
    (workspace.folder / "big.yaml").write_text((workspace.folder / "models.yaml").read_text() + entry)
    before = dict(workspace.config)
    workspace.config |= change
    code, text = run(workspace, "--", target)
    workspace.config = before
    assert code and said in text, text[-3000:]
    assert "Traceback" not in text and "rule ingest:" not in text.split(said)[0]
