"""The README's commands, run as they stand, in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests import warm
from tests.workflow.stand_ins import tool

ROOT = Path(__file__).parents[1]
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    for line in block.strip().splitlines()
]
NEEDS_WEIGHTS = "best_pipeline.yaml"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("house") / "repo"
    names = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    (target / ".venv").symlink_to(ROOT / ".venv")
    t = np.arange(22_050 * 2) / 22_050
    for folder in ("recordings", "clean_takes"):
        (target / folder / "sub").mkdir(parents=True)
        sf.write(target / folder / "sub/a.wav", 0.2 * np.sin(2 * np.pi * 200 * t) * (np.sin(9 * t) > 0), 22_050)
    return target


def sh(house: Path, command: str, programs: Path = ROOT / ".venv/bin") -> str:
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", command], cwd=house, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout + done.stderr


@pytest.mark.slow
def test_make_pilot_ends_with_a_report_and_a_second_one_does_nothing(house: Path):
    assert COMMANDS[0] == "make pilot", "the first command of the README is the main job"
    if not (ROOT / ".venv/.installed").exists():
        pytest.skip("not run by make: no .venv/.installed")
    sh(house, COMMANDS[0])
    summary = (house / "artifacts/report/summary.md").read_text()
    assert (house / "artifacts/report/report.html").stat().st_size > 1_000_000
    assert "broken/silent.wav" in summary and "broken/truncated.flac" in summary
    again = sh(house, COMMANDS[0])
    assert "Nothing to be done" in again and "up to date" in again


def test_the_first_command_is_the_main_job_and_its_plan_is_made(house: Path):
    assert COMMANDS[0] == "make pilot"
    (command,) = [line for line in sh(house, "make --dry-run render").splitlines() if "/snakemake " in line]
    plan = sh(house, f"{command.replace('.venv/bin/', '')} --dry-run", warm.executable().parent)
    for rule in ("ingest", "separate", "publish", "report", "quality_page"):
        assert f"rule {rule}:" in plan, rule


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("snakemake")])
def test_snakemake_commands(house: Path, command: str):
    programs = warm.executable().parent
    if NEEDS_WEIGHTS in command:  # no network here: the plan is made, nothing is fetched
        assert "htdemucs_ft" in sh(house, f"{command} --dry-run", programs)
        return
    sh(house, command, programs)
    where = "cleaned" if "output=cleaned" in command else "artifacts/output"
    assert (house / where / "sub/a.wav").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize("command", [c.partition("&& ")[2] for c in COMMANDS if "&& audiorestorer run" in c])
def test_the_one_command_restores_a_folder(house: Path, tmp_path: Path, command: str):
    (tmp_path / "bin").mkdir()
    tool(tmp_path, "audiorestorer", '#!/bin/sh\nexec python -c "from audiorestorer.entry import main; main()" "$@"\n')
    said = sh(house, f"PATH={tmp_path}/bin:$PATH {command} --set evaluate.metrics=[loudness]")
    assert "1 restored" in said and (house / "restored/sub/a.wav").stat().st_size > 1000


def test_every_make_target_and_file_that_the_readme_names_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)`", text):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / link.replace("\\", "")).exists(), link
