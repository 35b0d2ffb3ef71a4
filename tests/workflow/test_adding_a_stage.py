"""The how-to for a new stage, done as written in a copy of the project: the stage runs, and nothing that it says can be left out."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests.tiny_models import write_tiny_mask_unet
from tests.workflow.conftest import ROOT, Workspace

PAGE = Path(__file__).with_name("adding_a_stage.md")
PARTS = (
    "audiorestorer",
    "config",
    "docs",
    "envs",
    "models",
    "notebooks",
    "profiles",
    "report",
    "rules",
    "scripts",
    "Snakefile",
)
EDIT = re.compile(r"^(?:New file|In) `([^`]+)`(?:, before `([^`]+)`)?:\n\n```(?:python)?\n(.*?)```$", re.M | re.S)
RATE, TONES_HZ = 22_050, (40, 1000)


def edits() -> list[tuple[str, str, str]]:
    """File, the text before which the block goes (empty: a new file), and the block."""
    return EDIT.findall(PAGE.read_text(encoding="utf-8"))


def copied_house(folder: Path) -> Path:
    for name in PARTS:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    return folder


def apply(house: Path, skipped: int | None = None) -> None:
    for number, (name, anchor, block) in enumerate(edits()):
        if number == skipped:
            continue
        path = house / name
        if not anchor:
            path.write_text(block, encoding="utf-8")
            continue
        block += "" if block.startswith(" ") else "\n\n"
        text = path.read_text(encoding="utf-8")
        assert text.count(f"\n{anchor}") == 1, f"{name}: {anchor}"
        path.write_text(text.replace(f"\n{anchor}", f"\n{block}{anchor}"), encoding="utf-8")


def level_db(path: Path, tone_hz: int) -> float:
    signal = sf.read(path)[0][RATE // 2 : -RATE // 2]  # whole periods of both tones
    return float(20 * np.log10(abs(np.exp(-2j * np.pi * tone_hz * np.arange(len(signal)) / RATE) @ signal)))


def test_the_stage_of_the_how_to_works(tmp_path: Path) -> None:
    assert len({name for name, _, _ in edits()} | {"config/config.yaml"}) <= 6
    workspace = Workspace(tmp_path / "w")
    workspace.house = copied_house(tmp_path / "house")
    apply(workspace.house)
    line = [sys.executable, "-m", "audiorestorer", "config", "config/config.yaml"]
    subprocess.run(line, cwd=workspace.house, check=True)
    assert "corner_hz: 80.0" in (workspace.house / "config/config.yaml").read_text()
    (workspace.folder / "batch/input").mkdir(parents=True)
    seconds = np.arange(2 * RATE) / RATE
    sf.write(
        workspace.folder / "batch/input/tones.wav", sum(0.2 * np.sin(2 * np.pi * hz * seconds) for hz in TONES_HZ), RATE
    )
    write_tiny_mask_unet(workspace.folder / "tiny_a.safetensors")
    entry = "models: {tiny_a: {kind: mask_network, source: tiny_a.safetensors, licence: MIT, task: separate, sample_rate: 22050}}"
    (workspace.folder / "models.yaml").write_text(entry)
    workspace.config |= {
        "shards": 1, "separators": [{"name": "a", "model": "tiny_a"}], "highpass": {"enabled": True},
        "denoise": {"enabled": False}, "postmask": {"enabled": False},
    }  # fmt: skip
    workspace.run("--cores", "1", "--", "artifacts/manifests/loudness/0.jsonl")
    (before,), (after,) = (workspace.rows(stage).values() for stage in ("fuse", "highpass"))
    lost = {
        hz: level_db(workspace.folder / before.path, hz) - level_db(workspace.folder / after.path, hz)
        for hz in TONES_HZ
    }
    assert lost[40] > 6 and abs(lost[1000]) < 0.5
    assert not workspace.computed("denoise") and not workspace.computed("postmask") and workspace.computed("loudness")


@pytest.mark.parametrize("skipped", range(len(edits())))
def test_what_is_forgotten_ends_the_start_with_the_file(tmp_path: Path, skipped: int) -> None:
    house = copied_house(tmp_path / "house")
    apply(house, skipped)
    program = "from audiorestorer.__main__ import app; from audiorestorer.chain import check_chain\n"
    program += "check_chain({command.name or command.callback.__name__ for command in app.registered_commands})"
    done = subprocess.run([sys.executable, "-c", program], cwd=house, capture_output=True, text=True)
    file = edits()[skipped][0].replace("__main__.py", "commands")
    assert done.returncode == 1 and file in done.stderr, done.stderr[-1500:]
