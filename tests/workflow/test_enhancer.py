"""The enhancer, trained and used by snakemake on tiny experiments: one target, killed and started again, nothing done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from audiorestorer.datasets.enhancement import generated_folder as generated_enhancement
from audiorestorer.models.enhancer.checkpoint import load_checkpoint
from tests import warm
from tests.training.enhancer.conftest import DENOISER, STAGE1, STAGE2
from tests.workflow.conftest import ROOT

EXPERIMENTS = {"denoiser": DENOISER, "stage1": STAGE1, "stage2": STAGE2}


def command(folder: Path, *arguments: str) -> list[str]:
    enhancer = {"data": str(folder / "audio")}
    for name, content in EXPERIMENTS.items():
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        enhancer[name] = str(path)
    (folder / "run.json").write_text(json.dumps({"enhancer_training": enhancer, "device": "cpu"}))
    return [
        sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--directory", str(folder),
        "--configfile", str(folder / "run.json"), "--workflow-profile", str(ROOT / "profiles/default"), "--cores", "1", *arguments,
    ]  # fmt: skip


def snakemake(folder: Path, *arguments: str) -> str:
    done = warm.run(*command(folder, *arguments)[1:])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def test_one_target_trains_and_joins(tmp_path: Path) -> None:
    generated_enhancement.make(tmp_path / "audio", speakers=4, takes=1, seconds=2.0, sample_rate=8000)
    process = subprocess.Popen(
        [str(warm.executable()), *command(tmp_path, "enhancer")[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, cwd=ROOT,
    )  # fmt: skip
    while not list((tmp_path / "artifacts/runs").glob("*_tiny_stage1/checkpoints/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    log = snakemake(tmp_path, "enhancer")
    assert "rule join_enhancer" in log
    out = tmp_path / "artifacts/enhancer/enhancer.safetensors"
    assert load_checkpoint(out)[1]["parts"] == ["denoiser", "irmae", "flow", "vocoder"]
    rows = [json.loads(line) for line in (out.parent / "enhanced/enhance.jsonl").read_text().splitlines()]
    assert {row["status"] for row in rows} == {"ok", "rejected"}  # among the pilot's recordings are broken ones
    assert all((out.parent / "enhanced" / row["output"]).is_file() for row in rows if row["status"] == "ok")
    assert len(list((tmp_path / "artifacts/runs").glob("[0-9]*_tiny_*"))) == 3  # the killed stage went on in its folder
    assert "Nothing to be done" in snakemake(tmp_path, "enhancer")
    plan = snakemake(
        tmp_path,
        "--dry-run",
        "enhancer",
        "--forcerun",
        "generate_enhancement_data",
        "--config",
        "enhancer_training={data: null}",
    )
    assert "generate_enhancement_data" in plan
