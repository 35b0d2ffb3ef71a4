"""The commands of docs/music_denoising_recipe.md run as written, one after the other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_recipe_runs_as_written(tmp_path: Path) -> None:
    text = (ROOT / "docs/music_denoising_recipe.md").read_text()
    commands = [
        line
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.strip()
    ]
    assert len(commands) == 12 and all(line.startswith("python -m audiorestorer ") for line in commands)
    (tmp_path / "config").symlink_to(ROOT / "config")
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    for command in commands:
        # as written, but for the number of steps: all of them take a quarter of an hour on one core
        few = """ --changes '{"steps": 20, "steps_per_epoch": 5}'""" if " train " in command else ""
        done = subprocess.run(
            command + few,
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    for name in (
        "audit.csv",
        "noise.jsonl",
        "sanity.html",
        "model.safetensors",
        "triads.png",
        "learning_summary.csv",
        "metrics.csv",
        "model.onnx",
        "profile.json",
    ):
        assert (tmp_path / "demo" / name).stat().st_size > 0
